"""Make the files of a profile tell the truth: remove what is stale, and put the times of the rest in order."""

import contextlib
import datetime
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from spandex.errors import SpandexError
from spandex.files import PARTIAL
from spandex.params import Params
from spandex.pipeline.phases import products, written
from spandex.pipeline.recipes import MARK, SUFFIX, Recipe, claimed, mark, sidecar

Claims = Mapping[Path, list[Path]]  # outputs by the sidecar or mark that names them
CLOCK_SKEW_S = 2.0  # between the clocks of machines with a common disk
FORMER_PROFILE = "embedded"  # as synthetic was called
BESIDE_NETWORK = ("log.csv", "times.csv")  # written by training, and not always outputs of a rule


class Stale(NamedTuple):
    """What is not as the parameters ask for it.

    Attributes:
        paths: files of one command and their sidecar, or a folder.
        reason: why they are removed.
    """

    paths: list[Path]
    reason: str


class Changes(NamedTuple):
    """What ``sync`` does.

    Attributes:
        removed: what is stale.
        left: what lies among the networks and results and was not made by the pipeline, or lies outside the checkout.
        left_over: folders of the profile synthetic under its former name.
    """

    removed: list[Stale]
    left: list[Path]
    left_over: list[Path]


def sync(params: Params, dry_run: bool = False, in_file: Params | None = None) -> Changes:
    """Remove products in the working directory whose sidecar disagrees or is missing, and all that is made from them.

    Only what the pipeline made is removed: what a sidecar names, or the mark of a command that was stopped, and
    checkpoints. Nothing is removed through a link out of the working directory. What is left gets times in the order
    of its making, so that Snakemake, which looks at times alone, runs nothing that is there.

    Args:
        dry_run: change nothing.
        in_file: of the same profile without the command line; the networks that this alone leaves out stay.

    Returns:
        What was removed, or would be, what was left alone, and what is left over.

    Raises:
        SpandexError: something else lies where the pipeline will write, the mirror that a corpus came from is not
            given, or a file that the pipeline reads is of the future; nothing was removed.
    """
    claims = _claims(params)
    recipes = _recipes(claims)
    named = set(chain.from_iterable(claims.values()))
    unnamed = _unnamed(params, in_file or params)
    stale = [Stale(_made_here(path, claims, named), "the parameters no longer name it") for path in unnamed]
    stale += _unfinished(claims, recipes)
    gone = {path for paths, _ in stale for path in paths}
    kept = []
    for path, recipe in recipes.items():
        if path in gone:
            continue
        reason = _reason(recipe, params, gone)
        if reason is None:
            kept.append(recipe)
        else:
            stale.append(Stale([*map(Path, recipe.outputs), path], reason))
            gone.update(stale[-1].paths)
    stale = [Stale(found, reason) for paths, reason in stale if (found := list(filter(os.path.lexists, paths)))]
    _refuse_a_forgotten_mirror(params, recipes)
    _refuse_what_is_not_ours(written(params), named, stale)
    _refuse_files_of_the_future(params, recipes)
    removed = [Stale(inside, reason) for paths, reason in stale if (inside := [p for p in paths if not _outside(p)])]
    files = {path for paths, _ in removed for path in paths}
    left = [path for top in unnamed for path in _remains(top, files)]
    if not dry_run:
        for path in files:
            _remove(path)
        for path in unnamed:
            _remove_empty_folders(path)
        for path in claims:
            if path.name.endswith(MARK) and not _is_continued(path):
                path.unlink(missing_ok=True)
        for recipe in kept:
            _put_in_order(recipe)
        _renew_times(params)
    former = [Path(top, FORMER_PROFILE) for top in ("data", "models", "reports")]
    return Changes(removed, left, list(filter(os.path.lexists, former)))


def _unnamed(params: Params, in_file: Params) -> list[Path]:
    """What lies where networks, results and checkpoints do, under no name of the parameters."""
    models, reports = params.folder("models"), params.folder("reports")
    every = {network.name for network in (*params.every, *in_file.every)}
    kept = {
        models / ".checkpoints": every,
        models / "sparsified" / ".checkpoints": every,
        models / "sparsified": every,
        models / "exported": every,
        reports / "infer": {*params.models, *in_file.models},
        reports / "evaluate": {"noisy", *every},
    }
    return sorted(path for folder, names in kept.items() for path in folder.glob("[!.]*") if _model(path) not in names)


def _model(path: Path) -> str:
    name = path.name
    for ending in (PARTIAL, MARK, SUFFIX, ".json"):
        name = name.removesuffix(ending)
    return name


def _claims(params: Params) -> Claims:
    """All sidecars and marks of a profile."""
    patterns = {"data": "*/*", "models": "**/*", "reports": "**/*"}  # no search among the clips
    paths = {
        path
        for top, pattern in patterns.items()
        for ending in (SUFFIX, MARK)
        for path in params.folder(top).glob(pattern + ending)
    }
    # behind links to folders, where a pattern does not look
    made = chain.from_iterable(products(params).values())
    paths |= {path for product in made for path in (sidecar(product), mark(product))}
    return {path: claimed(path) for path in sorted(paths) if path.is_file()}


