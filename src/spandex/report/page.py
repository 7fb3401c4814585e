"""The report as one page that needs nothing from elsewhere: text, charts, sound and the code that draws them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from spandex.report import looks
from spandex.report.charts import Chart
from spandex.report.claims import Finding, Verdict
from spandex.report.clips import Example
from spandex.report.comparison import Significance
from spandex.report.origin import Time
from spandex.report.papers import SCOPE, Section
from spandex.report.side_by_side import MAIN, Line, columns, heading, known_columns
from spandex.report.tabular import cell_parts, cell_text, cell_value, numeric_columns
from spandex.report.wording import number

SYMBOLS = {Significance.BETTER: "✓", Significance.WORSE: "✗", Significance.OPEN: "≈"}
BADGES = {Verdict.REPRODUCED: "✓", Verdict.NOT_REPRODUCED: "✗", Verdict.NOT_TESTABLE: "○"}
CLASSES = {
    Significance.BETTER: "good",
    Significance.WORSE: "bad",
    Significance.OPEN: "open",
    Verdict.REPRODUCED: "good",
    Verdict.NOT_REPRODUCED: "bad",
    Verdict.NOT_TESTABLE: "open",
}


@dataclass(frozen=True)
class Origin:
    """What produced the report.

    Attributes:
        facts: by name, such as revision and digests.
        versions: of Python and packages.
        files: digests by path.
        parameters: as YAML.
        times: of the jobs.
    """

    facts: Mapping[str, str]
    versions: Mapping[str, str]
    files: Mapping[str, str]
    parameters: str
    times: Sequence[Time]


@dataclass(frozen=True)
class Page:
    """What the page shows.

    Attributes:
        team: who made it.
        profile: of the parameters.
        clips: how many were evaluated.
        control: the network that differences are to.
        headline: what the build shows, a sentence.
        synthetic: whether voices and noise are made by procedure.
        same_clips: whether the clips are those of the published figures.
        findings: the paper's claims.
        lines, published: of the tables.
        cost, gain, training, plane, layers, weights, knee: charts; knee is empty if there was no ablation.
        examples: clips.
        origin: what produced it.
        losses: sentences on what fixed point loses, see ``spandex.report.losses``.
        ranges: sentences on masks that wrapped, see ``spandex.report.intervals``.
        companions: the companion papers that have run.
    """

    team: str
    profile: str
    clips: int
    control: str
    headline: str
    synthetic: bool
    same_clips: bool
    findings: Sequence[Finding]
    lines: Sequence[Line]
    published: Sequence[Line]
    cost: Chart
    gain: Chart
    training: Sequence[Chart]
    plane: Sequence[Chart]
    layers: Sequence[Chart]
    weights: Sequence[Chart]
    knee: Sequence[Chart]
    examples: Sequence[Example]
    origin: Origin
    losses: Sequence[str] = ()
    ranges: Sequence[str] = ()
    companions: Sequence[Section] = ()

    @property
    def about(self) -> str:
        """What was built, and what it was judged on."""
        audio = "synthetic audio" if self.synthetic else "recordings"
        return f"Profile {self.profile}: {len(self.lines) - 1} networks on {self.clips} test clips of {audio}."

    @property
    def legend(self) -> str:
        """What the chart of quality and cost shows."""
        return (
            f"Arrows lead from {self.control}, which is not pruned, to what was made sparse. "
            f"Bars are 95 % intervals of the change against {self.control} on the same clips. "
            "Open symbols are networks of others on these clips."
        )

    @property
    def charts(self) -> dict[str, dict[str, Any]]:
        """What plotly draws, by key."""
        groups = ([self.cost, self.gain], self.training, self.plane, self.layers, self.weights, self.knee)
        return {chart.key: chart.figure for group in groups for chart in group}

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How often each was given."""
        counts = Counter(finding.verdict for finding in self.findings)
        return {verdict: counts[verdict] for verdict in Verdict}


def to_html(page: Page) -> str:
    """The page as HTML; whatever text it holds is escaped."""
    environment = Environment(
        loader=PackageLoader("spandex.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "numeric": numeric_columns}
    environment.filters |= {"cell": cell_text, "parts": cell_parts, "value": cell_value}
    return environment.get_template("page.html.jinja").render(
        page=page,
        columns=[(heading(column), column.unit, column.key in MAIN) for column in columns()],
        known=known_columns(page.lines),
        known_published=known_columns(page.published),
        untestable=Verdict.NOT_TESTABLE,
        symbols=SYMBOLS,
        badges=BADGES,
        classes=CLASSES,
        scope=SCOPE,
        looks=looks,
        plotly=Markup(get_plotlyjs()),
    )
