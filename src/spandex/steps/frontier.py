"""Networks at several power budgets: figure, table, the record of each seed, and whether it is the one kept."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spandex.companions import denoiser
from spandex.files.text import read_csv
from spandex.params import Network, Params
from spandex.pipeline.phases import KEPT
from spandex.pipeline.recipes import Recipe, sidecar
from spandex.report.frontier import Result, Seed, about, agreement, cost_table, read_seeds, write_seed
from spandex.report.frontier_figure import frontier_figure
from spandex.report.published import BOARD
from spandex.report.tabular import to_markdown, write_table


def frontier(
    params: Params,
    seeds: Sequence[Sequence[Network]],
    scores: Mapping[str, Mapping[str, Any]],
    folder: Path,
) -> tuple[list[Path], str]:
    """Write figure, table, and seed-N.json for each seed.

    Args:
        seeds: networks of the report, seed by seed, in the same order.
        scores: of every network by name.
        folder: of the report.

    Returns:
        The files, and what the summary says, in Markdown. What is kept in ``KEPT`` is compared and used for nothing
        else.

    Raises:
        SpandexError: a file is missing, or one in ``KEPT`` is no record.
    """
    names = [network.name for network in seeds[0]]
    found = [
        Seed(
            params.profile,
            params.seed + repeat,
            params.data.is_linked("test"),
            [clip["digest"] for clip in scores[names[0]]["per_clip"]],
            {
                name: _result(network, scores[network.name], params.folder("models"))
                for name, network in zip(names, networks, strict=True)
            },
        )
        for repeat, networks in enumerate(seeds)
    ]
    for path in folder.glob("seed-*.json"):  # of seeds that are asked for no longer
        path.unlink()
    records = [folder / f"seed-{seed.seed}.json" for seed in found]
    for seed, path in zip(found, records, strict=True):
        write_seed(seed, path)
    table, built = cost_table(found), {seed.seed: seed for seed in found}
    said = [f"{about(found)}\n", to_markdown(table)]
    kept = [seed for seed in read_seeds(KEPT) if seed.profile == params.profile]
    said += [agreement(seed, built.get(seed.seed), kept) for seed in kept]
    figure = frontier_figure(found, read_csv(BOARD), folder / "figures" / "frontier")
    return [*records, *write_table(table, folder), *figure], "\n".join(said)


def _result(network: Network, scores: Mapping[str, Any], models: Path) -> Result:
    kind = "reference" if not network.is_trained else "sparse" if network.methods else "dense"
    recipe = Recipe.read(sidecar(models / network.weights))
    made_by = json.dumps({"code": recipe.code, "params": recipe.params}, sort_keys=True)
    return Result.of(
        scores,
        label=network.label,
        kind=kind,
        method=denoiser.group(network) if network.is_trained else "",
        power_mops=network.power_mops,
        code=hashlib.sha256(made_by.encode()).hexdigest()[:16],
    )
