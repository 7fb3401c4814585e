"""Sparsification of lava-dl networks while they train.

A method is a mask source (what to remove) and a schedule (how much, when); ``Pruner`` runs both in a training loop.
"""

from spandex.sparsify.gradual import GradualMagnitude
from spandex.sparsify.magnitude import magnitude
from spandex.sparsify.pruner import SCOPES, MaskSource, Pruner
from spandex.sparsify.schedule import SCHEDULES, Cubic, Iterative, Linear, OneShot, Schedule, make_schedule
from spandex.sparsify.weights import Sparsity, sparsity

__all__ = [
    "SCHEDULES",
    "SCOPES",
    "Cubic",
    "GradualMagnitude",
    "Iterative",
    "Linear",
    "MaskSource",
    "OneShot",
    "Pruner",
    "Schedule",
    "Sparsity",
    "magnitude",
    "make_schedule",
    "sparsity",
]
