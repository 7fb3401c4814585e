"""Methods that make a network sparse while it is fine-tuned, one file each, named as in params.yaml.

A file of this folder is a method; nothing else names it. It has

    Settings: a ``Section`` with the types of its settings; of a method that prunes weights a ``Pruning``, with the
        share of weights that are zero in the end, ``target``, or a power budget in its place. What it makes then has
        ``choose`` and ``prune``, see ``spandex.sparsify.budget.Method``.
    make: ``make(network, settings, iterations, seed)`` gives the ``Sparsifier`` that does its work on the network
        within so many iterations; it imports what it needs, so that settings are checked without torch.
    SCHEDULE: on which a power budget is approached, where no setting tells; "cubic" if it is missing.
    SEARCHES: true of a method that searches for masks on parametrised weights; such a method keeps no zeros of its
        start, and meets a power budget half as many iterations after its search; false if it is missing.
    TITLE, SOURCE: what reports call it, and the paper whose method it is; both may be missing.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from spandex.params.problems import checked
from spandex.params.section import Pruning

if TYPE_CHECKING:
    import torch

    from spandex.sparsify import Sparsifier


def names() -> list[str]:
    """All methods."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def method(name: str) -> ModuleType:
    """The module of a method.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        raise ValueError(f"{name}: no method of this name" + (f"; {close[0]} is one" if close else ""))
    return importlib.import_module(f"{__name__}.{name}")


def check(name: str, settings: Mapping[str, Any], complete: bool = True) -> dict[str, Any]:
    """The settings of a method that count, as plain values.

    Args:
        name: of the method.
        settings: by name.
        complete: whether all must be there, as for a network; else they are defaults.

    Raises:
        ValueError: there is no such method, or a setting is unknown, missing or impossible; the message begins with
            the method's name.
    """
    return checked(method(name).Settings, settings, f"{name}.", complete)


def sparsifier(
    network: "torch.nn.Module",
    methods: Mapping[str, Mapping[str, Any]],
    iterations: int,
    seed: int,
    keep_zeros: bool = False,
    power: "Callable[[torch.nn.Module], float] | None" = None,
) -> "Sparsifier | None":
    """What makes a network sparse within so many iterations, several methods side by side; None if nothing does.

    Args:
        network: on its device.
        methods: settings by method, as ``check`` gives them.
        iterations: in which all is done.
        seed: of what a method draws.
        keep_zeros: whether the zeros that the network has now stay zero.
        power: measures a network in M-Ops/s, for methods with a budget.

    Raises:
        SpandexError: a method cannot work on this network, or would not keep its zeros.
    """
    from torch.nn.utils import parametrize

    from spandex.errors import SpandexError
    from spandex.sparsify import KeptZeros, Together, sparsity

    kept = KeptZeros(network) if keep_zeros and sparsity(network).total else None
    parts = [] if kept is None else [kept]
    for name, settings in sorted(methods.items()):
        module = method(name)
        complete = module.Settings(**settings)
        if settings.get("power_mops"):
            parts.append(_within_budget(module, network, complete, iterations, seed, power))
        else:
            parts.append(module.make(network, complete, iterations, seed))
        if kept is not None and any(parametrize.is_parametrized(part) for part in network.modules()):
            raise SpandexError(f"{name} cannot keep the zeros of the network that it starts from")
    return Together(*parts) if len(parts) > 1 else next(iter(parts), None)


def _within_budget(
    module: ModuleType,
    network: "torch.nn.Module",
    settings: Pruning,
    iterations: int,
    seed: int,
    power: "Callable[[torch.nn.Module], float]",
) -> "Sparsifier":
    """A method that prunes until the network costs no more than it may."""
    from spandex.sparsify import PowerBudget

    def prunes_no_more(zeros: float) -> "Sparsifier":
        update = {"target": zeros, "power_mops": None}
        return module.make(network, settings.model_copy(update=update), iterations, seed)

    own = {key: value for key in ("frequency", "rounds", "scope") if (value := getattr(settings, key, None))}
    schedule = getattr(settings, "schedule", getattr(module, "SCHEDULE", "cubic"))
    return PowerBudget(network, prunes_no_more, settings.power_mops, iterations - 1, power, schedule=schedule, **own)
