"""Networks and their files, as several tests need them."""

from pathlib import Path

import h5py


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
