"""What an HDF5 file may hold: its own data, no more of it than memory takes, and nothing that lies elsewhere."""

import h5py

from spandex.errors import SpandexError

LARGEST_FILE = 2**28  # bytes of all its numbers at 8 bytes each, as they are read; 33 million
NUMBER_BYTES = 8


def check_storage(file: h5py.File) -> None:
    """Look at what a file declares, before anything in it is read.

    Raises:
        SpandexError: it holds links, or data sets whose contents lie elsewhere, or more than ``LARGEST_FILE``.
    """
    size, seen, waiting = 0, set(), [file["/"]]
    while waiting:
        group = waiting.pop()
        if (place := h5py.h5o.get_info(group.id).addr) in seen:  # a group may hold itself
            continue
        seen.add(place)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise SpandexError(f"{group.name.rstrip('/')}/{name} is a link; the data has to lie in the file")
            item = group[name]
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.is_virtual or item.external:
                    raise SpandexError(f"{item.name}: its numbers lie in other files")
                size += (item.size or 0) * max(item.dtype.itemsize, NUMBER_BYTES)
    if size > LARGEST_FILE:
        raise SpandexError(f"declares {size / 2**20:,.0f} MiB of numbers; at most {LARGEST_FILE // 2**20} are read")
