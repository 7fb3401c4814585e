"""Make the files of a profile tell the truth: remove what is stale, and put the times of the rest in order."""

import contextlib
import os
import shutil
from collections.abc import Collection, Iterable
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from spandex.errors import SpandexError
from spandex.files import PARTIAL
from spandex.params import Params
from spandex.phases import products
from spandex.recipes import SUFFIX, Recipe, sidecar

WRITTEN = ("network.pt", "network.net", "epochs.csv", "log.csv", "times.csv")  # into the folder of a network


class Stale(NamedTuple):
    """What is not as the parameters ask for it.

    Attributes:
        paths: files of one command and their sidecar, or a folder.
        reason: why they are removed.
    """

    paths: list[Path]
    reason: str


def sync(params: Params, dry_run: bool = False) -> list[Stale]:
    """Remove products in the working directory whose sidecar disagrees or is missing, and all that is made from them.

    What is left gets times in the order of its making, so that Snakemake, which looks at times alone, runs nothing
    that is there.

    Args:
        dry_run: change nothing.

    Returns:
        What was removed, or would be.
    """
    recipes = _recipes(params.profile)
    stale = [Stale([path], "the parameters no longer name it") for path in unnamed(params)]
    stale += [
        Stale([product, sidecar(product)], "nothing says what made it")
        for product in chain.from_iterable(products(params).values())
        if sidecar(product) not in recipes
    ]
    gone = {path for paths, _ in stale for path in paths}
    kept = []
    for path, recipe in recipes.items():
        reason = _reason(recipe, params, gone)
        if reason is None:
            kept.append(recipe)
        else:
            stale.append(Stale([*map(Path, recipe.outputs), path], reason))
            gone.update(stale[-1].paths)
    stale = [Stale(found, reason) for paths, reason in stale if (found := [path for path in paths if path.exists()])]
    if not dry_run:
        for path in chain.from_iterable(paths for paths, _ in stale):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # gone with its folder
        for recipe in kept:
            _put_in_order(recipe)
        _renew_times(params.profile)
    return stale


def unnamed(params: Params) -> list[Path]:
    """Networks, results and checkpoints of models that the parameters do not name."""
    models, reports = Path("models", params.profile), Path("reports", params.profile)
    kept = {
        models / ".checkpoints": params.models,
        models / "sparsified" / ".checkpoints": params.fine_tuned,
        models / "sparsified": params.fine_tuned,
        models / "exported": params.models,
        models / "ablation" / ".checkpoints": params.variants,
        models / "ablation": params.variants,
        reports / "infer": _json(params.models),
        reports / "evaluate": _json(["noisy", *params.models]),
        reports / "ablation" / "evaluate": _json(params.variants),
    }
    gone = [
        path
        for folder, names in kept.items()
        for path in folder.glob("[!.]*")
        if path.name.removesuffix(PARTIAL).removesuffix(SUFFIX) not in names and _made_here(path)
    ]
    # with fewer seeds those of the others stay, since they are no less true
    folders = [models / "companions" / ".checkpoints", models / "companions", reports / "companions" / "evaluate"]
    return gone + [
        path
        for folder in folders
        for path in folder.glob("[!.]*")
        if params.companion_variant(_model(path)) is None and _made_here(path)
    ]


def _model(path: Path) -> str:
    return path.name.removesuffix(PARTIAL).removesuffix(SUFFIX).removesuffix(".json")


def _made_here(path: Path) -> bool:
    """Whether the pipeline wrote a file, or all in a folder; what a user put there stays."""
    if path.is_dir():
        return path.parent.name == ".checkpoints" or all(_made_here(file) for file in path.rglob("*"))
    return path.name.endswith((SUFFIX, PARTIAL)) or path.name in WRITTEN or sidecar(path).is_file()


def _json(names: Iterable[str]) -> list[str]:
    return [f"{name}.json" for name in names]


def _recipes(profile: str) -> dict[Path, Recipe]:
    """All sidecars that can be read, those of inputs before those of what is made from them."""
    patterns = {"data": "*/*", "models": "**/*", "reports": "**/*"}  # no search among the clips
    paths = [path for top, pattern in patterns.items() for path in Path(top, profile).glob(pattern + SUFFIX)]
    recipes = {}
    for path in sorted(paths):
        with contextlib.suppress(SpandexError):
            recipe = Recipe.read(path)
            if _is_beside(path, recipe):
                recipes[path] = recipe
    made_by = {output: path for path, recipe in recipes.items() for output in recipe.outputs}
    graph = {path: {made_by[file] for file in recipe.inputs if file in made_by} for path, recipe in recipes.items()}
    return {path: recipes[path] for path in TopologicalSorter(graph).static_order()}


def _is_beside(path: Path, recipe: Recipe) -> bool:
    """Whether a sidecar speaks of the files that it lies with, and of no others."""
    outputs = [Path(output) for output in recipe.outputs]
    return path in map(sidecar, outputs) and all(output.parts[:2] == path.parts[:2] for output in outputs)


def _reason(recipe: Recipe, params: Params, gone: Collection[Path]) -> str | None:
    for file in map(Path, [*recipe.inputs, *recipe.outputs]):
        if any(path in gone for path in (file, *file.parents)):
            return f"{file} is made again"
    return recipe.disagreement(params)


def _renew_times(profile: str) -> None:
    """Snakemake's benchmark files count as outputs, too, and no checkout brings them."""
    for file in Path("reports", profile, "times").rglob("*.tsv"):
        file.touch()


def _put_in_order(recipe: Recipe) -> None:
    """No output is older than an input."""
    newest = max((Path(file).stat().st_mtime_ns for file in recipe.inputs), default=0)
    for file in recipe.outputs:
        if Path(file).stat().st_mtime_ns < newest:
            os.utime(file, ns=(newest, newest))
