"""Sparsification of lava-dl networks while they train.

A method is a mask source (what to remove) and a schedule (how much, when); ``Pruner`` runs both in a training loop.
"""

from spandex.sparsify.magnitude import GradualMagnitude, global_magnitude
from spandex.sparsify.pruner import MaskSource, Pruner
from spandex.sparsify.schedule import Cubic, Schedule
from spandex.sparsify.synapses import Sparsity, dense_weights, sparsity

__all__ = [
    "Cubic",
    "GradualMagnitude",
    "MaskSource",
    "Pruner",
    "Schedule",
    "Sparsity",
    "dense_weights",
    "global_magnitude",
    "sparsity",
]
