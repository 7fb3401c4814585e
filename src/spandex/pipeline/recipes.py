"""What made a product: a sidecar beside it, which says whether the product is still what its parameters ask for.

Timestamps do not survive a checkout, and Snakemake's own memory of parameters does not travel with the files; a
sidecar does both.
"""

import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from spandex.checkout import PACKAGE, package_files, resolved_mirror
from spandex.errors import SpandexError
from spandex.files import sha256, write_json
from spandex.files.text import read_json
from spandex.networks.references import source_digest
from spandex.params import Network, Params, UnknownNetworkError, flatten

SUFFIX = ".recipe.json"
METHODS = "spandex.sparsify.methods"
MARK = ".begun.json"  # in place of it while a command is at work
# of the results: arguments, the types of parameters, whose values are recorded themselves, sidecars, and logging
NO_PART = ("spandex.cli", "spandex.params", "spandex.pipeline", "spandex.tracking", "spandex.steps.tracking")
NO_PART += (f"{METHODS}.",)  # which all are loaded to check their settings; those in use count by name
UNSEEN = "unseen"
_IMPORT = re.compile(r"^ *(?:import|from) ([\w.]+)", re.MULTILINE)
LIBRARIES = {
    "espeakng_loader": "espeakng-loader",
    "h5py": "h5py",
    "lava.lib.dl": "lava-dl",
    "lava.magma": "lava-nc",
    "lightning_fabric": "lightning-fabric",
    "matplotlib": "matplotlib",
    "networkx": "networkx",
    "numba": "numba",
    "numpy": "numpy",
    "onnxruntime": "onnxruntime",
    "optuna": "optuna",
    "plotly": "plotly",
    "scipy": "scipy",
    "snntorch": "snntorch",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "speechmos": "speechmos",
    "torch": "torch",
    "triton": "triton",
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
        versions: of the libraries that this code imports.
    """

    params: dict[str, Any]
    without: list[str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    code: dict[str, str]
    versions: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """From a sidecar.

        Raises:
            SpandexError: the file is no sidecar.
        """
        content = read_json(path)
        try:
            return _adapter(cls).validate_python(content)
        except ValidationError:
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
        seen = {key for key, value in wanted.items() if value != UNSEEN}
        before, now = (flatten({key: values[key] for key in seen & values.keys()}) for values in (self.params, wanted))
        for key in now | before:
            if before.get(key) != now.get(key):
                return f"{key} was {json.dumps(before.get(key))}, is {json.dumps(now.get(key))}"
        if wanted.keys() != self.params.keys():
            return "it was made with other parameters"
        for path, digest in (self.inputs | self.outputs).items():
            if not _is_file(path):
                return f"{path} is missing"
            if sha256(path) != digest:
                return f"{path} is another"
        for name, digest in self.code.items():
            if not _is_file(PACKAGE / name) or sha256(PACKAGE / name) != digest:
                return f"the code of {name} changed"
        for library, before in self.versions.items():
            if _version(library) != before:
                return f"{library} was {before}, is {_version(library)}"
        return None


_adapter = functools.cache(TypeAdapter)  # which takes longer to make than a sidecar to check


class Record:
    """What a command is going to use, so that a change while it runs does not pass for what it used.

    From its start to its end a mark beside the first output names all of them, so that what a kill leaves is known
    for the pipeline's own.

    Args:
        request: of the workflow.
        params: of the command.

    Raises:
        OSError: an input is missing.
    """

    def __init__(self, request: Request, params: Params) -> None:
        self._request = request
        self._params = used(params, request.keys, request.without)
        self._inputs = {path: sha256(path) for path in request.inputs}
        self._code = {file: sha256(file) for file in package_files()}
        self._mark = mark(Path(request.outputs[0]))
        write_json(self._mark, {"outputs": request.outputs})

    def end(self) -> None:
        """Write the sidecar of what the command has made, with the part of the code that it loaded.

        Raises:
            OSError: an output is missing.
        """
        self.recipe().write()
        self._mark.unlink()

    def recipe(self) -> Recipe:
        """Of what the command has made so far."""
        loaded = _loaded(self._code) | _of_methods(self._params, self._code)
        return Recipe(
            self._params,
            self._request.without,
            self._inputs,
            {path: sha256(path) for path in self._request.outputs},
            {file.relative_to(PACKAGE).as_posix(): self._code[file] for file in sorted(loaded)},
            {library: _version(library) for library in sorted(_libraries(loaded))},
        )


def sidecar(output: Path) -> Path:
    """The path of a product's sidecar."""
    return output.with_name(output.name + SUFFIX)


def mark(output: Path) -> Path:
    """The path of the mark that a command leaves beside its first output while it is at work."""
    return output.with_name(output.name + MARK)


def claimed(path: Path) -> list[Path]:
    """The outputs that a sidecar or a mark rightly names: what it lies beside, and others in or below its folder."""
    try:
        outputs = [Path(output) for output in read_json(path)["outputs"]]
    except (SpandexError, KeyError, TypeError):
        return []
    beside = [output for output in outputs if path in (sidecar(output), mark(output))]
    near = [output for output in outputs if output.is_relative_to(path.parent) and ".." not in output.parts]
    return [output for output in near if beside and not output.is_dir()]


def is_made(output: Path) -> bool:
    """Whether a product is there with its sidecar."""
    return output.is_file() and sidecar(output).is_file()


def used(params: Params, keys: Iterable[str], without: Collection[str] = ()) -> dict[str, Any]:
    """Values of parameters by key.

    Args:
        keys: sections and dotted keys of params.yaml; ``rows`` for the networks that the table shows,
            ``training.NETWORK`` for how a network is trained, ``export.NETWORK`` for how it is exported,
            ``lookahead.NETWORK`` for how it is run, ``scored.NETWORK`` for whether its scores are all there are,
            ``file.WEIGHTS`` and ``audio.NETWORK`` for what others made of it, ``comparison.REPORT`` for what a report
            compares, ``factory`` for the user's file that makes the network,
            ``mirror`` for the list of what a mirror holds, wherever it lies.
        without: keys of those sections that do not count, such as ``data.clips``.

    Raises:
        SpandexError: there is no such parameter or report.
    """
    return {key: _value(params, key, without) for key in keys}


def _value(params: Params, key: str, without: Collection[str]) -> Any:
    if key == "rows":
        return _by_name([*params.table, *params.beside])
    if key == "factory":
        return source_digest(params.model.factory)
    if key == "mirror":
        return _mirror_list(params.mirror)
    kind, _, name = key.partition(".")
    if kind in OF_NETWORKS:
        with contextlib.suppress(UnknownNetworkError):
            return OF_NETWORKS[kind](params, name)
        return UNSEEN  # sync tells whether its files go
    try:
        return params.value(key, without)
    except (KeyError, TypeError):
        raise SpandexError(f"{key} is no parameter") from None


def _by_name(networks: Iterable[Network]) -> dict[str, Any]:
    found = {network.name: asdict(network) for network in networks}
    return {"order": list(found), "networks": found}


def _comparison(params: Params, report: str) -> Any:
    return params.comparison(report).model_dump(mode="json") | {
        "compared": _by_name(params.compared(report)[0]),
        "control": params.control,
    }


def _file(network: Network) -> Any:
    """The file of others that a network is, wherever it lies; ``UNSEEN`` where it is not at hand."""
    if network.path is None:
        return network.file
    return sha256(network.path) if network.path.is_file() else UNSEEN


def _audio(network: Network) -> Any:
    """Names, sizes and times of clips of others; ``UNSEEN`` where they are not at hand."""
    folder = Path(network.audio or "")
    if not folder.is_dir():
        return UNSEEN
    return {file.name: [(state := file.stat()).st_size, state.st_mtime_ns] for file in sorted(folder.iterdir())}


OF_NETWORKS = {
    "training": Params.training,
    "lookahead": lambda params, name: params.network(name).lookahead,
    "export": lambda params, name: {"shrink": params.network(name).shrink},
    "scored": Params.scored_in_full,
    "comparison": _comparison,
    "file": lambda params, weights: _file(params.network(Path(weights).parent.name)),
    "audio": lambda params, name: _audio(params.network(name)),
}  # values by the first part of a key, whose rest is a name


def _mirror_list(mirror: str | None) -> str | None:
    """Digest of a mirror's corpus.csv; an address is that itself; None without a mirror, ``UNSEEN`` for a folder that
    cannot be looked at from here."""
    if mirror is None or "://" in mirror:
        return mirror
    listed = Path(resolved_mirror(mirror), "corpus.csv")
    return sha256(listed) if listed.is_file() else UNSEEN


def _loaded(files: Iterable[Path]) -> set[Path]:
    """Those of the package's files that are modules of this process, or data in the folder of one."""
    modules = {
        Path(module.__file__).resolve()
        for name, module in sys.modules.items()
        if f"{name}.".startswith("spandex.") and not name.startswith(NO_PART) and getattr(module, "__file__", None)
    }
    folders = {module.parent for module in modules}
    return {file for file in files if file in modules or (file.suffix != ".py" and _package_of(file) in folders)}


def _of_methods(used_params: Mapping[str, Any], files: Iterable[Path]) -> set[Path]:
    """The files of the methods by which a network of these parameters is trained."""
    trained = [value for key, value in used_params.items() if key.startswith("training.")]
    names = {name for value in trained for name in value["methods"]}
    folder = PACKAGE.joinpath(*METHODS.split(".")[1:])
    return {file for file in files if file.parent == folder and file.stem in names}


def _libraries(files: Iterable[Path]) -> set[str]:
    """Those that the code in ``files`` imports."""
    imported = {
        f"{name}." for file in files if file.suffix == ".py" for name in _IMPORT.findall(file.read_text("utf-8"))
    }
    return {library for module, library in LIBRARIES.items() if any(name.startswith(f"{module}.") for name in imported)}


def _package_of(file: Path) -> Path:
    return next(folder for folder in file.parents if (folder / "__init__.py").is_file())


def _is_file(path: str | Path) -> bool:
    """Whether there is such a file; no error for a name that no system takes, as ``Path.is_file`` has one."""
    return os.path.isfile(path)  # noqa: PTH113


def _version(library: str) -> str:
    try:
        return version(library)
    except (PackageNotFoundError, ValueError):  # the empty name
        return "not installed"
