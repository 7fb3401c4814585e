"""Sparsification of lava-dl networks while they train.

``Pruner`` removes single weights: a mask source tells which, a schedule how many and when. ``NeuronPruner`` removes
whole neurons, and ``shrink`` takes them out of the network. Both are ``Sparsifier``s, which is what a training loop
needs to know of a method, and so are those of other papers: ``EventPenalty``, ``MaskSearch``, ``NoisePruner``.
"""

from spandex.sparsify.activity import PSI, EventPenalty
from spandex.sparsify.gradual import GradualMagnitude
from spandex.sparsify.magnitude import magnitude
from spandex.sparsify.mask_search import MaskSearch
from spandex.sparsify.masked import MaskedWeights
from spandex.sparsify.neurons import NeuronPruner, incoming_norm
from spandex.sparsify.noise import NoisePruner
from spandex.sparsify.pruner import SCOPES, MaskSource, Pruner
from spandex.sparsify.schedule import SCHEDULES, Cubic, Iterative, Linear, OneShot, Schedule, make_schedule
from spandex.sparsify.shrink import shrink
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.together import Together
from spandex.sparsify.weights import Sparsity, sparsity

__all__ = [
    "PSI",
    "SCHEDULES",
    "SCOPES",
    "Cubic",
    "EventPenalty",
    "GradualMagnitude",
    "Iterative",
    "Linear",
    "MaskSearch",
    "MaskSource",
    "MaskedWeights",
    "NeuronPruner",
    "NoisePruner",
    "OneShot",
    "Pruner",
    "Schedule",
    "Sparsifier",
    "Sparsity",
    "Together",
    "incoming_norm",
    "magnitude",
    "make_schedule",
    "shrink",
    "sparsity",
]
