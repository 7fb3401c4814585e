"""A network on recorded inputs."""

from pathlib import Path

import numpy as np

from spandex.deploy import Executor, Network
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.executor import whole_numbers
from spandex.deploy.lava_run import run_in_lava
from spandex.deploy.netx import parse_sparsity_map
from spandex.errors import SpandexError
from spandex.files import atomic_path


def run(
    net: Path,
    inputs: Path,
    output: Path,
    backend: str = "events",
    sparsity_map: str = "auto",
    density_threshold: float = 0.5,
) -> None:
    """Run ``net`` on a NumPy file of whole numbers (inputs, steps) and write int32 (outputs, steps).

    Args:
        net: HDF5 network.
        inputs, output: files.
        backend: ``"events"``, the executor, or ``"lava"``; both give the same.
        sparsity_map: as typed, see ``parse_sparsity_map``.
        density_threshold: largest density that ``auto`` makes sparse.

    Raises:
        SpandexError: a file cannot be used.
    """
    options = (net, parse_sparsity_map(sparsity_map), density_threshold)
    data = _load(inputs)
    with processes_forgotten():
        network = Executor(*options) if backend == "events" else Network(*options)
        try:
            data = whole_numbers(data)
            outputs = network.run(data).outputs if isinstance(network, Executor) else run_in_lava(network, data)
        except SpandexError as error:
            raise SpandexError(f"{inputs}: {error}") from None
    with atomic_path(output) as temporary, temporary.open("wb") as file:
        np.save(file, np.ascontiguousarray(outputs))
    print(f"{output}: {outputs.shape[0]} outputs, {outputs.shape[1]} steps")


def _load(path: Path) -> np.ndarray:
    try:
        data = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise SpandexError(f"{path}: no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise SpandexError(f"{path}: not a NumPy array ({error})") from None
    if not isinstance(data, np.ndarray):
        raise SpandexError(f"{path}: an archive of arrays; expected one array")
    return data
