"""Recordings varied at random, so that a small corpus stands for more voices, rooms, microphones and noises."""

import numpy as np
import soxr

SPEEDS = {"speech": (0.9, 1.1), "noise": (0.7, 1.4)}  # lowest and highest factor
COEFFICIENT = 3 / 8  # largest of a filter


def vary(audio: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A recording at another speed, and with it another pitch, through a random filter of second order,

        H(z) = (1 + r1 / z + r2 / z^2) / (1 + r3 / z + r4 / z^2),    each r drawn between -3/8 and 3/8,

    at the peak that it had. Equal draws give equal bytes.

    Sources: Ko et al., "Audio augmentation for speech recognition", 2015 (speed); Valin, "A hybrid DSP/deep learning
    approach to real-time full-band speech enhancement", 2018, arXiv:1709.08243, equation 8 (filter).

    Args:
        audio: float32 (samples,), any rate.
        kind: speech or noise, which bear other speeds.
        rng: what all is drawn from.

    Returns:
        Float32, longer or shorter by the speed.
    """
    from scipy.signal import lfilter  # half a second, which commands that mix nothing need not wait

    peak = np.abs(audio).max()
    varied = soxr.resample(audio, rng.uniform(*SPEEDS[kind]), 1.0)
    r1, r2, r3, r4 = rng.uniform(-COEFFICIENT, COEFFICIENT, 4)
    varied = lfilter([1, r1, r2], [1, r3, r4], varied)
    return (varied * (peak / np.abs(varied).max())).astype(np.float32)
