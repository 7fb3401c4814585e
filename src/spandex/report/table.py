"""The paper's table: our networks beside the published ones, as CSV, Markdown and LaTeX.

Everything in these files follows from networks and clips alone, so equal runs give equal bytes. Measured latency is
joined only by ``printed_table``.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spandex.errors import SpandexError
from spandex.files import write_text
from spandex.files.text import read_csv
from spandex.metrics.latency import LIMIT_MS
from spandex.params import Network
from spandex.report.published import BASELINE, BOARD
from spandex.report.tabular import markdown
from spandex.report.tex import escape

Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of numbers: its key in CSV, heading and unit for people, and the decimals they see."""

    key: str
    heading: str
    unit: str
    decimals: int


QUALITY = (
    Column("si_snr_db", "SI-SNR", "dB", 2),
    Column("float_si_snr_db", "float SI-SNR", "dB", 2),
    Column("fixed_minus_float_db", "fixed - float", "dB", 3),
    Column("si_snri_data_db", "SI-SNRi data", "dB", 2),
    Column("si_snri_enc_dec_db", "SI-SNRi enc+dec", "dB", 2),
    Column("mos_ovrl_improvement", "MOS ovrl improvement", "", 2),
    Column("mos_ovrl", "MOS ovrl", "", 2),
    Column("mos_sig", "MOS sig", "", 2),
    Column("mos_bak", "MOS bak", "", 2),
    Column("mos_ovrl_all_hops", "MOS ovrl, all hops", "", 2),
    Column("float_mos_ovrl", "float MOS ovrl", "", 2),
    Column("fixed_minus_float_mos_ovrl", "fixed - float ovrl", "", 3),
)
MORE_MOS = tuple(Column(f"mos_{kind}_all_hops", f"MOS {kind}, all hops", "", 3) for kind in ("sig", "bak")) + tuple(
    Column(f"{which}_mos_{kind}", f"{which.replace('_minus_', ' - ')} MOS {kind}", "", 3)
    for which in ("float", "fixed_minus_float")
    for kind in ("sig", "bak")
)
LATENCY = (
    Column("latency_enc_dec_ms", "latency enc+dec", "ms", 3),
    Column("latency_total_ms", "latency total", "ms", 3),
)
COST = (
    Column("float_power_proxy_mops_per_s", "float power proxy", "M-Ops/s", 2),
    Column("deployed_power_proxy_mops_per_s", "deployed power proxy", "M-Ops/s", 2),
    Column("float_pdp_proxy_mops", "float PDP proxy", "M-Ops", 2),
    Column("deployed_pdp_proxy_mops", "deployed PDP proxy", "M-Ops", 2),
    Column("params_thousand", "params", "thousand", 1),
    Column("size_kb", "size", "KB", 1),
    Column("sparsity_percent", "sparsity", "%", 1),
    Column("deployed_sparsity_percent", "deployed sparsity", "%", 1),
)
COLUMNS = QUALITY + COST
CSV_COLUMNS = COLUMNS + MORE_MOS

# scores of spandex.evaluation behind our columns, and the factor to the column's unit
SCORES = {column.key: (column.key, 1.0) for column in QUALITY + MORE_MOS} | {
    "si_snri_data_db": ("si_snri_db", 1.0),
    "float_power_proxy_mops_per_s": ("float_power_proxy_ops_per_s", 1e-6),
    "deployed_power_proxy_mops_per_s": ("deployed_power_proxy_ops_per_s", 1e-6),
    "float_pdp_proxy_mops": ("float_pdp_proxy_ops", 1e-6),
    "deployed_pdp_proxy_mops": ("deployed_pdp_proxy_ops", 1e-6),
    "params_thousand": ("parameters", 1e-3),
    "size_kb": ("size_kb", 1.0),
    "sparsity_percent": ("sparsity", 100.0),
    "deployed_sparsity_percent": ("deployed_sparsity", 100.0),
}
# what an evaluation may leave out: DNSMOS, and the float network
OPTIONAL = ("mos_", "float_", "fixed_minus_float_", "sparsity")
# columns of the published tables that are called otherwise here: their operations are of float weights
PUBLISHED = {"power_proxy_mops_per_s": "float_power_proxy_mops_per_s", "pdp_proxy_mops": "float_pdp_proxy_mops"}

