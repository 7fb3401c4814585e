"""How sure a mean is when training was repeated with other seeds: Student's t over seeds, with clips beside them."""

from collections.abc import Sequence
from math import hypot, inf, sqrt

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from spandex.metrics.bootstrap import Interval, confidence_intervals


def interval_over_seeds(values: Sequence[float]) -> Interval:
    """Student's t interval, 95 %, of the mean of one value a seed; unbounded if there is one alone."""
    found = np.asarray(values, np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, -inf, inf)
    half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / sqrt(len(found)))
    return Interval(mean, mean - half, mean + half)


def interval_over_clips_and_seeds(values: ArrayLike) -> Interval:
    """95 % interval of the mean over clips and, where there are several, over seeds.

    Clips are resampled (``confidence_intervals``), seeds give Student's t. Either is as if the other were all there
    is, so their distances from the mean add up as independent errors do, by their squares.

    Args:
        values: (seeds, clips), or differences of two networks by seed and clip.

    Raises:
        SpandexError: a value is not finite.
    """
    array = np.asarray(values, np.float64)
    mean, low, high = confidence_intervals({"": array.mean(axis=0)})[""]
    if len(array) == 1:
        return Interval(mean, low, high)
    half = interval_over_seeds(array.mean(axis=1)).high - float(array.mean())
    return Interval(mean, mean - hypot(mean - low, half), mean + hypot(high - mean, half))
