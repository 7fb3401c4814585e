"""The typed view of params.yaml: every number of the pipeline, checked before anything runs."""

from spandex.params.loading import load, mirror_in_use
from spandex.params.networks import Network
from spandex.params.overrides import SAID, VARIABLES, ParamsError, assignments, flatten, with_environment
from spandex.params.profile import Params, UnknownNetworkError

__all__ = [
    "SAID",
    "VARIABLES",
    "Network",
    "Params",
    "ParamsError",
    "UnknownNetworkError",
    "assignments",
    "flatten",
    "load",
    "mirror_in_use",
    "with_environment",
]
