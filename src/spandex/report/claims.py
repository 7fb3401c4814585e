"""The paper's claims, each judged by a rule that is stated beside it.

A claim is reproduced if the whole 95 % interval of what was measured lies within the accepted range, not reproduced if
the whole interval lies outside, and not testable at this scale if the interval reaches over a bound of the range or
the build cannot speak to the claim at all. Where the paper's two networks (50 % and 75 %) differ in a number, the range
reaches half their difference beyond the published value: a wider one could not tell the two claims apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

import numpy as np
from scipy import stats

from spandex.errors import SpandexError
from spandex.evaluation import differences
from spandex.metrics.bootstrap import BLOCK_VALUES, Interval
from spandex.params import Params
from spandex.report import wording
from spandex.report.comparison import Differences
from spandex.report.published import BASELINE, counterpart
from spandex.report.table import Row
from spandex.report.wording import number

PAPER = "SPANDEX write-up"
TARGETS = {0.5: "50% Sparse SDNN", 0.75: "75% Sparse SDNN"}  # by sparsity, the rows of the write-up
MIN_CLIPS = 20  # percentile intervals of fewer are too narrow
MOS_MARGIN = 0.05  # below what listeners tell apart; DNSMOS errs by more on a single clip
SIZE_MARGIN = 0.1  # of the published number
LATENCY_MARGIN_MS = 0.1
SDNN_WEIGHTS = 512 * (257 + 512 + 257)  # of the challenge's network, whose parameters the paper counts


class Verdict(StrEnum):
    REPRODUCED = "reproduced"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTABLE = "not testable at this scale"


@dataclass(frozen=True)
class Finding:
    """A claim and what became of it, for people.

    Attributes:
        claim: what the paper says.
        published: its numbers.
        here: ours; empty if there are none.
        rule: when it counts as reproduced.
        verdict: by that rule.
        reason: why.
    """

    claim: str
    published: str
    here: str
    rule: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Evidence:
    """What a build offers to judge by.

    Attributes:
        params: of the build.
        networks: scores by name, from ``spandex.evaluation``, with ``per_clip``.
        control: the network that was trained in the same way without pruning.
        differences: of the other networks to the control, see ``comparison.against``.
        published: rows of the write-up and of the challenge's board.
        enc_dec_ms: measured latency of encoder and decoder.
    """

    params: Params
    networks: Mapping[str, Mapping[str, Any]]
    control: str
    differences: Mapping[str, Differences]
    published: Sequence[Row]
    enc_dec_ms: float

    @property
    def clips(self) -> int:
        return len(self.networks[self.control]["per_clip"])


@dataclass(frozen=True)
class _Pair:
    """A target of the paper: its published row and our network, if this build has one."""

    target: float
    row: Row
    model: str | None

    @property
    def percent(self) -> str:
        return f"{100 * self.target:g} %"


def judge(measured: Interval, low: float = -inf, high: float = inf, of: str = "clips") -> tuple[Verdict, str]:
    """The verdict on a measured interval and an accepted range, and why; ``of`` is what the interval is over."""
    if low <= measured.low and measured.high <= high:
        return Verdict.REPRODUCED, "the whole interval lies in the accepted range"
    if measured.high < low or measured.low > high:
        return Verdict.NOT_REPRODUCED, "the whole interval lies outside the accepted range"
    return Verdict.NOT_TESTABLE, f"the interval reaches over a bound of the accepted range; it takes more {of}"


def findings(evidence: Evidence) -> list[Finding]:
    """Every claim with its verdict.

    Raises:
        SpandexError: the published tables lack a row or a number.
    """
    pruned = [network for network in evidence.params.table if network.by_magnitude]
    targets = {network.target: network.name for network in reversed(pruned)}
    pairs = [_Pair(target, _row(evidence, name, PAPER), targets.get(target)) for target, name in TARGETS.items()]
    judges = (_quality, _power, _power_delay, _parameters, _size, _latency, _level, _same_clips)
    return [found for judged in judges for found in judged(evidence, pairs)]


def ratio_of_means(a: Sequence[float], b: Sequence[float], resamples: int = 10_000, seed: int = 0) -> Interval:
    """Mean of ``a`` over mean of ``b`` with its 95 % interval, clips (clips,) resampled together."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    ratio = float(a.mean() / b.mean())
    if len(a) < 2:
        return Interval(ratio, ratio, ratio)
    low, high = stats.bootstrap(
        (a, b),
        lambda a, b, axis: a.mean(axis=axis) / b.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        batch=max(1, BLOCK_VALUES // (2 * len(a))),
        rng=seed,
    ).confidence_interval
    return Interval(ratio, float(low), float(high))


def _quality(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    """That pruning costs little SI-SNR, and then that it keeps the overall DNSMOS."""
    baseline = _row(evidence, BASELINE)
    for score, unit, decimals in (("si_snr_db", "dB", 2), ("mos_ovrl", "MOS", 3)):
        changes = [_value(pair.row, score) - _value(baseline, score) for pair in pairs]
        for pair, change in zip(pairs, changes, strict=True):
            if score == "si_snr_db":
                claim = f"Pruning by {pair.percent} costs about {number(-change, 2)} dB of SI-SNR, or less"
                low, shown_unit = change - _half_step(changes), " dB"
            else:
                claim = f"Pruning by {pair.percent} keeps the overall DNSMOS"
                low, shown_unit = min(change, 0) - MOS_MARGIN, ""
            published = f"{number(change, 2, signed=True)}{shown_unit} against the baseline"
            rule = f"the interval of the change to the control lies above {number(low, 2)}{shown_unit}"
            obstacle = _missing(pair) or _network_obstacle(evidence) or _training_obstacle(evidence)
            ours = evidence.differences.get(pair.model or "", {}).get(score)
            if ours is None:
                obstacle = obstacle or "it was not evaluated (evaluate.mos is off)"
                yield Finding(claim, published, "", rule, Verdict.NOT_TESTABLE, obstacle)
            else:
                here = f"{wording.interval(ours, decimals, unit, signed=True)} against {evidence.control}"
                yield Finding(claim, published, here, rule, *_judged(obstacle, ours, low))


def _power(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    key = "float_power_proxy_mops_per_s"
    return _share(evidence, pairs, key, "power proxy", "M-Ops/s", "power_proxy_ops_per_s")


def _power_delay(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    return _share(evidence, pairs, "float_pdp_proxy_mops", "power-delay product", "M-Ops", "pdp_proxy_ops")


def _share(evidence, pairs, key, name, unit, score) -> Iterator[Finding]:
    """That pruning leaves so much of the operations; of the float network's weights, as the paper's were counted.

    The published baseline's, Intel's, are of all of its weights, zero or not: its pruned networks' shares would be
    larger in the paper's own count, and the range here is the narrower one.
    """
    before = _value(_row(evidence, BASELINE), key)
    shares = [_value(pair.row, key) / before for pair in pairs]
    margin = _half_step(shares)
    for pair, share in zip(pairs, shares, strict=True):
        high = share + margin
        value = _value(pair.row, key)
        claim = f"Pruning by {pair.percent} lowers the {name} to {number(value, 2)} of {number(before, 2)} {unit}"
        published = f"{number(100 * share, 1)} % of the baseline"
        rule = (
            "the interval of the share of the control, counted with float weights as the paper's, "
            f"lies below {number(100 * high, 1)} %"
        )
        obstacle = _missing(pair) or _network_obstacle(evidence) or _training_obstacle(evidence)
        clips = evidence.networks[pair.model]["per_clip"] if pair.model else []
        control = evidence.networks[evidence.control]["per_clip"]
        uncounted = _missing(pair) or _uncounted(clips[0], control[0], score)
        if uncounted:
            yield Finding(claim, published, "", rule, Verdict.NOT_TESTABLE, obstacle or uncounted)
            continue
        ours = ratio_of_means(*([clip[f"float_{score}"] for clip in scores] for scores in (clips, control)))
        deployed = np.divide(*(np.mean([clip[f"deployed_{score}"] for clip in scores]) for scores in (clips, control)))
        percent = Interval(*(100 * value for value in ours))
        here = (
            f"{wording.interval(percent, 1, '%')} of {evidence.control}; "
            f"{number(100 * deployed, 1)} % counted with deployed weights"
        )
        yield Finding(claim, published, here, rule, *_judged(obstacle, ours, high=high))


def _uncounted(clip: Mapping[str, Any], control: Mapping[str, Any], score: str) -> str:
    """Why operations are not there as the paper counted its own; empty if they are."""
    if all(f"float_{score}" in scores for scores in (clip, control)):
        return ""
    if any(f"quantised_{score}" in scores for scores in (clip, control)):
        return "a network is known from HDF5 alone, whose weights are quantised; the paper counted float ones"
    return "the float networks were not evaluated"


def _parameters(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    return _counted(evidence, pairs, "params_thousand", "thousand parameters", lambda m: m["parameters"] / 1e3)


def _size(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    return _counted(evidence, pairs, "size_kb", "KB", lambda metrics: metrics["size_kb"])


def _counted(evidence, pairs, key, unit, count) -> Iterator[Finding]:
    for pair in pairs:
        value = _value(pair.row, key)
        low, high = (1 - SIZE_MARGIN) * value, (1 + SIZE_MARGIN) * value
        claim = f"Pruned by {pair.percent}, the network has {number(value, 0)} {unit}"
        published = f"{number(value, 0)} {unit}"
        rule = f"the number is within {100 * SIZE_MARGIN:g} % of the published one"
        obstacle = _missing(pair) or _network_obstacle(evidence) or _corpus_obstacle(evidence)
        if pair.model is None:
            yield Finding(claim, published, "", rule, Verdict.NOT_TESTABLE, obstacle)
            continue
        metrics = evidence.networks[pair.model]
        ours = count(metrics)
        verdict, reason = _judged(obstacle, Interval(ours, ours, ours), low, high)
        if not obstacle:
            change = number(100 * (ours / value - 1), 0, signed=True)
            weights, delays = (number(metrics[f"nonzero_{kind}"], 0) for kind in ("weights", "delays"))
            reason = f"{change} %: {weights} weights and {delays} delays are left after rounding to 8 bits"
        yield Finding(claim, published, f"{number(ours, 1)} {unit}", rule, verdict, reason)


def _latency(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    before_ms = _value(_row(evidence, BASELINE), "latency_total_ms")
    control_ms = _total_ms(evidence, evidence.control)
    for pair in pairs:
        claim = f"Pruning by {pair.percent} leaves the latency as it is"
        published = f"{number(_value(pair.row, 'latency_total_ms'), 3)} ms, baseline {number(before_ms, 3)} ms"
        rule = f"it stays within {LATENCY_MARGIN_MS:g} ms of the control; encoder and decoder are the same for all"
        if pair.model is None:
            yield Finding(claim, published, "", rule, Verdict.NOT_TESTABLE, _missing(pair))
            continue
        ours_ms = _total_ms(evidence, pair.model)
        change = Interval(*[ours_ms - control_ms] * 3)
        verdict, _ = judge(change, -LATENCY_MARGIN_MS, LATENCY_MARGIN_MS)
        here = f"{number(ours_ms, 3)} ms, {evidence.control} {number(control_ms, 3)} ms"
        reason = f"{number(change.mean, 3, signed=True)} ms"
        yield Finding(claim, published, here, rule, verdict, reason)


def _level(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    margin = _half_step([_value(pair.row, "si_snr_db") for pair in pairs])
    for pair in pairs:
        value = _value(pair.row, "si_snr_db")
        claim = f"Pruned by {pair.percent}, the network reaches {number(value, 2)} dB on the challenge's test set 1"
        published = f"{number(value, 2)} dB"
        rule = f"the interval lies within {number(margin, 2)} dB of the published value"
        obstacle = _missing(pair) or _network_obstacle(evidence)
        if not evidence.params.data.is_linked("test"):
            obstacle = obstacle or "these are other clips; only the profile dns4 evaluates on test set 1"
        if pair.model is None:
            yield Finding(claim, published, "", rule, Verdict.NOT_TESTABLE, obstacle)
            continue
        metrics = evidence.networks[pair.model]
        ours = Interval(metrics["si_snr_db"], *metrics["intervals"]["si_snr_db"])
        judged = _judged(obstacle, ours, value - margin, value + margin)
        yield Finding(claim, published, wording.interval(ours, 2, "dB"), rule, *judged)


def _same_clips(evidence: Evidence, pairs: Sequence[_Pair]) -> Iterator[Finding]:
    """Our networks beside the published ones themselves, where these are rows of the table."""
    margin = _half_step([_value(pair.row, "si_snr_db") for pair in pairs])
    others = [network for network in evidence.params.table if network.file and network.name in evidence.networks]
    for pair in pairs:
        theirs = next((other.name for other in others if pair.row.model.startswith(counterpart(other))), None)
        if theirs is None or pair.model is None:
            continue
        networks = {name: evidence.networks[name] for name in (theirs, pair.model)}
        between = differences(networks)[0]["si_snr_db"]
        change = Interval(between["mean"], *between["interval"])
        level = number(networks[theirs]["si_snr_db"], 2)
        yield Finding(
            f"Pruned by {pair.percent}, the network is as good as SPANDEX's own on the same clips",
            f"{level} dB here, of its deployed network ({theirs})",
            f"{wording.interval(change, 2, 'dB', signed=True)} against it",
            f"the interval of the difference lies above -{number(margin, 2)} dB",
            *judge(change, -margin),
        )


def _judged(obstacle: str, measured: Interval, low: float = -inf, high: float = inf) -> tuple[Verdict, str]:
    return (Verdict.NOT_TESTABLE, obstacle) if obstacle else judge(measured, low, high)


def _missing(pair: _Pair) -> str:
    return "" if pair.model else f"no network of this build is pruned by {pair.percent}"


def _network_obstacle(evidence: Evidence) -> str:
    """Why the networks are none of which the paper speaks; empty if they are."""
    if evidence.params.model.factory is not None:
        return "the networks come from model.factory and are not the paper's"
    weights = _weights(evidence.networks[evidence.control])
    if abs(weights - SDNN_WEIGHTS) > 1:
        return f"the network has {number(weights, 0)} weights, the paper's {number(SDNN_WEIGHTS, 0)}"
    return ""


def _corpus_obstacle(evidence: Evidence) -> str:
    """Why networks of this corpus are none of which the paper speaks; empty if they are."""
    if evidence.params.data.is_synthetic:
        return "voices and noise are synthetic and training is short; it takes real recordings"
    return ""


def _training_obstacle(evidence: Evidence) -> str:
    """Why what pruning changes in these networks says nothing of the paper's; empty if it does."""
    if obstacle := _corpus_obstacle(evidence):
        return obstacle
    if evidence.clips < MIN_CLIPS:
        return f"{evidence.clips} test clips are too few for an interval; it takes {MIN_CLIPS}"
    if evidence.networks[evidence.control]["intervals"]["si_snri_db"][0] <= 0:
        return "the control does not improve on the noisy input, so that there is nothing to lose"
    return ""


def _weights(metrics: Mapping[str, Any]) -> float:
    """Of the whole network, zeros included."""
    return metrics["nonzero_weights"] / (1 - metrics["deployed_sparsity"])


def _total_ms(evidence: Evidence, model: str) -> float:
    metrics = evidence.networks[model]
    return metrics["latency_buffer_ms"] + metrics["latency_network_ms"] + evidence.enc_dec_ms


def _half_step(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / 2


def _row(evidence: Evidence, name: str, source: str = "") -> Row:
    for row in evidence.published:
        if row.model.startswith(name) and row.source.startswith(source):
            return row
    raise SpandexError(f"reports/reference: no entry {name!r}")


def _value(row: Row, key: str) -> float:
    if key not in row.values:
        raise SpandexError(f"reports/reference: {row.model}: no {key}")
    return row.values[key]
