"""Scores of one clip: the noisy input, the clean target, a network as deployed and as trained."""

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from spandex.data.audio import SAMPLE_RATE_HZ, SILENCE_RANGE, AudioError
from spandex.deploy.codec import count_wrapped, decode, within_range
from spandex.deploy.executor import BEYOND, Run
from spandex.evaluation.pairs import Clip, Pair, read_partner
from spandex.evaluation.recordings import Recordings, lag_samples, without_lag
from spandex.evaluation.subject import Subject
from spandex.metrics import Dnsmos, EventCounter, pdp_proxy, power_proxy, si_snr
from spandex.metrics.dnsmos import mean_score
from spandex.metrics.latency import buffer_latency_s, network_latency_s
from spandex.networks import MaskNetwork, denoise

ALL_HOPS = "_all_hops"  # ends the name of a MOS that is not over the challenge's hops alone
IMPROVEMENTS = {  # a score, and that of the noisy audio, as it is or through encoder and decoder
    "si_snri_db": ("si_snr_db", "si_snr_db"),
    "si_snri_enc_dec_db": ("si_snr_db", "si_snr_enc_dec_db"),
    "mos_ovrl_improvement": ("mos_ovrl", "mos_ovrl"),
}

Scores = dict[str, Any]
Encoded = tuple[np.ndarray, np.ndarray]  # what spandex.deploy.codec.encode gives


def input_scores(clip: Clip, encoded: Encoded, n_fft: int, hop: int, dnsmos: Dnsmos | None) -> dict[str, Scores]:
    """Scores of the noisy and the clean audio, the same for every network.

    ``si_snr_enc_dec_db`` is the SI-SNR of the noisy audio through encoder and decoder alone.
    """
    inputs, spectrum = encoded
    decoded = decode(np.zeros_like(inputs), spectrum, n_fft, hop)[: len(clip.noisy)]
    noisy = {"si_snr_db": si_snr_db(clip.noisy, clip.clean), "si_snr_enc_dec_db": si_snr_db(decoded, clip.clean)}
    return {"noisy": noisy | _mos(dnsmos, clip.noisy), "clean": _mos(dnsmos, clip.clean)}


def deployed_scores(
    clip: Clip, encoded: Encoded, subject: Subject, noisy: Mapping[str, Any], dnsmos: Dnsmos | None
) -> Scores:
    """Scores of the network in fixed point, from exact counts of its events.

    Args:
        clip: the clip.
        encoded: its noisy audio.
        subject: the network.
        noisy: of the same clip, from ``input_scores``.
        dnsmos: None leaves MOS out.

    Returns:
        ``si_snr_db``, ``si_snri_db`` and ``si_snri_enc_dec_db`` (above the noisy audio as it is, and through encoder
        and decoder), ``mos_*``, ``mos_ovrl_improvement`` (above the noisy audio), ``latency_network_ms``,
        ``neuronops_per_step``, the operations with deployed weights that are not zero, ``deployed_synops_per_step``,
        ``deployed_power_proxy_ops_per_s`` and ``deployed_pdp_proxy_ops``, and by layer ``events_per_step`` and
        ``deployed_layer_synops_per_step``.
        ``wrapped_outputs`` is the number of outputs that left 24 bits and wrapped, ``output_wrap_db`` what that changed
        of the SI-SNR; by layer, the input layer first, all that left its range: see ``LayerActivity``.
    """
    inputs, spectrum = encoded
    run = subject.executor.run(inputs)

    def decoded(outputs: np.ndarray) -> np.ndarray:
        return decode(outputs, spectrum, subject.n_fft, subject.hop, subject.lookahead)[: len(clip.noisy)]

    audio = decoded(run.outputs)
    score = si_snr_db(audio, clip.clean)
    wrapped = count_wrapped(run.outputs)
    wrap_db = score - si_snr_db(decoded(within_range(run.outputs)), clip.clean) if wrapped else 0.0
    quality = {"si_snr_db": score, **_mos(dnsmos, audio)}
    return {
        **quality,
        **_improvements(quality, noisy),
        **_cost(run, subject, network_latency_s(clip.noisy, audio, SAMPLE_RATE_HZ, subject.lookahead * subject.hop)),
        "wrapped_outputs": wrapped,
        "output_wrap_db": wrap_db,
        **{name: [layer.beyond[name] for layer in run.activity] for name in BEYOND},
    }


