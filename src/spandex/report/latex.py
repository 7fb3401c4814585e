"""The report as LaTeX that any distribution sets with pdflatex: tables, verdicts, figures."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from spandex.files import atomic_path
from spandex.report.page import Page
from spandex.report.side_by_side import Line, columns
from spandex.report.tex import escape

# columns of the two tables, whose width is that of a page
QUALITY = (
    "si_snr_db",
    "si_snri_data_db",
    "mos_ovrl",
    "mos_sig",
    "mos_bak",
    "mos_ovrl_all_hops",
    "fixed_minus_float_db",
)
COST = (
    "float_power_proxy_mops_per_s",
    "deployed_power_proxy_mops_per_s",
    "float_pdp_proxy_mops",
    "params_thousand",
    "size_kb",
    "sparsity_percent",
    "deployed_sparsity_percent",
)
SHORT = {
    "float_power_proxy_mops_per_s": "float power",
    "deployed_power_proxy_mops_per_s": "deployed power",
    "float_pdp_proxy_mops": "float PDP",
    "si_snri_data_db": "SI-SNRi",
    "mos_ovrl_all_hops": "ovrl, all hops",
}


@dataclass(frozen=True)
class Table:
    """Caption, headings, units and rows of cells of one table, the first of every row its name."""

    caption: str
    headings: list[str]
    units: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Figure:
    """A PDF beside the paper, by its path from there, and what is said below it."""

    path: str
    caption: str


def write_paper(path: str | os.PathLike, page: Page, figures: Sequence[Figure]) -> None:
    """Write what the page says as LaTeX.

    Args:
        path: of the .tex file.
        page: content.
        figures: to include.
    """
    with atomic_path(path) as temporary:
        Path(temporary).write_text(to_paper(page, figures), encoding="utf-8", newline="\n")


def to_paper(page: Page, figures: Sequence[Figure]) -> str:
    """LaTeX of the paper; whatever text it holds is escaped."""
    environment = Environment(
        loader=PackageLoader("spandex.report"),
        autoescape=False,
        finalize=lambda value: escape(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    lines = [*page.lines, *page.published]
    return environment.get_template("paper.tex.jinja").render(
        page=page,
        tables=[_table("Quality.", lines, QUALITY), _table("Cost.", lines, COST)],
        figures=figures,
    )


def _table(caption: str, lines: Sequence[Line], keys: Sequence[str]) -> Table:
    places = [(number, column) for number, column in enumerate(columns()) if column.key in keys]
    places.sort(key=lambda place: keys.index(place[1].key))
    rows = []
    for line in lines:
        cells = [line.cells[number] for number, _ in places]
        if any(cell.text for cell in cells):
            rows.append([f"{line.model} (published)" if line.published else line.model, *(cell.text for cell in cells)])
            changes = [cell.change for cell in cells]
            if any(changes) and not line.published:
                rows.append(["", *(change.split(" (")[0] for change in changes)])
                rows.append(["", *(f"({c.split(' (')[1]}" if " (" in c else "" for c in changes)])
    headings = [SHORT.get(column.key, column.heading) for _, column in places]
    return Table(caption, headings, [column.unit for _, column in places], rows)
