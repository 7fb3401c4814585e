"""The report as LaTeX that any distribution sets with pdflatex: tables, verdicts, figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from spandex.report.comparison import Significance
from spandex.report.looks import LIGHT, choice
from spandex.report.page import Page
from spandex.report.side_by_side import Line, columns, known_columns
from spandex.report.tex import escape

# columns of the table that fits a column of text, and of the two whose width is that of a page
SHORT = (
    "si_snr_db",
    "si_snri_data_db",
    "mos_ovrl",
    "deployed_power_proxy_mops_per_s",
    "size_kb",
    "sparsity_percent",
)
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
HEADINGS = {
    "float_power_proxy_mops_per_s": "float power",
    "deployed_power_proxy_mops_per_s": "power",
    "float_pdp_proxy_mops": "float PDP",
    "si_snri_data_db": "SI-SNRi",
    "mos_ovrl_all_hops": "ovrl, all hops",
}


@dataclass(frozen=True)
class Table:
    """Caption, headings, units and rows of cells of one table, the first of every row its name; whether it is wide."""

    caption: str
    headings: list[str]
    units: list[str]
    rows: list[list[str]]
    wide: bool = True


@dataclass(frozen=True)
class Figure:
    """A PDF beside the paper, by its path from there, what is said below it, and whether it needs both columns."""

    path: str
    caption: str
    wide: bool = False


def to_paper(page: Page, figures: Sequence[Figure]) -> str:
    """What the page says as LaTeX, with figures; whatever text it holds is escaped."""
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
    ours, every = page.lines, [*page.lines, *page.published]
    networks = [line.model for line in ours[1:]]  # the first is the noisy input
    interval = f"Below a network of ours stand its change against {page.control} and the interval of that."
    star = f"Below a network stands its change against {page.control}, with a star where its interval leaves out 0."
    return environment.get_template("paper.tex.jinja").render(
        page=page,
        tables=[
            _table(f"Quality and cost as deployed. {star}", ours, SHORT, wide=False),
            _table(f"Quality. {interval}", every, QUALITY),
            _table(f"Cost. {interval}", every, COST),
        ],
        figures=figures,
        colours={name: choice(LIGHT, name, networks).removeprefix("#").upper() for name in networks},
    )


def _table(caption: str, lines: Sequence[Line], keys: Sequence[str], wide: bool = True) -> Table:
    """Columns that a line has a value of; a narrow table leaves intervals out."""
    known = known_columns(lines)
    places = [(number, column) for number, column in enumerate(columns()) if column.key in keys and number in known]
    places.sort(key=lambda place: keys.index(place[1].key))
    rows = []
    for line in lines:
        cells = [line.cells[number] for number, _ in places]
        if any(cell.text for cell in cells):
            rows.append([f"{line.model} (published)" if line.published else line.model, *(cell.text for cell in cells)])
            changes = [cell.change for cell in cells]
            if any(changes) and not line.published:
                sure = ["" if wide or cell.significance in (None, Significance.OPEN) else "*" for cell in cells]
                rows.append(["", *(c.split(" (")[0] + star for c, star in zip(changes, sure, strict=True))])
            if any(changes) and not line.published and wide:
                rows.append(["", *(f"({c.split(' (')[1]}" if " (" in c else "" for c in changes)])
    headings = [HEADINGS.get(column.key, column.heading) for _, column in places]
    return Table(caption, headings, [column.unit for _, column in places], rows, wide)
