"""The papers, and where their experiments are."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spandex.errors import SpandexError


@dataclass(frozen=True)
class Paper:
    """One paper.

    Attributes:
        name: of its package, its parameters and its folder of results.
        title: for people.
        experiments: modules of the package, each with ``run(settings, work) -> dict``.
    """

    name: str
    title: str
    experiments: tuple[str, ...]

    def experiment(self, name: str) -> Any:
        """The module of an experiment.

        Raises:
            SpandexError: there is no such experiment.
        """
        if name not in self.experiments:
            raise SpandexError(f"{self.name}: no experiment {name!r}, there are {', '.join(self.experiments)}")
        return self._module(name)

    @property
    def claims(self) -> Any:
        """The module with ``findings``, ``tables`` and ``figures``; see ``report.write_paper_report``."""
        return self._module("claims")

    def _module(self, name: str) -> Any:
        return importlib.import_module(f"spandex.companions.{self.name}.{name}")


PAPERS: Mapping[str, Paper] = {
    paper.name: paper
    for paper in (
        Paper("activity", "Activity regularization (Narduzzi et al., ICASSP 2022)", ("mnist", "cifar10")),
        Paper("masks", "Unstructured pruning framework (Shi et al., ICLR 2024)", ("cifar10",)),
        Paper("lyapunov", "Lyapunov noise pruning (Chakraborty et al., ICLR 2024)", ("lorenz63", "cifar10")),
        Paper("vgg", "Iterative pruning of a convolutional network (SPANDEX's write-up)", ("cifar10",)),
    )
}


def paper(name: str) -> Paper:
    """A paper by name.

    Raises:
        SpandexError: there is no such paper.
    """
    if name not in PAPERS:
        raise SpandexError(f"no companion paper {name!r}, there are {', '.join(PAPERS)}")
    return PAPERS[name]


def all_runs(seeds: int, first: int) -> list[tuple[str, str, int]]:
    """Paper, experiment and seed of every run; the seeds count from ``first``."""
    return [
        (paper.name, experiment, seed)
        for paper in PAPERS.values()
        for experiment in paper.experiments
        for seed in range(first, first + seeds)
    ]
