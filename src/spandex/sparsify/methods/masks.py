"""Learnable masks for weights and neurons; see docs/explanation/unstructured_pruning.md."""

from spandex.params.section import Positive, Pruning

TITLE = "mask search"
SOURCE = "Shi et al. 2024"
SCHEDULE = "one-shot"
SEARCHES = True


class Settings(Pruning):
    weight: Positive  # of what the masks cost, in the loss
    beta: tuple[Positive, Positive]  # steepness, which grows from the first to the last value while they are searched


def make(network, settings, iterations, seed):
    """See ``spandex.sparsify.methods``; nothing is drawn."""
    from spandex.sparsify import MaskSearch

    return MaskSearch(network, settings.weight, iterations - 1, target=settings.target, beta=settings.beta)
