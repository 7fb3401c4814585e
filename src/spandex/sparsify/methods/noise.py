"""Lyapunov noise pruning of synapses; see docs/explanation/lyapunov_pruning.md."""

from typing import Annotated

from pydantic import Field

from spandex.params.section import Pruning

TITLE = "noise pruning"
SOURCE = "Chakraborty et al. 2024"
SCHEDULE = "one-shot"


class Settings(Pruning):
    gain_limit: Annotated[float, Field(ge=1)]  # of a kept weight


def make(network, settings, iterations, seed):
    """See ``spandex.sparsify.methods``; the weights that stay are drawn at the first iteration."""
    from spandex.sparsify import NoisePruner

    return NoisePruner(network, settings.target, gain_limit=settings.gain_limit, seed=seed)
