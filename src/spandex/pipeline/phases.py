"""Where the phases of a build leave what they made; the rules in workflow/ write there."""

from pathlib import Path

from spandex.companions.papers import PAPERS, all_runs
from spandex.data.corpus import SPLITS
from spandex.params import Params
from spandex.params.networks import ROOT
from spandex.pipeline.recipes import is_made

NOISY = "noisy"  # the input, among the rows
KEPT = Path("docs/results/frontier")  # records of seeds that a checkout keeps; an installed package has none


def products(params: Params) -> dict[str, list[Path]]:
    """The files that end each phase, those that carry a sidecar, by phase in the order of the build."""
    data, models, reports = map(params.folder, ("data", "models", "reports"))
    splits = [data / split / "clips.json" for split in SPLITS]
    return {
        "data": [data / "corpus" / "manifest.csv", *splits],
        "baseline": [models / "baseline" / "network.pt"],
        "sparsify": [models / row.weights for row in params.table if row.has_float and row.name != ROOT],
        "export": [exported(params, model) for model in params.models],
        "infer": [reports / "infer" / f"{model}.json" for model in params.models],
        "evaluate": [
            *(scores(params, name) for name in (NOISY, *(network.name for network in params.table))),
            reports / "latency" / "latency.json",
        ],
        "report": [reports / "table.csv"],
        "comparisons": _comparisons(params),
        "companions": _companions(params),
    }


def exported(params: Params, name: str) -> Path:
    """The file of a network as it is deployed."""
    return params.folder("models") / "exported" / name / "network.net"


def scores(params: Params, name: str) -> Path:
    """The file of the scores of a row, or of the noisy input."""
    return params.folder("reports") / "evaluate" / f"{name}.json"


def comparison(params: Params, report: str) -> Path:
    """The folder of a report that compares networks."""
    return params.folder("reports") / "comparisons" / report


def compared(params: Params) -> list[str]:
    """The reports that compare networks and are there; not those that name a network which is there no longer."""
    return [report for report in params.comparable if is_made(comparison(params, report) / "table.csv")]


def judged(params: Params) -> list[Path]:
    """Folders with verdicts: of comparisons, and of companion papers."""
    papers = params.folder("reports") / "companions"
    claiming = [report for report in compared(params) if params.reports.comparisons[report].claims]
    return [*(comparison(params, report) for report in claiming), *(papers / paper for paper in PAPERS)]


def written(params: Params) -> list[Path]:
    """The products of all phases, and what training writes beside its networks."""
    made = [path for paths in products(params).values() for path in paths]
    return made + [path.with_name("epochs.csv") for path in made if path.name == "network.pt"]


def _comparisons(params: Params) -> list[Path]:
    models = params.folder("models")
    table = {network.name for network in params.table}
    others = [network for network in params.every if network.name not in table]
    return [
        *(models / network.weights for network in others),
        *(exported(params, network.name) for network in others if network.has_float),
        *(scores(params, network.name) for network in others),
        *(comparison(params, report) / "table.csv" for report in params.reports.comparisons),
    ]


def _companions(params: Params) -> list[Path]:
    papers = params.folder("reports") / "companions"
    runs = all_runs(params.companions.seeds, params.seed)
    return [
        *(papers / paper / f"{experiment}-{seed}.json" for paper, experiment, seed in runs),
        *(papers / paper / "verdicts.json" for paper in PAPERS),
    ]
