"""Quality, operations, latency and size."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from spandex import metrics
from spandex.data import NoisySpeech
from spandex.data.shards import FOLDER as SHARDS
from spandex.data.shards import Shard
from spandex.deploy.sparsity_map import parse_sparsity_map
from spandex.devices import judging_device
from spandex.errors import SpandexError
from spandex.evaluation import Evaluation, known_inputs, load_subject, pair_clips
from spandex.evaluation import evaluate as evaluate_pairs
from spandex.evaluation.summary import CONFIDENCE
from spandex.files import PARTIAL, refuse_overwriting, write_json
from spandex.files.results import ResultLog
from spandex.files.text import read_json
from spandex.networks import istft, stft
from spandex.networks.scaling import HOPS_PER_FRAME
from spandex.params import Params
from spandex.params.section import DENSITY_THRESHOLD
from spandex.pipeline.provenance import code_digest, produced_by
from spandex.steps.common import new_network

SHOWN_FAILURES = 5  # in the error message


def evaluate(
    networks: Sequence[Path],
    noisy: Path,
    clean: Path,
    output: Path,
    *,
    names: Sequence[str] | None = None,
    mos: bool = True,
    with_float: bool = False,
    float_networks: Sequence[Path] | None = None,
    inputs: Path | None = None,
    workers: int | None = None,
    hop: int | None = None,
    sparsity_map: str = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    lookahead: int = 0,
    device: str = "cpu",
    params: Params | None = None,
    shard: Shard | None = None,
) -> None:
    """Score networks on the clips of two folders and write JSON.

    Scores go to ``OUTPUT.partial`` clip by clip; a run that was stopped goes on from there, whatever stopped it. Those
    of a shard go to a log of its own, and a run without shard finds them there.

    Args:
        networks: HDF5 networks; none for the scores of noisy and clean audio alone.
        noisy, clean: folders.
        output: JSON file.
        names: of the networks; see ``load_subject``.
        mos: whether to compute DNSMOS.
        with_float: whether to score the float networks too.
        float_networks: state dicts of the float networks, in order.
        inputs: what an earlier evaluation wrote; its scores of noisy and clean audio are reused.
        workers: clips at once; one a core if None.
        hop, sparsity_map, density_threshold, lookahead: see ``load_subject``; the map as typed.
        device: where float networks, their spectra and DNSMOS run: cpu, cuda, or auto; the deployed network is run by
            the executor on the CPU.
        params: recorded as the origin of the networks; the float networks are those that it describes.
        shard: score this share of the clips only and write no JSON; shards may run at the same time.

    Raises:
        SpandexError: a file or folder cannot be used, or some clips failed: the rest has been evaluated and written.
    """
    for given, what in ((names, "names"), (float_networks, "float networks")):
        if given is not None and len(given) != len(networks):
            raise SpandexError(f"{len(given)} {what} for {len(networks)} networks")
    pairs, failed = pair_clips(noisy, clean)
    if not pairs:
        raise failed[0]
    clips = [path for pair in pairs for path in (pair.noisy, pair.clean)]
    refuse_overwriting([output], [*networks, *(float_networks or []), *filter(None, [inputs]), *clips])
    if shard is not None and not (pairs := shard.share(pairs)):
        return
    ahead = {"lookahead": lookahead} if lookahead else {}
    deployed = {"sparsity_map": parse_sparsity_map(sparsity_map), "density_threshold": density_threshold, "hop": hop}
    subjects = [
        load_subject(
            network,
            names and names[number],
            with_float=with_float,
            float_network=new_network(params) if with_float and float_networks and params is not None else None,
            float_path=float_networks and float_networks[number],
            **deployed | ahead,
        )
        for number, network in enumerate(networks)
    ]
    place = judging_device(device)
    for subject in subjects:
        if subject.float_network is not None:
            subject.float_network.to(place)
    shards = output.parent / SHARDS / output.stem
    if shard is None:
        log = ResultLog(output.with_name(f"{output.name}{PARTIAL}"), code_digest(), shards.glob("*.jsonl"))
    else:
        log = ResultLog(shards / f"{shard}.jsonl", code_digest())
    known, dnsmos = _known(inputs, mos), metrics.Dnsmos(threads=1, device=place) if mos else None
    frame = {"frame": (HOPS_PER_FRAME * hop, hop)} if hop else {}
    with tqdm(total=len(pairs), desc=" ".join(s.name for s in subjects) or "noisy", unit=" clips", disable=None) as bar:
        result = evaluate_pairs(subjects, pairs, dnsmos, log, known, workers, bar.update, **frame)
    if shard is not None:
        log.close()
        return
    failed = [*failed, *result.failed]
    settings = {"hop": hop, "sparsity_map": sparsity_map, "density_threshold": density_threshold, "mos": mos} | ahead
    origin = produced_by([*networks, *(float_networks or [])], params)
    write_scores(output, result, len(pairs) - len(result.failed), failed, settings, origin)
    log.close()
    for name, scores in ({"noisy": result.noisy} | result.networks).items():
        print(f"{name}: {_in_short(scores)}")
    if failed:
        raise some_failed(failed, output)
    log.remove()
    for scores in shards.glob("*.jsonl"):
        scores.unlink()


def write_scores(
    output: Path,
    result: Evaluation,
    clips: int,
    failed: Sequence[SpandexError],
    settings: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> None:
    """Write an evaluation as JSON.

    Args:
        output: file.
        result: scores.
        clips: how many were scored.
        failed: an error for every file that could not be used.
        settings: what was asked for.
        origin: see ``produced_by``.
    """
    more = {
        "clips": clips,
        "confidence": CONFIDENCE,
        "failed": list(map(str, failed)),
        "settings": settings,
        "produced_by": origin,
    }
    write_json(output, asdict(result) | more)


def some_failed(failed: Sequence[SpandexError], output: Path | None) -> SpandexError:
    """How many files failed, and why; of the first of them where a JSON says it of all."""
    shown = SHOWN_FAILURES if output else len(failed)
    said = [f"{len(failed)} file{'s' * (len(failed) > 1)} failed", *map(str, failed[:shown])]
    if len(failed) > shown:
        said.append(f"{len(failed) - shown} more, all in the JSON")
    return SpandexError("; ".join(said))


def _in_short(scores: Mapping[str, Any]) -> str:
    low, high = scores["intervals"]["si_snr_db"]
    parts = [f"SI-SNR {scores['si_snr_db']:.2f} dB ({low:.2f} to {high:.2f})"]
    if "mos_ovrl" in scores:
        parts.append(f"MOS {scores['mos_ovrl']:.2f}")
    if "parameters" in scores:
        power = scores["deployed_power_proxy_ops_per_s"] / 1e6
        parts += [
            f"{power:.2f} M-Ops/s deployed",
            f"{scores['parameters']:,} parameters",
            f"{scores['size_kb']:.1f} KB",
        ]
    return ", ".join(parts)


def _known(inputs: Path | None, mos: bool) -> dict:
    """Scores of noisy and clean audio from an earlier evaluation, with MOS or without it as wanted."""
    if inputs is None:
        return {}
    content = read_json(inputs)
    try:
        before = known_inputs(content["noisy"]["per_clip"], content["clean"]["per_clip"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SpandexError(f"{inputs}: not the JSON of an evaluation") from None
    if mos:
        return {digest: scores for digest, scores in before.items() if "mos_ovrl_all_hops" in scores["noisy"]}
    return {
        digest: {
            kind: {name: value for name, value in clip.items() if not name.startswith("mos_")}
            for kind, clip in scores.items()
        }
        for digest, scores in before.items()
    }


def latency(params: Params, clips: Path, output: Path) -> None:
    """Measure encoder and decoder on one clip."""
    n_fft, hop = params.model.n_fft, params.model.hop

    def encode_and_decode(audio):
        return istft(*stft(torch.from_numpy(audio)[None], n_fft, hop), len(audio), n_fft, hop)

    seconds = metrics.codec_latency_s(encode_and_decode, NoisySpeech(clips.parent)[0].noisy, hop)
    write_json(output, {"latency_enc_dec_ms": 1e3 * seconds, "produced_by": produced_by([clips], params)})
