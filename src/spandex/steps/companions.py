"""What the experiments of the companion papers came to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spandex.companions.denoiser import claims as denoiser_claims
from spandex.companions.denoiser.runs import TITLE, by_repeat
from spandex.companions.papers import paper
from spandex.companions.report import write_paper_report
from spandex.files.text import read_json
from spandex.params import Params
from spandex.steps.results import network_scores
from spandex.steps.tracking import log_companions, log_paper


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
    files = write_paper_report(paper(name).title, paper(name).claims, by_experiment, settings, output.parent)
    log_paper(params, name, run, files)


def denoiser_report(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Compare all methods on the denoiser; log the networks to MLflow."""
    names = [*params.fine_tuned, *params.companion_variants]
    scores = {name: network_scores(params, models, reports, name) for name in names}
    runs = {"denoiser": by_repeat(scores, params.sparsify.targets, params.companions.seeds)}
    folder = reports / "companions" / "denoiser"
    files = write_paper_report(TITLE, denoiser_claims, runs, params.sparsify, folder)
    log_companions(params, models, reports, run, files)
