"""Scores of the networks that compare the methods, sorted by seed."""

from collections.abc import Iterable, Mapping
from typing import Any

from spandex.params.variants import variants

TITLE = "Every method on the denoiser"
METRICS = (
    "si_snr_db",
    "deployed_synops_per_step",
    "neuronops_per_step",
    "deployed_power_proxy_ops_per_s",
    "parameters",
    "sparsity",
)


def by_repeat(scores: Mapping[str, Mapping[str, Any]], targets: Iterable[float], repeats: int) -> list[dict[str, Any]]:
    """One run a seed, with the metrics of each network by the name it has with the first seed.

    Args:
        scores: of every network by name, as ``spandex.steps.results.network_scores`` gives them.
        targets: sparsities.
        repeats: how many seeds.
    """
    runs: list[dict[str, Any]] = [{"networks": {}} for _ in range(repeats)]
    for variant in variants(list(targets), repeats):
        found = scores[variant.name]
        metrics = {name: found[name] for name in METRICS} | {"events_per_step": sum(found["events_per_step"])}
        runs[variant.repeat]["networks"][variant._replace(repeat=0).name] = metrics
    return runs
