"""The experiments of the companion papers, and what they came to."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spandex.checkout import resolved_mirror
from spandex.companions.denoiser import claims as denoiser_claims
from spandex.companions.denoiser.runs import TITLE, by_repeat
from spandex.companions.papers import paper
from spandex.companions.report import write_paper_report
from spandex.companions.work import Work
from spandex.evaluation.log import ScoreLog
from spandex.files import PARTIAL, read_json, write_json
from spandex.params import Params
from spandex.provenance import code_digest, produced_by
from spandex.steps.results import network_scores
from spandex.steps.tracking import log_companions
from spandex.train import choose_device
from spandex.train.reproducible import reproducible


def companion(params: Params, name: str, experiment: str, seed: int, output: Path) -> None:
    """Run one experiment of a paper with one seed; what is finished of a run that was stopped is not done again."""
    module = paper(name).experiment(experiment)
    size = params.companions.size
    identity = f"{code_digest()} {size} {params.digest(f'companions.{size}.{name}')}"
    device = choose_device(params.train.device)
    log = ScoreLog(output.with_name(output.name + PARTIAL), identity)
    folder = output.parent / ".work" / f"{output.stem}-{identity.replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(seed, device, folder, resolved_mirror(params.mirror), log)
    with reproducible(seed, 1, device):
        result = module.run(getattr(params.companions.experiments, name), work)
    about = {"paper": name, "experiment": experiment, "seed": seed, "produced_by": produced_by(params=params)}
    write_json(output, about | {"result": result})
    log.remove()
    shutil.rmtree(folder)


def companion_report(params: Params, name: str, runs: Sequence[Path], output: Path) -> None:
    """Judge the claims of a paper by its runs, and write tables and figures."""
    contents = [read_json(path) for path in runs]
    by_experiment: dict[str, list[Any]] = {}
    for content in sorted(contents, key=lambda content: content["seed"]):
        by_experiment.setdefault(content["experiment"], []).append(content["result"])
    settings = getattr(params.companions.experiments, name)
    write_paper_report(paper(name).title, paper(name).claims, by_experiment, settings, output.parent)


def denoiser_report(params: Params, models: Path, reports: Path, run: Path) -> None:
    """Compare all methods on the denoiser; log the networks to MLflow."""
    names = [*params.fine_tuned, *params.companion_variants]
    scores = {name: network_scores(params, models, reports, name) for name in names}
    runs = {"denoiser": by_repeat(scores, params.sparsify.targets, params.companions.seeds)}
    folder = reports / "companions" / "denoiser"
    files = write_paper_report(TITLE, denoiser_claims, runs, params.sparsify, folder)
    log_companions(params, models, reports, run, files)
