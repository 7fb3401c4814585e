"""The typed view of params.yaml: every number of the pipeline, checked before anything runs."""

from spandex.params.loading import load, mirror_in_use
from spandex.params.overrides import SAID, VARIABLES, ParamsError, assignments, flatten, with_environment
from spandex.params.profile import Params, Pruning
from spandex.params.sections import Sparsify

__all__ = [
    "SAID",
    "VARIABLES",
    "Params",
    "ParamsError",
    "Pruning",
    "Sparsify",
    "assignments",
    "flatten",
    "load",
    "mirror_in_use",
    "with_environment",
]
