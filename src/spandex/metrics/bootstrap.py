"""How sure a mean over clips is: percentile bootstrap intervals, clips resampled with replacement.

All metrics of one call see the same resamples, and the same seed draws the same ones, so what is said of one metric
depends neither on the others nor on when it is asked.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13; computed by scipy.stats.bootstrap.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from spandex.errors import SpandexError

BLOCK_VALUES = 2**20  # resampled at a time: 8 MB of them, twice that of indices and what they pick


class Interval(NamedTuple):
    """A mean over clips and the bounds of its confidence interval, in the metric's own unit."""

    mean: float
    low: float
    high: float


def confidence_intervals(
    values: Mapping[str, ArrayLike], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> dict[str, Interval]:
    """Interval of the mean of every metric.

    Args:
        values: by metric, one finite value a clip (clips,); the clips are the same for all of them.
        level: of confidence, between 0 and 1.
        resamples: how often the clips are drawn anew.
        seed: of the draws.

    Returns:
        By metric, in the order of ``values``. The interval of one clip is its value.

    Raises:
        SpandexError: a metric has no clips, other clips than the first, or a value that is missing or not finite.
    """
    metrics = _arrays(values)
    if not metrics:
        return {}
    samples = list(metrics.values())
    means = np.array([sample.mean() for sample in samples])
    clips = samples[0].size
    low = high = means
    if clips > 1:
        low, high = stats.bootstrap(
            samples,
            lambda *resampled, axis: np.stack([sample.mean(axis=axis) for sample in resampled]),
            paired=True,  # one draw of clips for all metrics
            vectorized=True,
            method="percentile",
            confidence_level=level,
            n_resamples=resamples,
            batch=max(1, BLOCK_VALUES // (clips * len(samples))),
            rng=seed,
        ).confidence_interval
    return {name: Interval(*map(float, bounds)) for name, *bounds in zip(metrics, means, low, high, strict=True)}


def paired_differences(
    a: Mapping[str, ArrayLike], b: Mapping[str, ArrayLike], level: float = 0.95
) -> dict[str, Interval]:
    """Interval of the mean of ``a - b``, clip by clip, of every metric: two models on the same clips in the same order.

    What makes a clip hard for both cancels, so this is narrower than the models' own intervals tell.

    Level, raises: as of ``confidence_intervals``; also SpandexError if ``a`` and ``b`` differ in metrics or clips.
    """
    first, second = _arrays(a), _arrays(b)
    if first.keys() != second.keys():
        raise SpandexError(f"{', '.join(sorted(first.keys() ^ second.keys()))}: only one of the two models has it")
    for name in first:
        if first[name].size != second[name].size:
            raise SpandexError(f"{name}: {first[name].size} clips of one model, {second[name].size} of the other")
    differences = {name: first[name] - second[name] for name in first}
    return confidence_intervals(differences, level)


def _arrays(values: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Float64 (clips,) by metric, all finite and of one length."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}  # None becomes NaN
    clips = next((array.size for array in arrays.values()), 0)
    for name, array in arrays.items():
        if array.ndim != 1 or array.size == 0:
            raise SpandexError(f"{name}: needs one value a clip, got shape {array.shape}")
        if array.size != clips:
            raise SpandexError(f"{name}: {array.size} clips, but {clips} of {next(iter(arrays))}")
        broken = np.flatnonzero(~np.isfinite(array))
        if broken.size:
            raise SpandexError(
                f"{name}: {broken.size} of {clips} clips have no finite value, the first is clip {broken[0]}"
            )
    return arrays
