"""Which checkout of the repository a command works in."""

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
EXPERIMENTS = (".dvc", "tmp", "exps")  # where DVC makes workspaces for queued and --temp runs


def main_checkout(folder: str | os.PathLike = ".") -> Path:
    """The checkout that a workspace of DVC's was made from; the folder itself if it is none."""
    folder = Path(folder).resolve()
    for parent in folder.parents:
        if folder.parts[len(parent.parts) :][: len(EXPERIMENTS)] == EXPERIMENTS:
            return parent
    return folder


def downloads() -> Path:
    """Where single public files are kept, of all workspaces together."""
    return main_checkout() / "data" / "published"


def resolved_mirror(mirror: str | None) -> str | None:
    """A mirror's address as it is, its path seen from the main checkout."""
    return mirror if mirror is None or "://" in mirror else str(main_checkout() / mirror)


def run_code_of(folder: str | os.PathLike = ".") -> None:
    """Become this same command with the package that lies in ``folder``, if another version is installed.

    A clone, or a workspace of DVC's, then runs the revision that it holds, and so do the processes that it starts.
    """
    source = Path(folder, "src").resolve()
    given = os.environ.get("PYTHONPATH", "")
    if not (source / "spandex" / "__init__.py").is_file() or str(source) in given.split(os.pathsep):
        return
    package = source / "spandex"
    if package == PACKAGE or _contents(package) == _contents(PACKAGE):  # the installed one has its compiled kernels
        return
    path = os.pathsep.join([str(source), *filter(None, [given])])
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "PYTHONPATH": path})


def package_files(package: Path = PACKAGE) -> list[Path]:
    """A package's modules and data files."""
    return [file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _contents(package: Path) -> dict[Path, bytes]:
    """What a package's files hold, by path in it."""
    return {file.relative_to(package): file.read_bytes() for file in package_files(package)}
