"""Networks and their files, as several tests need them."""

from pathlib import Path

import h5py
import torch


def hdf5_content(path: Path) -> dict[str, tuple | None]:
    """Every group and dataset of an HDF5 file with type, shape and bytes."""
    found: dict[str, tuple | None] = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            value = item[()]
            found[name] = (item.dtype, item.shape, value if item.dtype.kind == "O" else value.tobytes())
        else:
            found[name] = None

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def prune_evaluate(weights: list[torch.Tensor], entered: list[torch.Tensor]) -> list[int]:
    """By layer, events of each input times the weights of its column above 1e-10; after SPANDEX's prune_evaluate.py."""
    counts = []
    for weight, events in zip(weights, entered, strict=True):
        inputs, times = torch.unique(torch.where(events.abs() > 0)[1], return_counts=True)
        columns = [int((weight[:, neuron].abs() > 1e-10).sum()) for neuron in inputs.tolist()]
        counts.append(sum(count * column for count, column in zip(times.tolist(), columns, strict=True)))
    return counts
