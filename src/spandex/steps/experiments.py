"""The experiments of the companion papers."""

import contextlib
import shutil
from pathlib import Path

from spandex.checkout import resolved_mirror
from spandex.companions.papers import paper
from spandex.companions.work import Work
from spandex.files import PARTIAL, write_json
from spandex.files.results import ResultLog
from spandex.params import Params
from spandex.pipeline.provenance import code_digest, produced_by
from spandex.train import choose_device
from spandex.train.reproducible import reproducible


def companion(params: Params, name: str, experiment: str, seed: int, output: Path) -> None:
    """Run one experiment of a paper with one seed; what is finished of a run that was stopped is not done again."""
    module = paper(name).experiment(experiment)
    size = params.companions.size
    identity = f"{code_digest()} {size} {params.digest(f'companions.{size}.{name}')}"
    device = choose_device(params.train.device)
    log = ResultLog(output.with_name(output.name + PARTIAL), identity)
    folder = output.parent / ".work" / f"{output.stem}-{identity.replace(' ', '-')}"
    for other in folder.parent.glob(f"{output.stem}-*"):  # of a run stopped with other code or parameters
        if other != folder:
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    work = Work(seed, device, folder, resolved_mirror(params.mirror), log)
    with reproducible(seed, 1, device):
        result = module.run(getattr(params.companions.experiments, name), work)
    about = {"paper": name, "experiment": experiment, "seed": seed, "produced_by": produced_by(params=params)}
    write_json(output, about | {"result": result})
    log.remove()
    shutil.rmtree(folder)
    with contextlib.suppress(OSError):  # other runs are still there
        folder.parent.rmdir()
