from .activity import PSI, EventPenalty
from .budget import PowerBudget
from .gradual import GradualMagnitude
from .kept import KeptZeros
from .mask_search import MaskSearch
from .masked import MaskedWeights
from .neurons import NeuronPruner, incoming_norm
from .noise import NoisePruner
from .pruner import SCOPES, MaskSource, Pruner
from .saliency import SaliencyPruner
from .schedule import SCHEDULES, Cubic, Iterative, Linear, OneShot, Schedule, make_schedule
from .shrinking import shrink
from .smallest import magnitude
from .sparsifier import Sparsifier
from .together import Together
from .weights import Sparsity, sparsity
from .within import pruner_within

__all__ = [
    "PSI",
    "SCHEDULES",
    "SCOPES",
    "Cubic",
    "EventPenalty",
    "GradualMagnitude",
    "Iterative",
    "KeptZeros",
    "Linear",
    "MaskSearch",
    "MaskSource",
    "MaskedWeights",
    "NeuronPruner",
    "NoisePruner",
    "OneShot",
    "PowerBudget",
    "Pruner",
    "SaliencyPruner",
    "Schedule",
    "Sparsifier",
    "Sparsity",
    "Together",
    "incoming_norm",
    "magnitude",
    "make_schedule",
    "pruner_within",
    "shrink",
    "sparsity",
]