def _recipes(claims: Claims) -> dict[Path, Recipe]:
    """The sidecars that can be trusted, those of inputs before those of what is made from them."""
    recipes = {}
    for path, outputs in claims.items():
        with contextlib.suppress(SpandexError):
            recipe = Recipe.read(path)
            if set(outputs) == set(map(Path, recipe.outputs)):
                recipes[path] = recipe
    made_by = {output: path for path, recipe in recipes.items() for output in recipe.outputs}
    graph = {path: {made_by[file] for file in recipe.inputs if file in made_by} for path, recipe in recipes.items()}
    while True:
        try:
            return {path: recipes[path] for path in TopologicalSorter(graph).static_order()}
        except CycleError as error:
            cycle = set(error.args[1])
            graph = {path: before - cycle for path, before in graph.items() if path not in cycle}


def _unfinished(claims: Claims, recipes: Collection[Path]) -> list[Stale]:
    """What was made without a sidecar that can be trusted, or before it."""
    found = []
    for path, outputs in claims.items():
        if path.name.endswith(MARK):
            first = path.with_name(path.name.removesuffix(MARK))  # a stopped training goes on with its other outputs
            if first in outputs and sidecar(first) not in recipes:
                found.append(Stale([first], "it was not finished"))
        elif outputs and path not in recipes:
            found.append(Stale([*outputs, path], f"{path} cannot be trusted"))
    return found


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if not file.is_dir()] if path.is_dir() else [path]


def _made_here(path: Path, claims: Claims, named: Collection[Path]) -> list[Path]:
    """The part of a file or folder that the pipeline made, its checkpoints as a folder."""
    if path.parent.name == ".checkpoints":
        return [path]
    return [
        file
        for file in _files(path)
        if file in named
        or claims.get(file)
        or file.with_name(file.name.removesuffix(PARTIAL)) in named
        or (file.name in BESIDE_NETWORK and file.with_name("network.pt") in named)
    ]


def _refuse_what_is_not_ours(paths: Iterable[Path], named: Collection[Path], stale: Iterable[Stale]) -> None:
    reasons = {path: reason for paths, reason in stale for path in paths if _outside(path)}
    for path in filter(os.path.lexists, paths):
        if path not in named:
            raise SpandexError(
                f"{path}: nothing says that the pipeline made this, and it will write there; move it, or remove it"
            )
        if path in reasons:
            raise SpandexError(
                f"{path}: {reasons[path]}, and it lies outside this folder, at {path.resolve()}, where nothing is "
                "removed; move it, or remove it"
            )


def _refuse_a_forgotten_mirror(params: Params, recipes: Mapping[Path, Recipe]) -> None:
    if params.mirror or params.data.is_synthetic:
        return
    for recipe in recipes.values():
        corpus = next(iter(recipe.outputs))
        if recipe.params.get("mirror") and Path(corpus).is_file():
            raise SpandexError(
                f"{corpus}: came from a mirror, and none is given, so that all made from it would be removed; give it "
                f"again (MIRROR=path, or mirror in params.yaml), or remove {corpus} to take the public audio"
            )


def _outside(path: Path) -> bool:
    """Whether a path leads through a link out of the working directory; the path itself may be a link."""
    return not path.parent.resolve().is_relative_to(Path.cwd().resolve())


def _remains(path: Path, removed: Collection[Path]) -> Iterator[Path]:
    """A file or folder that nothing is removed of, or the files that remain in the folder."""
    if path in removed:
        return
    files = _files(path)
    remaining = [file for file in files if file not in removed]
    yield from [path] if remaining == files else remaining


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)  # gone with its folder


def _remove_empty_folders(path: Path) -> None:
    if path.is_dir() and not path.is_symlink() and not _outside(path):
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):  # it is not empty
                Path(folder).rmdir()


def _is_continued(path: Path) -> bool:
    """Whether a mark stands for results that a stopped run goes on from."""
    output = path.with_name(path.name.removesuffix(MARK))
    return output.with_name(output.name + PARTIAL).is_file()


def _reason(recipe: Recipe, params: Params, gone: Collection[Path]) -> str | None:
    for file in map(Path, [*recipe.inputs, *recipe.outputs]):
        if any(path in gone for path in (file, *file.parents)):
            return f"{file} is made again"
    return recipe.disagreement(params)


def _renew_times(params: Params) -> None:
    """Snakemake's benchmark files count as outputs, too, and no checkout brings them."""
    for file in (params.folder("reports") / "times").rglob("*.tsv"):
        file.touch()


def _put_in_order(recipe: Recipe) -> None:
    """No output is older than an input, and none is of the future: Snakemake would stop at what is made from it."""
    now = time.time_ns()
    newest = min(now, max((Path(file).stat().st_mtime_ns for file in recipe.inputs), default=0))
    for file in recipe.outputs:
        if not newest <= Path(file).stat().st_mtime_ns <= now:
            os.utime(file, ns=(newest or now, newest or now))


def _refuse_files_of_the_future(params: Params, recipes: Mapping[Path, Recipe]) -> None:
    """Those that no rule made, and that rules read; the products' times are put right."""
    made = {file for recipe in recipes.values() for file in recipe.outputs}
    read = {file for recipe in recipes.values() for file in recipe.inputs if not file.startswith("workflow/")} - made
    if params.model.pretrained_file:
        read.add(str(params.model.pretrained_file))
    for file in sorted(filter(os.path.exists, read)):
        if (modified := Path(file).stat().st_mtime) > time.time() + CLOCK_SKEW_S:
            when = datetime.datetime.fromtimestamp(modified).isoformat(" ", "seconds")
            raise SpandexError(f"{file}: was modified at {when}, in the future; touch it, or set the clock right")