# more than people see, fewer than the last bits that an order of summation decides
CSV_EXTRA_DECIMALS = 2


@dataclass(frozen=True)
class Row:
    """One network, or the noisy input, with its values by column key; an absent value is not known.

    ``label`` is what people see in place of the model's name, if it is not empty.
    """

    source: str
    model: str
    values: Mapping[str, float] = field(default_factory=dict)
    label: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return self.label or self.model


def our_rows(noisy: Metrics, models: Iterable[Metrics]) -> list[Row]:
    """Rows of one run: quality and cost of the networks in fixed point, beside their float versions.

    Args:
        noisy: scores of the noisy input, from ``spandex.evaluation``.
        models: scores in the order of the table, with ``model``, the name; of networks, with ``sparsity``, the share of
            float weights that are zero, where these are known; or of clips that something else has denoised.

    Raises:
        SpandexError: a metric is missing.
    """
    source = "this run"
    heard = ("si_snr_db", *(f"mos_{kind}{hops}" for hops in ("", "_all_hops") for kind in ("ovrl", "sig", "bak")))
    rows = [Row(source, noisy["model"], {key: found for key in heard for found in _known(noisy, key)})]
    for metrics in models:
        values = {key: factor * found for key, (score, factor) in SCORES.items() for found in _known(metrics, score)}
        rows.append(Row(source, metrics["model"], values))
    return rows


def labelled(rows: Iterable[Row], networks: Iterable[Network]) -> list[Row]:
    """Rows with the labels that the parameters give to networks."""
    labels = {network.name: network.label for network in networks}
    return [replace(row, label=labels.get(row.model, "")) for row in rows]


def published_rows(folder: str | os.PathLike) -> list[Row]:
    """The published noisy input, Intel's baseline and SPANDEX's own networks.

    Args:
        folder: holds ndns_track1_test_set_1.csv (the challenge's board) and spandex_paper.csv (the write-up).

    Raises:
        SpandexError: a file is missing or has no such entry.
    """
    board = read_csv(Path(folder) / BOARD.name)
    shown = [entry for entry in board if entry["team"] == "" or entry["team"] == "SPANDEX"]
    shown += [entry for entry in board if entry["team"] == "Intel" and entry["entry"].startswith(BASELINE)]
    if len(shown) < 3:
        raise SpandexError(f"{folder}: the board lacks the noisy input, SPANDEX or Intel's baseline")
    order = {"": 0, "Intel": 1, "SPANDEX": 2}
    shown.sort(key=lambda entry: order[entry["team"]])
    paper = read_csv(Path(folder) / "spandex_paper.csv")
    return [_published("N-DNS test set 1", entry) for entry in shown] + [
        _published("SPANDEX write-up", entry) for entry in paper
    ]


def with_latency(rows: Iterable[Row], models: Iterable[Metrics], enc_dec_ms: float) -> list[Row]:
    """Our rows with measured latency: enc+dec, and in all buffer + enc+dec + network; other rows as they are."""
    fixed_ms = {m["model"]: m["latency_buffer_ms"] + m["latency_network_ms"] for m in models if is_network(m)}
    return [
        replace(
            row,
            values={
                **row.values,
                "latency_enc_dec_ms": enc_dec_ms,
                "latency_total_ms": fixed_ms[row.model] + enc_dec_ms,
            },
        )
        if row.model in fixed_ms
        else row
        for row in rows
    ]


def write_tables(rows: Sequence[Row], folder: str | os.PathLike) -> list[Path]:
    """Write table.csv, table.md and table.tex into ``folder``; return their paths."""
    texts = {"table.csv": to_csv(rows), "table.md": to_markdown(rows), "table.tex": to_latex(rows)}
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
    return [Path(folder) / name for name in texts]


