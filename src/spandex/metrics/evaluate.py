"""Every metric of one network on a set of clips, as one dictionary that goes into a JSON file.

``evaluate_noisy`` scores the untouched input once; ``evaluate_network`` takes what it returned. Both hold nothing
that was measured with a clock, so the same network and clips give the same bytes.

Keys of both: ``model``, ``clips``, ``si_snr_db``, ``mos_ovrl``, ``mos_sig``, ``mos_bak`` (mean opinion scores over all
one-second hops), the same with ``_library`` for the hops that speechmos and the challenge score; MOS are null
when not computed. ``per_clip`` holds one entry a clip: ``file_id``, ``snr_db`` (of the mixture) and the scores.
``evaluate_noisy`` adds ``si_snr_enc_dec_db``, SI-SNR of the noisy input through STFT and ISTFT.

``evaluate_network`` adds ``si_snri_data_db``, ``si_snri_enc_dec_db``; by layer ``events_per_step``, ``event_rate``,
``synops_per_step``, ``synops_estimate_per_step``; ``neuronops_per_step``, ``power_proxy_ops_per_s``,
``power_proxy_estimate_ops_per_s``, ``pdp_proxy_ops``, ``latency_buffer_ms``, ``latency_network_ms``;
``nonzero_weights``, ``nonzero_delays``, ``parameters``, ``size_kb``, ``sparsity`` (of the float weights),
``deployed_sparsity``, ``size_layers``.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np
import torch

from spandex.errors import SpandexError
from spandex.metrics.dnsmos import Dnsmos, mean_score
from spandex.metrics.latency import buffer_latency_s, network_latency_s
from spandex.metrics.power import EventCounter, pdp_proxy, power_proxy
from spandex.metrics.si_snr import si_snr
from spandex.metrics.size import network_size
from spandex.models import denoise, istft, stft
from spandex.sparsify import sparsity

SAMPLE_RATE_HZ = 16000


class Clip(Protocol):
    """What is read of a clip: audio (samples,), its number, and the SNR at which it was mixed."""

    noisy: np.ndarray
    clean: np.ndarray
    file_id: int
    snr_db: float


Metrics = dict[str, Any]
Progress = Callable[[int], None]


def evaluate_noisy(
    clips: Iterable[Clip],
    dnsmos: Dnsmos | None = None,
    n_fft: int = 512,
    hop: int = 128,
    progress: Progress | None = None,
) -> Metrics:
    """Scores of the noisy input, the reference of every improvement.

    Args:
        clips: noisy speech with its clean speech.
        dnsmos: scores MOS; None leaves them null.
        n_fft, hop: of the encoder, in samples.
        progress: called with 1 after every clip.

    Raises:
        SpandexError: there is no clip.
    """
    per_clip = []
    for clip in clips:
        noisy = _batch([clip.noisy])
        decoded = istft(*stft(noisy, n_fft, hop), noisy.shape[-1], n_fft, hop)[0].numpy()
        per_clip.append(
            {
                "file_id": clip.file_id,
                "snr_db": float(clip.snr_db),
                "si_snr_db": _si_snr_db(clip.noisy, clip.clean),
                "si_snr_enc_dec_db": _si_snr_db(decoded, clip.clean),
                **_mos(dnsmos, clip.noisy),
            }
        )
        if progress is not None:
            progress(1)
    return {"model": "noisy", **_means(per_clip)}


def evaluate_network(
    model: str,
    network: torch.nn.Module,
    hdf5_path: str | os.PathLike,
    clips: Iterable[Clip],
    noisy: Mapping[str, Any],
    dnsmos: Dnsmos | None = None,
    batch_size: int = 4,
    progress: Progress | None = None,
) -> Metrics:
    """Quality, operations, latency and size of a float network.

    The proxies use the latency that is known without a clock, buffer plus network: encoder and decoder take
    about a hundredth of a millisecond a hop, and what was measured would differ from run to run.

    Args:
        model: name of the network.
        network: an SDNN; it may be accelerated.
        hdf5_path: the same network as lava-dl HDF5, for its size.
        clips: those that ``noisy`` was computed on, in any order; read one batch at a time.
        noisy: what ``evaluate_noisy`` returned.
        dnsmos: scores MOS; None leaves them null.
        batch_size: clips in one forward pass.
        progress: called with the number of clips done.

    Raises:
        SpandexError: there is no clip, ``noisy`` lacks one or has others, or the HDF5 file cannot be counted.
    """
    size = network_size(hdf5_path)
    reference = {clip["file_id"]: clip for clip in noisy["per_clip"]}
    per_clip = []
    network.eval()
    with EventCounter(network) as counter:
        for batch in _batches(clips, batch_size):
            denoised = denoise(network, _batch([clip.noisy for clip in batch])).numpy()
            for clip, audio in zip(batch, denoised, strict=True):
                if clip.file_id not in reference:
                    raise SpandexError(
                        f"clip {clip.file_id}: no scores of its noisy input; evaluate the noisy clips again"
                    )
                before = reference[clip.file_id]
                score = _si_snr_db(audio, clip.clean)
                per_clip.append(
                    {
                        "file_id": clip.file_id,
                        "snr_db": float(clip.snr_db),
                        "si_snr_db": score,
                        "si_snri_data_db": score - before["si_snr_db"],
                        "si_snri_enc_dec_db": score - before["si_snr_enc_dec_db"],
                        "latency_network_ms": 1e3 * network_latency_s(clip.noisy, audio, SAMPLE_RATE_HZ),
                        **_mos(dnsmos, audio),
                    }
                )
            if progress is not None:
                progress(len(batch))
    means = _means(per_clip)
    if len(per_clip) != len(reference):
        raise SpandexError(f"{len(per_clip)} clips, but scores of {len(reference)} noisy inputs; evaluate these again")
    activity = counter.activity()
    hop_s = network.hop / SAMPLE_RATE_HZ
    buffer_ms = 1e3 * buffer_latency_s(network.n_fft, SAMPLE_RATE_HZ)
    power = power_proxy(activity.synops_per_step, activity.neuronops_per_step, hop_s)
    return {
        "model": model,
        **means,
        "events_per_step": {layer.name: layer.events_per_step for layer in activity.layers},
        "event_rate": {layer.name: layer.event_rate for layer in activity.layers},
        "synops_per_step": {layer.name: layer.synops_per_step for layer in activity.layers},
        "synops_estimate_per_step": {layer.name: layer.synops_estimate_per_step for layer in activity.layers},
        "neuronops_per_step": activity.neuronops_per_step,
        "power_proxy_ops_per_s": power,
        "power_proxy_estimate_ops_per_s": power_proxy(
            activity.synops_estimate_per_step, activity.neuronops_per_step, hop_s
        ),
        "pdp_proxy_ops": pdp_proxy(power, (buffer_ms + means["latency_network_ms"]) / 1e3),
        "latency_buffer_ms": buffer_ms,
        "nonzero_weights": size.nonzero_weights,
        "nonzero_delays": size.nonzero_delays,
        "parameters": size.parameters,
        "size_kb": size.size_kb,
        "sparsity": sparsity(network).total,
        "deployed_sparsity": size.sparsity,
        "size_layers": [asdict(layer) for layer in size.layers],
    }


def _batch(audio: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(audio).astype(np.float32))


def _batches(clips: Iterable[Clip], size: int) -> Iterator[list[Clip]]:
    """Consecutive clips of the same length, at most ``size`` at a time."""
    batch: list[Clip] = []
    for clip in clips:
        if batch and (len(batch) == size or len(clip.noisy) != len(batch[0].noisy)):
            yield batch
            batch = []
        batch.append(clip)
    if batch:
        yield batch


def _si_snr_db(estimate: np.ndarray, target: np.ndarray) -> float:
    return float(si_snr(estimate.astype(np.float64), target.astype(np.float64)))


def _mos(dnsmos: Dnsmos | None, audio: np.ndarray) -> dict[str, float | None]:
    names = [f"mos_{name}{suffix}" for suffix in ("", "_library") for name in ("ovrl", "sig", "bak")]
    if dnsmos is None:
        return dict.fromkeys(names)
    hops = dnsmos.hop_scores(audio)
    return dict(zip(names, mean_score(hops) + mean_score(hops, "library"), strict=True))


def _means(per_clip: list[dict[str, Any]]) -> Metrics:
    """The mean of every score over the clips, which come in order of their number."""
    if not per_clip:
        raise SpandexError("no clip to evaluate")
    per_clip.sort(key=lambda clip: clip["file_id"])
    means = {}
    for name in per_clip[0].keys() - {"file_id", "snr_db"}:
        values = [clip[name] for clip in per_clip]
        means[name] = None if None in values else float(np.mean(values))
    return {"clips": len(per_clip), **means, "per_clip": per_clip}
