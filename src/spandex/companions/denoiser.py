"""What methods do for the denoiser, against the dense control or magnitude pruning at the same sparsity."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from math import log
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from spandex.companions.results import Runs, error_bars, over_seeds, percent_change, shown
from spandex.metrics.bootstrap import Interval
from spandex.params import Network
from spandex.report.claims import Finding, judge
from spandex.report.figures import STYLE, save_figure
from spandex.report.table import known_sparsity
from spandex.report.tabular import Table
from spandex.sparsify.methods import method

TITLE = "Methods on the denoiser"
EQUAL_DB = 0.1  # SI-SNR that counts as equal: a fifth of what the write-up lost at 75 %
PLAIN = "magnitude"  # SPANDEX's own
CONTROL = "dense control"
COSTS = {"events_per_step": "fewer events", "deployed_power_proxy_ops_per_s": "lower deployed power proxy"}
METRICS = ("si_snr_db", "deployed_synops_per_step", "deployed_power_proxy_ops_per_s", "parameters")


def by_seed(networks: Sequence[Sequence[Network]], scores: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One run a seed: the metrics of each network by the name it has with the first seed.

    Args:
        networks: seed by seed, in the same order.
        scores: of every network by name, as ``spandex.steps.results.network_scores`` gives them.
    """
    first = [network.name for network in networks[0]]
    return [
        {name: _metrics(scores[network.name]) for name, network in zip(first, seed, strict=True)} for seed in networks
    ]


def _metrics(scores: Mapping[str, Any]) -> dict[str, float]:
    more = {"sparsity": known_sparsity(scores), "events_per_step": sum(scores["events_per_step"])}
    return {name: scores[name] for name in METRICS} | more


def findings(runs: Runs, networks: Sequence[Network]) -> list[Finding]:
    """Each network whose methods are not magnitude pruning alone, against what does without them: cost, and SI-SNR.

    Args:
        runs: of ``by_seed``.
        networks: of the first seed.
    """
    return [found for one, other in _comparisons(networks) for found in _compared(runs, one, other)]


def _comparisons(networks: Sequence[Network]) -> Iterator[tuple[Network, Network]]:
    """Networks beside magnitude pruning of the same target, fine-tuned alike; beside the dense control where there is
    none."""
    for network in networks:
        if set(network.methods) - {PLAIN}:
            plain = {PLAIN} if network.is_pruned else set()
            alike = (n for n in networks if n.is_trained and _training(n) == _training(network))
            others = (n for n in alike if set(n.methods) == plain and _aim(n) == _aim(network))
            if (other := next(others, None)) is not None:
                yield network, other


def _training(network: Network) -> tuple[Any, ...]:
    return network.start, network.fine_tuning, network.dynamic_mixing, network.augmentation, network.lookahead


def _aim(network: Network) -> tuple[float | None, float | None]:
    return network.target, network.power_mops


def _shown_aim(network: Network) -> str:
    """Of a network that is pruned, how far."""
    return f"{network.power_mops:g} M-Ops/s" if network.target is None else f"{100 * network.target:g} %"


def _compared(runs: Runs, one: Network, other: Network) -> Iterator[Finding]:
    what = "sparsity" if one.power_mops is None else "of power"
    where = f"at {_shown_aim(one)} {what}" if one.is_pruned else "without pruning"
    label, against = _label(one), _label(other)
    who = f"{label[0].upper()}{label[1:]} {where}"
    source = ", ".join(filter(None, (getattr(method(name), "SOURCE", "") for name in one.methods if name != PLAIN)))
    for metric, name in COSTS.items():
        if metric == "events_per_step" and "events" not in one.methods:
            continue  # what activity regularization promises, and no other
        change = percent_change(over_seeds(runs, lambda run, m=metric: log(run[one.name][m] / run[other.name][m])))
        yield Finding(
            f"{who}: {name} than {against}",
            source,
            shown(change, 1, "%", signed=True),
            "the interval of the change lies below 0 %",
            *judge(change, high=0.0, of="seeds"),
        )
    quality = over_seeds(runs, lambda run: run[one.name]["si_snr_db"] - run[other.name]["si_snr_db"])
    yield Finding(
        f"{who}: SI-SNR not below that of {against}",
        source,
        shown(quality, 2, "dB", signed=True),
        f"the interval of the change lies above -{EQUAL_DB:g} dB",
        *judge(quality, low=-EQUAL_DB, of="seeds"),
    )


def tables(runs: Runs, networks: Sequence[Network]) -> list[Table]:
    """Quality and cost of every network, means over seeds with their intervals."""
    rows = [
        [
            network.name,
            group(network),
            100 * _over(runs, network, "sparsity").mean,
            _over(runs, network, "si_snr_db"),
            _over(runs, network, "deployed_synops_per_step"),
            over_seeds(runs, lambda run, name=network.name: run[name]["deployed_power_proxy_ops_per_s"] / 1e6),
            _over(runs, network, "events_per_step"),
            _over(runs, network, "parameters").mean,
        ]
        for network in _by_cost(runs, networks)
    ]
    headings = ["network", "method", "sparsity (%)", "SI-SNR (dB)", "deployed SynOps a step"]
    headings += ["deployed power proxy (M-Ops/s)", "events a step", "parameters"]
    return [Table("plane", "Quality against synaptic operations on the denoiser", headings, rows)]


def plane(runs: Runs, networks: Sequence[Network], path: Path) -> list[Path]:
    """Every network in the plane of synaptic operations and SI-SNR, a figure at PATH.png and PATH.pdf."""
    groups: dict[str, list[Network]] = {}
    for network in _by_cost(runs, networks):
        groups.setdefault(group(network), []).append(network)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        axes = figure.subplots()
        for marker, (label, members) in zip(cycle("osD^vPX*"), groups.items(), strict=False):
            synops = [_over(runs, network, "deployed_synops_per_step") for network in members]
            quality = [_over(runs, network, "si_snr_db") for network in members]
            axes.errorbar(
                [value.mean / 1e3 for value in synops],
                [value.mean for value in quality],
                xerr=error_bars(synops, 1e-3),
                yerr=error_bars(quality),
                fmt=marker,
                capsize=2,
                label=label,
            )
            for network, x, y in zip(members, synops, quality, strict=True):
                axes.annotate(
                    _shown_aim(network) if network.is_pruned else "dense weights",
                    (x.mean / 1e3, y.mean),
                    textcoords="offset points",
                    xytext=(5, 4),
                    fontsize=7,
                )
        axes.set_xlabel("synaptic operations a step (thousand)")
        axes.set_ylabel("SI-SNR (dB)")
        axes.legend()
        return save_figure(figure, path)


def _label(network: Network) -> str:
    """How a network was made sparse, such as activity regularization with magnitude (SPANDEX)."""
    own = group(network)
    return f"{own} with {_title(PLAIN)}" if PLAIN in network.methods and set(network.methods) != {PLAIN} else own


def group(network: Network) -> str:
    """The methods of a network beside magnitude pruning; that, or none, where there are no others; distillation."""
    own = [name for name in network.methods if name != PLAIN] or list(network.methods)
    titles = [*map(_title, own)] or [CONTROL]
    return " and ".join([*titles, *["distillation"] * ("distill" in network.fine_tuning)])


def _title(name: str) -> str:
    return getattr(method(name), "TITLE", name)


def _by_cost(runs: Runs, networks: Sequence[Network]) -> list[Network]:
    return sorted(networks, key=lambda network: -runs[0][network.name]["deployed_synops_per_step"])


def _over(runs: Runs, network: Network, metric: str) -> Interval:
    return over_seeds(runs, lambda run: run[network.name][metric])
