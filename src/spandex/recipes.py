"""What made a product: a sidecar beside it, which says whether the product is still what its parameters ask for.

Timestamps do not survive a checkout, and Snakemake's own memory of parameters does not travel with the files; a
sidecar does both.
"""

import json
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from spandex.errors import SpandexError
from spandex.files import read_json, sha256, write_json
from spandex.params import Params, flatten
from spandex.references import source_digest

SUFFIX = ".recipe.json"
PACKAGE = Path(__file__).parent
NO_PART = ("spandex.cli", "spandex.tracking", "spandex.steps.tracking")  # in the results: arguments, and logging
LIBRARIES = {
    "espeakng_loader": "espeakng-loader",
    "lava.lib.dl": "lava-dl",
    "lava.magma": "lava-nc",
    "matplotlib": "matplotlib",
    "numba": "numba",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "plotly": "plotly",
    "scipy": "scipy",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "speechmos": "speechmos",
    "torch": "torch",
}  # those that results depend on: distributions by module


@dataclass(frozen=True)
class Request:
    """What the workflow says of a command's products before it runs.

    Attributes:
        keys: parameters that they depend on; see ``used``.
        without: keys of those sections that do not count.
        inputs: files read.
        outputs: files written; the sidecar lies beside the first.
    """

    keys: list[str]
    without: list[str]
    inputs: list[str]
    outputs: list[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """From JSON.

        Raises:
            SpandexError: the text is something else.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError):
            raise SpandexError(f"--recipe: {text!r} is no recipe") from None


@dataclass(frozen=True)
class Recipe:
    """What made the outputs of one command.

    Attributes:
        params: values of the parameters by key; see ``used``.
        without: keys of those sections that do not count.
        inputs, outputs: SHA-256 by path; the sidecar lies beside the first output.
        code: SHA-256 of the package's own files that were loaded, by path in the package.
        versions: of the libraries that were loaded.
    """

    params: dict[str, Any]
    without: list[str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]

    @classmethod
    def of(cls, request: Request, params: Params) -> Self:
        """The recipe of what this process has just made.

        Raises:
            OSError: an input or an output is missing.
        """
        return cls(
            used(params, request.keys, request.without),
            request.without,
            {path: sha256(path) for path in request.inputs},
            {path: sha256(path) for path in request.outputs},
            {name: sha256(PACKAGE / name) for name in _loaded_files()},
            {library: version(library) for module, library in LIBRARIES.items() if module in sys.modules},
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a sidecar.

        Raises:
            SpandexError: the file is no sidecar.
        """
        try:
            return cls(**read_json(path))
        except TypeError:
            raise SpandexError(f"{path}: no recipe") from None

    def write(self) -> None:
        """Write the sidecar."""
        write_json(sidecar(Path(next(iter(self.outputs)))), asdict(self))

    def disagreement(self, params: Params) -> str | None:
        """Why the outputs are not what the parameters, inputs and code of today would make; None if they are."""
        try:
            wanted = used(params, self.params, self.without)
        except SpandexError as error:
            return str(error)
        for key, value in flatten(wanted).items():
            before = flatten(self.params).get(key)
            if before != value:
                return f"{key} was {json.dumps(before)}, is {json.dumps(value)}"
        if wanted != self.params:
            return "it was made with other parameters"
        for path, digest in (self.inputs | self.outputs).items():
            if not Path(path).is_file():
                return f"{path} is missing"
            if sha256(path) != digest:
                return f"{path} is another"
        for name, digest in self.code.items():
            if not (PACKAGE / name).is_file() or sha256(PACKAGE / name) != digest:
                return f"the code of {name} changed"
        for library, before in self.versions.items():
            if version(library) != before:
                return f"{library} was {before}, is {version(library)}"
        return None


def sidecar(output: Path) -> Path:
    """The path of a product's sidecar."""
    return output.with_name(output.name + SUFFIX)


def is_made(output: Path) -> bool:
    """Whether a product is there with its sidecar."""
    return output.is_file() and sidecar(output).is_file()


def used(params: Params, keys: Iterable[str], without: Collection[str] = ()) -> dict[str, Any]:
    """Values of parameters by key.

    Args:
        keys: sections and dotted keys of params.yaml; ``models`` for the names of the table's networks,
            ``pruning.MODEL`` for how a network is pruned, ``factory`` for the user's file that makes the network.
        without: keys of those sections that do not count, such as ``data.clips``.

    Raises:
        SpandexError: the parameters name no such network.
    """
    return {key: _value(params, key, without) for key in keys}


def _value(params: Params, key: str, without: Collection[str]) -> Any:
    if key == "models":
        return params.models
    if key == "factory":
        return source_digest(params.model.factory)
    if key.startswith("pruning."):
        return params.pruning(key.removeprefix("pruning."))
    return params.value(key, without)


def _loaded_files() -> list[str]:
    """The package's modules in this process, and the data files of their folders."""
    modules = {
        Path(module.__file__)
        for name, module in sys.modules.items()
        if f"{name}.".startswith("spandex.") and not name.startswith(NO_PART) and getattr(module, "__file__", None)
    }
    folders = {module.parent for module in modules}
    data = {
        file
        for file in PACKAGE.rglob("*")
        if file.is_file() and file.suffix != ".py" and "__pycache__" not in file.parts and _package_of(file) in folders
    }
    return sorted(file.relative_to(PACKAGE).as_posix() for file in modules | data)


def _package_of(file: Path) -> Path:
    return next(folder for folder in file.parents if (folder / "__init__.py").is_file())
