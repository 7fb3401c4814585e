"""What the experiments of the companion papers came to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spandex.companions.papers import paper
from spandex.companions.report import write_paper_report
from spandex.files.text import read_json
from spandex.params import Params
from spandex.steps.tracking import log_paper


def companion_report(params: Params, name: str, runs: Sequence[Path], run: Path, output: Path) -> None:
    """Judge the claims of a paper by its runs, write tables and figures, and log them to MLflow.

    Args:
        runs: what ``companion`` wrote.
        run: JSON file of the build's MLflow run.
        output: verdicts.json; the rest is written beside it.
    """
    contents = [read_json(path) for path in runs]
    by_experiment: dict[str, list[Any]] = {}
    for content in sorted(contents, key=lambda content: content["seed"]):
        by_experiment.setdefault(content["experiment"], []).append(content["result"])
    settings = getattr(params.companions.experiments, name)
    claims, folder = paper(name).claims, output.parent
    findings, tables = claims.findings(by_experiment, settings), claims.tables(by_experiment)
    files = write_paper_report(paper(name).title, findings, tables, claims.figures(by_experiment, folder), folder)
    log_paper(params, name, run, files)
