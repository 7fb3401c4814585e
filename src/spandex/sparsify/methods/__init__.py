"""Methods that make a network sparse while it is fine-tuned, one file each, named as in params.yaml.

A file of this folder is a method; nothing else names it. It has

    Settings: a ``Section`` with the types of its settings; ``target``, where there is one, is the share of weights
        that are zero in the end, and ``null`` leaves it out.
    make: ``make(network, settings, iterations, seed)`` gives the ``Sparsifier`` that does its work on the network
        within so many iterations; it imports what it needs, so that settings are checked without torch.
    TITLE, SOURCE: what reports call it, and the paper whose method it is; both may be missing.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

from spandex.params.problems import checked

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
) -> "Sparsifier | None":
    """What makes a network sparse within so many iterations, several methods side by side; None if nothing does.

    Args:
        network: on its device.
        methods: settings by method, as ``check`` gives them.
        iterations: in which all is done.
        seed: of what a method draws.
        keep_zeros: whether the zeros that the network has now stay zero.

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
        parts.append(module.make(network, module.Settings(**settings), iterations, seed))
        if kept is not None and any(parametrize.is_parametrized(part) for part in network.modules()):
            raise SpandexError(f"{name} cannot keep the zeros of the network that it starts from")
    return Together(*parts) if len(parts) > 1 else next(iter(parts), None)
