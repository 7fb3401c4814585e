"""The paper's table for the page: our networks with intervals and differences, and the published rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spandex.metrics.bootstrap import Interval
from spandex.params import Network
from spandex.report.comparison import Differences, Significance, significance
from spandex.report.published import BASELINE, NOISY, counterpart
from spandex.report.table import COST, LATENCY, QUALITY, SCORES, Column, Row, latency_note
from spandex.report.wording import interval, number

# columns of what is known of a network and not of every clip: they have no intervals
OF_NETWORKS = ("params_thousand", "size_kb", "sparsity_percent", "deployed_sparsity_percent")
WITH_INTERVALS = {key: score for key, score in SCORES.items() if key not in OF_NETWORKS}
ALREADY_DIFFERENCES = ("fixed_minus_float_db",)
LEFT_OUT = (
    "float_si_snr_db",
    "si_snri_enc_dec_db",
    "float_mos_ovrl",
    "fixed_minus_float_mos_ovrl",
    "latency_enc_dec_ms",
)
# shown before one asks for all
MAIN = (
    "si_snri_data_db",
    "si_snr_db",
    "mos_ovrl",
    "deployed_power_proxy_mops_per_s",
    "size_kb",
    "sparsity_percent",
)
HEADINGS = {"si_snri_data_db": "SI-SNR improvement", "latency_total_ms": "latency"}


@dataclass(frozen=True)
class Cell:
    """A number with what is known of its certainty.

    Attributes:
        value: to sort by; None if unknown.
        text: the number.
        bounds: its 95 % interval, or nothing.
        change: its difference to the control with interval, or to the published baseline without; or nothing.
        significance: what the interval of the difference says; None without one.
    """

    value: float | None = None
    text: str = ""
    bounds: str = ""
    change: str = ""
    significance: Significance | None = None


@dataclass(frozen=True)
class Line:
    """A row of the table, with a note for people."""

    model: str
    note: str
    published: bool
    cells: tuple[Cell, ...]


def columns() -> list[Column]:
    """Those that the page shows, those of ``MAIN`` first."""
    shown = [column for column in QUALITY + COST + LATENCY if column.key not in LEFT_OUT]
    return sorted(shown, key=lambda column: MAIN.index(column.key) if column.key in MAIN else len(MAIN))


def heading(column: Column) -> str:
    """What stands above a column, without its unit."""
    return HEADINGS.get(column.key, column.heading)


def our_lines(
    ours: Sequence[Row], networks: Mapping[str, Mapping[str, Any]], differences: Mapping[str, Differences]
) -> list[Line]:
    """Our rows.

    Args:
        ours: rows of this run with the noisy input.
        networks: scores by name, of noisy input and networks.
        differences: to the control, by network.
    """
    return [_our_line(row, networks[row.model], differences.get(row.model, {})) for row in ours]


def published_lines(published: Sequence[Row], rows: Sequence[Network]) -> list[Line]:
    """The published rows, each with the name of the network of ours that rebuilds it.

    Args:
        published: rows of the board and of the write-up.
        rows: our networks.
    """
    baseline = next((row for row in published if row.model.startswith(BASELINE)), None)
    beginnings = {"noisy": NOISY} | {network.name: counterpart(network) for network in rows}
    found = []
    for row in published:
        here = [name for name, beginning in beginnings.items() if row.model.startswith(beginning)]
        note = f"{row.source}; here {' and '.join(here)}" if here else row.source
        cells = tuple(_published_cell(column, row, baseline) for column in columns())
        found.append(Line(row.model, note, True, cells))
    return found


def known_columns(lines: Sequence[Line]) -> list[int]:
    """Places of the columns that a line has a value of."""
    return [place for place in range(len(columns())) if any(line.cells[place].value is not None for line in lines)]


def _our_line(row: Row, metrics: Mapping[str, Any], differences: Differences) -> Line:
    return Line(row.title, latency_note(row), False, tuple(_our_cell(c, row, metrics, differences) for c in columns()))


def _our_cell(column: Column, row: Row, metrics: Mapping[str, Any], differences: Differences) -> Cell:
    value = row.values.get(column.key)
    if value is None:
        return Cell()
    text = number(value, column.decimals)
    score, factor = WITH_INTERVALS.get(column.key, ("", 1))
    if score not in metrics.get("intervals", {}):
        return Cell(value, text)
    low, high = (factor * bound for bound in metrics["intervals"][score])
    bounds = f"{number(low, column.decimals)} to {number(high, column.decimals)}"
    if column.key in ALREADY_DIFFERENCES:
        return Cell(value, text, bounds, significance=significance(score, Interval(value, low, high)))
    if score not in differences:
        return Cell(value, text, bounds)
    difference = Interval(*(factor * bound for bound in differences[score]))
    more = 1 if column.key.startswith("mos_") else 0  # changes of MOS are smaller than the levels
    change = interval(difference, column.decimals + more, signed=True)
    return Cell(value, text, bounds, change, significance(score, difference))


def _published_cell(column: Column, row: Row, baseline: Row | None) -> Cell:
    value = row.values.get(column.key)
    if value is None:
        return Cell()
    change = ""
    before = baseline.values.get(column.key) if baseline else None
    if row.model[:1].isdigit() and column.key in WITH_INTERVALS and before is not None:
        change = number(value - before, column.decimals, signed=True)
    return Cell(value, number(value, column.decimals), change=change)
