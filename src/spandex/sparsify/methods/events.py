"""Activity regularization of the delta events of the hidden layers; see docs/explanation/activity_regularization.md."""

from typing import Literal

from spandex.params.section import Positive, Section

TITLE = "activity regularization"
SOURCE = "Narduzzi et al. 2022"


class Settings(Section):
    psi: Literal["l1", "l2", "l0.5", "l0.1", "l0.01", "hoyer", "hoyer-square"]
    weight: Positive  # of the penalty in the loss


def make(network, settings, iterations, seed):
    """See ``spandex.sparsify.methods``; the penalty stays to the end of training, and nothing is drawn."""
    from spandex.sparsify import PSI, EventPenalty

    return EventPenalty(network, PSI[settings.psi], settings.weight)
