"""Latency of a denoiser: buffer + encoder and decoder + network."""

import timeit
from collections.abc import Callable

import numpy as np

LIMIT_MS = 40  # of the challenge's track 1, for all three together (Timcheck et al. 2023, arXiv:2303.09503)
CORRELATED_SAMPLES = 50_000  # of each clip, as in the challenge's evaluation


def buffer_latency_s(n_fft: int, sample_rate_hz: float) -> float:
    """Time to collect one STFT frame, in seconds: the challenge's buffer latency."""
    return n_fft / sample_rate_hz


def network_latency_s(noisy: np.ndarray, denoised: np.ndarray, sample_rate_hz: float, waited_samples: int = 0) -> float:
    """How far the denoised audio lags behind the noisy, in seconds: the peak of their cross-correlation.

    Args:
        noisy, denoised: one clip, (samples,); its first 50,000 samples count.
        waited_samples: by which a lookahead makes the denoised audio late, taken away from it before.

    Source:
        Challenge's evaluation (prune_evaluate.py of Michaeljurado42/SPANDEX follows it), whose sign is
        opposite; a network that is late has a positive latency here.
    """
    noisy, denoised = noisy[:CORRELATED_SAMPLES], denoised[:CORRELATED_SAMPLES]
    length = 2 * len(noisy)  # room for every lag, so that nothing wraps around
    spectrum = np.fft.rfft(denoised, length) * np.conj(np.fft.rfft(noisy, length))
    lag = int(np.argmax(np.fft.irfft(spectrum, length)))
    return ((lag if lag < len(noisy) else lag - length) + waited_samples) / sample_rate_hz


def codec_latency_s(
    encode_and_decode: Callable[[np.ndarray], object], audio: np.ndarray, hop: int, repetitions: int = 5
) -> float:
    """Measured wall time of encoder and decoder on one clip, in seconds a hop: the challenge's enc+dec latency.

    Args:
        encode_and_decode: STFT and ISTFT of (samples,).
        audio: (samples,).
        hop: samples between frames.
        repetitions: measurements; the shortest counts, after one that does not.
    """
    encode_and_decode(audio)
    times = timeit.repeat(lambda: encode_and_decode(audio), number=1, repeat=repetitions)
    return min(times) / (len(audio) / hop)
