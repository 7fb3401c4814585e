"""Networks as they are typed: their files or their names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spandex.params.networks import NAME


class Typed(str):
    """A network as it is typed; a command is given its file."""

    __slots__ = ()


TYPED = {"metavar": "NETWORK", "parser": Typed}  # of an argument or option that is one network or several


def located(value: Any, mirror: Callable[[], str | None]) -> Any:
    """The file of a network that is typed, or those of a list, see ``network_file``; any other value as it is."""
    if isinstance(value, list):
        return [located(one, mirror) for one in value]
    if not isinstance(value, Typed):
        return value
    if not NAME.fullmatch(value):
        return Path(value)
    from spandex.networks.named import network_file  # loads what a path needs not

    return network_file(value, mirror)