def to_csv(rows: Iterable[Row]) -> str:
    """Comma-separated values with the column keys as header; unknown values are empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["source", "model", *(column.key for column in CSV_COLUMNS)])
    for row in rows:
        writer.writerow([row.source, row.model, *(_number(row, column, CSV_EXTRA_DECIMALS) for column in CSV_COLUMNS)])
    return stream.getvalue()


def to_markdown(rows: Iterable[Row], columns: Sequence[Column] = COLUMNS) -> str:
    """A Markdown table."""
    headings = ["source", "model", *(f"{c.heading} ({c.unit})" if c.unit else c.heading for c in columns)]
    cells = [[row.source, row.title, *(_number(row, column) for column in columns)] for row in rows]
    return markdown([headings, *cells], [False, False, *(True for _ in columns)])


def to_latex(rows: Sequence[Row]) -> str:
    """A LaTeX tabular for the package booktabs, with a rule between our rows and each published source."""
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{ll{'r' * len(COLUMNS)}}}",
        "\\toprule",
        _latex_line(["source", "model", *(escape(column.heading) for column in COLUMNS)]),
        _latex_line(["", "", *(f"({escape(column.unit)})" if column.unit else "" for column in COLUMNS)]),
    ]
    source = None
    for row in rows:
        if row.source != source:
            lines.append("\\midrule")
        shown = escape(row.source) if row.source != source else ""
        lines.append(
            _latex_line([shown, escape(row.title), *(_latex_number(_number(row, column)) for column in COLUMNS)])
        )
        source = row.source
    return "".join(f"{line}\n" for line in [*lines, "\\bottomrule", "\\end{tabular}"])


def quality_rows(scores: Mapping[str, Metrics]) -> tuple[list[Row], list[Column]]:
    """Rows by name, and those columns of quality that any of them has."""
    values = {
        name: {key: known[source] for key, (source, _) in SCORES.items() if source in known}
        for name, known in scores.items()
    }
    columns = [column for column in QUALITY if any(column.key in row for row in values.values())]
    return [Row("here", name, row) for name, row in values.items()], columns


def printed_table(rows: Iterable[Row]) -> str:
    """The table for terminal and summary, as Markdown, with latency where rows have it (see ``with_latency``)."""
    rows = list(rows)
    notes = [f"\n{row.title}: {note}\n" for row in rows if (note := latency_note(row))]
    return "".join([to_markdown(rows, QUALITY + LATENCY + COST), *notes])


def latency_note(row: Row) -> str:
    """What is to be said of a row that is later than the challenge allows; nothing of others."""
    total_ms = row.values.get("latency_total_ms", 0)
    return f"latency of {total_ms:.3f} ms, past the challenge's {LIMIT_MS} ms" if total_ms > LIMIT_MS else ""


def is_network(metrics: Metrics) -> bool:
    """Whether scores are of a network, and not of clips that something else has denoised."""
    return "parameters" in metrics


def known_sparsity(metrics: Metrics) -> float:
    """Share of a network's float weights that are zero; of its deployed ones, where those alone are known."""
    return metrics["sparsity"] if "sparsity" in metrics else metrics["deployed_sparsity"]


def _metric(metrics: Metrics, key: str) -> float:
    if metrics.get(key) is None:
        raise SpandexError(f"metrics of {metrics.get('model', 'a network')}: no {key}; evaluate it again")
    return metrics[key]


def _known(metrics: Metrics, key: str) -> list[float]:
    """The metric, or nothing if the evaluation left it out."""
    left_out = (key.startswith(OPTIONAL) or not is_network(metrics)) and metrics.get(key) is None
    return [] if left_out else [_metric(metrics, key)]


def _published(source: str, entry: Mapping[str, str]) -> Row:
    keys = {column.key for column in QUALITY + LATENCY + COST}
    named = {PUBLISHED.get(key, key): value for key, value in entry.items()}
    values = {key: float(value) for key, value in named.items() if key in keys and value}
    return Row(source, entry["entry"], values)


def _number(row: Row, column: Column, extra_decimals: int = 0) -> str:
    value = row.values.get(column.key)
    if value is None:
        return ""
    text = f"{value:.{column.decimals + extra_decimals}f}"
    return text if float(text) else text.removeprefix("-")


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _latex_number(text: str) -> str:
    return f"${text}$" if text.startswith("-") else text