def recorded_scores(
    pair: Pair, clip: Clip, recordings: Recordings, noisy: Mapping[str, Any], dnsmos: Dnsmos | None
) -> Scores:
    """Scores of a clip that was denoised elsewhere.

    Args:
        pair, clip: the noisy and the clean one.
        recordings: hold the denoised one.
        noisy: of the same clip, from ``input_scores``; empty without noisy audio.
        dnsmos: None leaves MOS out.

    Returns:
        Of ``deployed_scores`` those of quality, improvements only beside noisy audio, and ``lag_samples``, by which the
        denoised clip is late.

    Raises:
        AudioError: the file cannot be used.
    """
    audio = read_partner(recordings.files[pair.clean], pair.clean, clip.clean)
    lag = lag_samples(audio, clip.clean)
    heard, target = without_lag(audio, clip.clean, lag if recordings.align else 0)
    if np.ptp(target) <= SILENCE_RANGE:
        raise AudioError(pair.clean, f"silent but for what a lag of {lag} samples takes away")
    quality = {"si_snr_db": si_snr_db(heard, target), **_mos(dnsmos, audio)}
    return {**quality, **_improvements(quality, noisy), "lag_samples": lag}


def float_scores(
    clip: Clip, subject: Subject, deployed: Mapping[str, Any], dnsmos: Dnsmos | None, turn: threading.Lock
) -> Scores:
    """Scores of the network in floating point, and what fixed point changes.

    Args:
        clip: the clip.
        subject: the network, loaded with its float version.
        deployed: of the same clip, from ``deployed_scores``.
        dnsmos: None leaves MOS out.
        turn: the float network's events are counted for one clip at a time.

    Returns:
        ``float_si_snr_db``, ``float_mos_*``, ``fixed_minus_float_db``, ``fixed_minus_float_mos_*``, and the operations
        as SPANDEX counted those that it published, of the float network's events and weights:
        ``float_synops_per_step``, ``float_power_proxy_ops_per_s``, ``float_pdp_proxy_ops``. Where the weights are those
        of an HDF5, these are of the same events with ``quantised`` weights, and say so instead of ``float``.
    """
    with turn, EventCounter(subject.float_network) as counter:
        audio = float_audio(subject.float_network, clip.noisy)
    activity, latency_s = counter.activity(), deployed["latency_network_ms"] / 1e3
    counts = activity.synops_per_step, activity.neuronops_per_step
    own = {"si_snr_db": si_snr_db(audio, clip.clean), **_mos(dnsmos, audio)}
    changes = {
        f"fixed_minus_float_{name.removeprefix('si_snr_')}": deployed[name] - value
        for name, value in own.items()
        if not name.endswith(ALL_HOPS)
    }
    scores = {f"float_{name}": value for name, value in own.items()}
    return scores | changes | _operations(subject.float_weights, *counts, subject, latency_s)


def _improvements(quality: Mapping[str, float], noisy: Mapping[str, Any]) -> Scores:
    """What ``IMPROVEMENTS`` names, where both are known."""
    return {
        name: quality[score] - noisy[before]
        for name, (score, before) in IMPROVEMENTS.items()
        if score in quality and before in noisy
    }


def _cost(run: Run, subject: Subject, latency_s: float) -> Scores:
    """What a run cost."""
    steps = run.activity[0].steps
    synops = sum(layer.synops for layer in run.activity) / steps
    neuronops = run.neuronops / steps
    synaptic = run.activity[1:]
    return {
        "latency_network_ms": 1e3 * latency_s,
        "neuronops_per_step": neuronops,
        **_operations("deployed", synops, neuronops, subject, latency_s),
        "events_per_step": [layer.events / steps for layer in synaptic],
        "deployed_layer_synops_per_step": [layer.synops / steps for layer in synaptic],
    }


def _operations(weights: str, synops: float, neuronops: float, subject: Subject, latency_s: float) -> Scores:
    """Operations and what follows from them, under names that say which ``weights`` were counted."""
    power = power_proxy(synops, neuronops, subject.hop / SAMPLE_RATE_HZ)
    return {
        f"{weights}_synops_per_step": synops,
        f"{weights}_power_proxy_ops_per_s": power,
        f"{weights}_pdp_proxy_ops": pdp_proxy(power, buffer_latency_s(subject.n_fft, SAMPLE_RATE_HZ) + latency_s),
    }


def float_audio(network: MaskNetwork, noisy: np.ndarray) -> np.ndarray:
    """Audio (samples,) denoised by the float network."""
    place = next(network.parameters()).device
    return denoise(network, torch.from_numpy(noisy)[None].to(place))[0].cpu().numpy()


def si_snr_db(estimate: np.ndarray, target: np.ndarray) -> float:
    """SI-SNR of audio (samples,) in double precision."""
    return float(si_snr(estimate.astype(np.float64), target.astype(np.float64)))


def _mos(dnsmos: Dnsmos | None, audio: np.ndarray) -> dict[str, float]:
    """MOS over the challenge's hops, ``mos_*``, and over all, ``mos_*_all_hops``."""
    if dnsmos is None:
        return {}
    hops = dnsmos.hop_scores(audio, "all")
    kinds = (("challenge", ""), ("all", ALL_HOPS))
    return {
        f"mos_{name}{end}": score for which, end in kinds for name, score in mean_score(hops, which)._asdict().items()
    }
