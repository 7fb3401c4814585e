"""The run of a build, known across processes by a small JSON file, and where runs are kept."""

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from spandex.checkout import main_checkout
from spandex.errors import SpandexError
from spandex.files import write_json
from spandex.files.text import read_json


class TrackingError(SpandexError):
    """The tracking store cannot be used, or refuses what is logged."""


@dataclass(frozen=True)
class Report:
    """What a report logs to the run of its build.

    Attributes:
        networks: names of those it shows; None if it has files alone.
        artifacts: files to keep.
        folder: where to keep them, in the run; at its top if None.
    """

    networks: list[str] | None
    artifacts: list[str]
    folder: str | None = None

    @property
    def key(self) -> str:
        """By which a build keeps it in ``unlogged``."""
        return self.folder or ""


@dataclass(frozen=True)
class Build:
    """The parent run of a build, with what opens it again in another store.

    Attributes:
        name, params, tags: of the run; params nested or flat.
        tracking_uri: address of the store.
        experiment_id, run_id: MLflow's; empty while the store cannot be used.
        server: the server that should have had the run and could not be reached; None if there is none.
        unlogged: fields of the ``Report`` of each that could not be logged, by its key.
        problem: why, in one line.
    """

    name: str
    params: dict[str, Any]
    tags: dict[str, str]
    tracking_uri: str
    experiment_id: str
    run_id: str
    server: str | None = None
    unlogged: dict[str, dict[str, Any]] = field(default_factory=dict)
    problem: str | None = None

    def save(self, path: str | os.PathLike) -> None:
        """Write the build to a JSON file."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Build":
        """Read a build from a JSON file.

        Raises:
            SpandexError: the file is missing or describes no build.
        """
        try:
            return cls(**read_json(path))
        except TypeError:
            raise SpandexError(f"{path}: describes no build; remove it and start again") from None

    def with_unlogged_of(self, other: "Build") -> "Build":
        """This build, with the reports that ``other``, the same one at another store or time, could not log."""
        return replace(self, unlogged=other.unlogged, problem=other.problem)

    @property
    def notice(self) -> str | None:
        """What a reader of the results should know of where the runs are, in one line; None if nothing."""
        if self.unlogged:
            return f"{self.problem}: the runs are not logged; spandex sync-runs logs them once that is mended"
        if self.server is None or not self.run_id:
            return None
        return (
            f"MLflow at {self.server} could not be reached: the runs are in {self.tracking_uri} until the next build or"
            " spandex sync-runs copies them"
        )


def local_uri(folder: str | os.PathLike = ".") -> str:
    """The sqlite file mlflow.db in ``folder``, or in the main checkout if DVC made the folder as a copy of it."""
    return f"sqlite:///{main_checkout(folder) / 'mlflow.db'}"


def default_uri(folder: str | os.PathLike = ".") -> str:
    """MLFLOW_TRACKING_URI, or else ``local_uri``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(folder)


def is_server(uri: str) -> bool:
    """Whether a store is a tracking server, which may go away."""
    return uri.startswith(("http://", "https://"))


def sqlite_file(uri: str) -> Path | None:
    """The file of an sqlite store; None for another."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def notice(path: str | os.PathLike) -> str | None:
    """See ``Build.notice``; None too where no build has been logged."""
    return Build.load(path).notice if Path(path).is_file() else None
