import tracemalloc

import numpy as np
import pytest
from scipy import stats

from spandex.errors import SpandexError
from spandex.metrics.bootstrap import Interval, confidence_intervals, paired_differences


def scores(clips: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(12.0, 3.0, clips)


def test_interval_of_normal_scores_is_1_96_standard_errors_wide():
    values = scores(1000)
    mean, low, high = confidence_intervals({"si_snr_db": values})["si_snr_db"]
    error = values.std() / np.sqrt(values.size)
    assert mean == values.mean()
    assert low == pytest.approx(mean - 1.96 * error, abs=0.05 * error)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.05 * error)


def test_interval_of_few_clips_is_that_of_every_possible_resample():
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    resamples = np.stack(np.meshgrid(*[values] * values.size)).reshape(values.size, -1)
    low, high = np.quantile(resamples.mean(axis=0), [0.05, 0.95])
    interval = confidence_intervals({"x": values}, level=0.9, resamples=100_000)["x"]
    assert interval.low == pytest.approx(low, abs=0.2)  # the mean has steps of 0.2
    assert interval.high == pytest.approx(high, abs=0.2)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(1).gamma(4.0, size=(400, 60))
    intervals = [confidence_intervals({"x": draw}, resamples=500)["x"] for draw in draws]
    covered = sum(interval.low <= 4.0 <= interval.high for interval in intervals)
    # 95 % of 400 within four standard errors, less the 1.5 points that percentile intervals lack at 60 skewed values
    assert 400 * 0.935 - 4 * 4.4 <= covered <= 400 * 0.95 + 4 * 4.4


def test_seed_and_values_alone_decide_the_interval():
    values = {"a": scores(300), "b": scores(300, seed=1), "c": scores(300, seed=2)}
    together = confidence_intervals(values, resamples=9999)
    assert together == confidence_intervals(values, resamples=9999)
    assert list(together) == ["a", "b", "c"]
    for name in values:
        assert confidence_intervals({name: values[name]}, resamples=9999)[name] == together[name]
    assert confidence_intervals(values, resamples=9999, seed=1)["a"] != together["a"]


def test_metrics_share_their_resamples():
    values = scores(50)
    intervals = confidence_intervals({"x": values, "twice": 2 * values, "shifted": values + 1.0})
    assert intervals["twice"] == pytest.approx([2 * bound for bound in intervals["x"]], rel=1e-12)
    assert intervals["shifted"] == pytest.approx([bound + 1.0 for bound in intervals["x"]], rel=1e-12)


def test_paired_difference_is_narrower_than_the_models_tell():
    difficulty = scores(200)
    generator = np.random.default_rng(3)
    a, b = (difficulty + generator.normal(shift, 0.2, 200) for shift in (0.1, 0.0))
    paired = paired_differences({"x": a}, {"x": b})["x"]
    unpaired = stats.bootstrap(
        (a, b), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), method="percentile", rng=0, n_resamples=2000
    ).confidence_interval
    error = (a - b).std() / np.sqrt(200)
    assert paired.mean == pytest.approx(a.mean() - b.mean())
    assert paired.high - paired.low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert paired.high - paired.low < 0.2 * (unpaired.high - unpaired.low)
    assert paired.low > 0 > unpaired.low
    swapped = paired_differences({"x": b}, {"x": a})["x"]
    assert swapped == pytest.approx((-paired.mean, -paired.high, -paired.low), rel=1e-12)


def test_one_clip_has_no_spread():
    assert confidence_intervals({"x": [3.5], "y": [1]}) == {"x": Interval(3.5, 3.5, 3.5), "y": Interval(1.0, 1.0, 1.0)}


def test_no_metric_has_no_interval():
    assert confidence_intervals({}) == {}
    assert paired_differences({}, {}) == {}


def test_a_full_test_set_is_resampled_in_little_memory():
    values = {"a": scores(12_000), "b": scores(12_000, seed=1)}
    tracemalloc.start()
    confidence_intervals(values, resamples=1000)  # 192 MB of values if drawn at once
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mos_ovrl": [3.0, None, 2.0, None]}, "mos_ovrl: 2 of 4 clips have no finite value, the first is clip 1"),
        ({"a": [np.nan]}, "a: 1 of 1 clips have no finite value"),
        ({"a": [1.0, -np.inf]}, "a: 1 of 2 clips have no finite value"),
        ({"a": []}, r"a: needs one value a clip, got shape \(0,\)"),
        ({"a": np.ones((2, 3))}, r"a: needs one value a clip, got shape \(2, 3\)"),
        ({"a": [1.0, 2.0], "b": [1.0]}, "b: 1 clips, but 2 of a"),
    ],
)
def test_missing_values_are_refused(values, message):
    with pytest.raises(SpandexError, match=message):
        confidence_intervals(values)


def test_models_that_do_not_match_are_refused():
    with pytest.raises(SpandexError, match="b: only one of the two models has it"):
        paired_differences({"a": [1.0], "b": [1.0]}, {"a": [2.0]})
    with pytest.raises(SpandexError, match="a: 2 clips of one model, 1 of the other"):
        paired_differences({"a": [1.0, 2.0]}, {"a": [2.0]})
