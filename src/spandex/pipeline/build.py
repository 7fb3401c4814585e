"""What a build does around the workflow: one at a time in a folder, recorded in DVC at its end."""

import contextlib
import difflib
import fcntl
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from spandex.companions.papers import PAPERS
from spandex.errors import SpandexError, one_line
from spandex.params import Params
from spandex.pipeline.jobs import refuse_beside_jobs
from spandex.pipeline.phases import comparison, products
from spandex.pipeline.provenance import is_repository
from spandex.pipeline.recipes import is_made
from spandex.pipeline.sync import sync
from spandex.report.terminal import fitted
from spandex.tracking import notice

STAGES = ("data", "baseline", "sparsify", "export", "infer", "evaluate", "report")  # of dvc.yaml
TARGETS = ("all", *STAGES, "companions", *PAPERS)  # rules; reports beside the table are targets, too


def lock() -> int:
    """Refuse a second build in this folder, until this process and what it becomes have ended, and the jobs of that.

    Snakemake's own lock stays behind when it is killed, so it is not used.

    Returns:
        The descriptor, to close if the folder is to be free before.

    Raises:
        SpandexError: another build holds the lock, or jobs of one that was killed still run.
    """
    descriptor = os.open(".spandex.lock", os.O_RDWR | os.O_CREAT)
    with contextlib.ExitStack() as refused:
        refused.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpandexError("another build runs in this folder") from None
        refuse_beside_jobs()  # which do not inherit the descriptor from Snakemake
        refused.pop_all()
    os.set_inheritable(descriptor, True)  # by what this process becomes
    return descriptor


def files_of(targets: Iterable[str], params: Params) -> list[str]:
    """Targets of Snakemake: phases and companion papers by name, comparisons by a file of theirs.

    Raises:
        SpandexError: there is no such target, a comparison has the name of another target, or it names a network that
            there is not.
    """
    reports = params.reports.comparisons
    if taken := sorted(reports.keys() & set(TARGETS)):
        raise SpandexError(f"reports.{taken[0]}: {taken[0]} is a target of its own; call the report something else")
    for target in targets:
        if target not in (*TARGETS, *reports):
            close = difflib.get_close_matches(target, (*TARGETS, *reports), n=1)
            there = f"{close[0]} is one" if close else f"there are {', '.join((*TARGETS, *reports))}"
            raise SpandexError(f"no target {target} in profile {params.profile}; {there}")
    asked = [name for name, report in reports.items() if name in targets or ("companions" in targets and report.claims)]
    for report in asked:
        params.compared(report)
    return [str(comparison(params, name) / "table.csv") if name not in TARGETS else name for name in targets]


def run(targets: Sequence[str], workers: int | None, overrides: str, executor: str = "default") -> NoReturn:
    """Become Snakemake.

    Args:
        targets: rules of the Snakefile and files, see ``files_of``.
        workers: cores of this machine to use; those of the profile if None.
        overrides: ``key.key=value`` assignments.
        executor: folder of workflow/profiles that says where jobs run, and with what.

    Raises:
        SpandexError: there is no such folder.
    """
    profile = Path("workflow", "profiles", executor)
    if not (profile / "config.yaml").is_file():
        raise SpandexError(f"{profile}: no profile of Snakemake")
    command = [sys.executable, "-m", "snakemake", "--profile", str(profile), "--nolock", *targets]
    command += ["--cores", str(workers)] if workers and executor == "default" else []
    os.environ["PATH"] = own_path()
    os.environ["SPANDEX_SET"] = overrides  # not --config, which takes some values for YAML
    os.execv(sys.executable, command)


def own_path() -> str:
    """The PATH with the commands of this environment first, for what calls spandex by its name."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def clear_checkpoints(params: Params) -> None:
    """Remove the checkpoints of networks that are finished; the others may still be needed."""
    for folder in params.folder("models").rglob(".checkpoints"):
        for run in folder.iterdir():
            if is_made(folder.parent / run.name / "network.pt"):
                shutil.rmtree(run)
        if not any(folder.iterdir()):
            folder.rmdir()


def finished(params: Params, in_file: Params | None = None) -> list[str]:
    """The stages whose products are all there and as the parameters ask for; none behind one that is not so."""
    stale = {path for paths, _ in sync(params, dry_run=True, in_file=in_file).removed for path in paths}
    made = {
        phase: all(is_made(file) and file not in stale for file in files) for phase, files in products(params).items()
    }
    return list(itertools.takewhile(made.__getitem__, STAGES))


def record(params: Params, in_file: Params) -> str:
    """Commit the stages that a build has finished to DVC, if params.yaml alone says how; return what was done.

    Args:
        params: the parameters of the build.
        in_file: those that params.yaml gives without the command line.

    Raises:
        SpandexError: DVC failed.
    """
    if not is_repository():
        return "nothing is recorded: no git repository here"
    if _of_results(params) != _of_results(in_file):
        return "dvc.lock is left alone: this build has values from the command line"
    if not Path(".dvc").is_dir():
        return "dvc.lock is left alone: no DVC repository here"
    stages = finished(params, in_file)
    if not stages:
        return "dvc.lock is left alone: no stage is finished"
    command = [sys.executable, "-m", "dvc", "commit", "--force", *stages]  # with --quiet it would not say why it failed
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SpandexError(f"dvc commit failed: {_reason(done.stderr)}")
    return "dvc.lock is up to date" + (f" as far as {stages[-1]}" if stages[-1] != STAGES[-1] else "")


def _reason(errors: str) -> str:
    """What DVC gives as the reason, in one line; all that it says, where it marks none."""
    reasons = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
    return "; ".join(reasons) or one_line(errors)


def _of_results(params: Params) -> Params:
    """Without a mirror, where no result depends on it."""
    return params.model_copy(update={"mirror": None}) if params.data.is_synthetic else params


def summary(params: Params, part: str = "") -> str:
    """The table of the last build with its intervals, as wide as a terminal; what, how good, and where the report is.

    Args:
        part: another report: ``companions``, or a comparison by name.

    Raises:
        SpandexError: there is no report yet.
    """
    folder = comparison(params, part) if part in params.reports.comparisons else params.folder("reports") / part
    path = folder / "summary.md"
    if not path.is_file():
        raise SpandexError(f"{path}: no such file; the build has not come to its report")
    shown = [path.read_text(encoding="utf-8")]
    if (folder / "intervals.md").is_file():
        shown += ["95 % intervals over the test clips:\n", (folder / "intervals.md").read_text(encoding="utf-8")]
    told = folder / "headline.md"
    page = "; open index.html there in a browser" if (folder / "index.html").is_file() else ""
    ends = [
        *([fitted(told.read_text(encoding="utf-8")).rstrip()] if told.is_file() else []),
        f"The report is in {folder}{page}; all columns in {path.name}",
        notice(params.folder("reports") / "tracking/build.json") or "",
    ]
    return "\n".join([*map(fitted, shown), *ends]).rstrip()
