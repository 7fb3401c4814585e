"""Networks of others, which become rows of the table."""

import shutil
from pathlib import Path

from spandex.checkout import resolved_mirror
from spandex.errors import prefixed
from spandex.files import atomic_path, refuse_overwriting
from spandex.networks.named import named_network
from spandex.params import Params
from spandex.steps.common import stored_network


def take(params: Params, name: str, output: Path) -> None:
    """Copy a network's file, by its name or its path, once it is known to fit the parameters.

    Raises:
        SpandexError: the file is missing or is no such network.
    """
    network = params.network(name)
    with prefixed(f"networks.{name}.file: "):
        path = network.path or named_network(network.file, resolved_mirror(params.mirror))
        stored_network(params, name, path)
    refuse_overwriting([output], [path])
    with atomic_path(output) as temporary:
        shutil.copyfile(path, temporary)
