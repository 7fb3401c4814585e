"""Networks of others, which become rows of the table."""

import shutil
from pathlib import Path

from spandex.checkout import downloads, resolved_mirror
from spandex.data.catalog import source
from spandex.data.download import fetch
from spandex.errors import prefixed
from spandex.files import atomic_path, refuse_overwriting
from spandex.params import Params
from spandex.steps.common import stored_network


def take(params: Params, name: str, output: Path) -> None:
    """Copy a network's file, of the catalogue or by its path, once it is known to fit the parameters.

    Raises:
        SpandexError: the file is missing or is no such network.
    """
    network = params.network(name)
    with prefixed(f"networks.{name}.file: "):
        path = network.path or published(params, network.file)
        stored_network(params, name, path)
    refuse_overwriting([output], [path])
    with atomic_path(output) as temporary:
        shutil.copyfile(path, temporary)


def published(params: Params, name: str) -> Path:
    """A network of the catalogue, downloaded."""
    return fetch([source(name)], downloads(), mirror=resolved_mirror(params.mirror))[name]
