"""Gradual pruning by loss per operation; see docs/explanation/saliency.md."""

from typing import Annotated

from pydantic import Field

from spandex.params.section import Count, Pruning

TITLE = "saliency"
SOURCE = "after Molchanov et al. 2019"


class Settings(Pruning):
    exponent: Annotated[float, Field(ge=0.5, le=1)]  # of what a weight costs
    neurons: bool  # whether hidden neurons go by the same rule
    frequency: Count  # iterations between two pruning steps


def make(network, settings, iterations, seed):
    """See ``spandex.sparsify.methods``; nothing is drawn."""
    from spandex.sparsify import Cubic, SaliencyPruner

    schedule = Cubic(settings.target, iterations - 1, settings.frequency)
    return SaliencyPruner(network, schedule, exponent=settings.exponent, neurons=settings.neurons)
