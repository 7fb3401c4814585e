"""Random damage to files, each kind by its own form: bytes, lines, JSON and YAML, HDF5, NumPy, state dicts, HTTP."""

import contextlib
import copy
import io
import json
import math
import warnings
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import torch
import yaml

from faulty_server import Fault

NUMBERS = (0, -1, 1, 255, 65_536, 2**31 - 1, 2**31, 2**63, 10**30, 0.5, -1e-30, 1e300, math.inf, -math.inf, math.nan)
WORDS = ("", " ", "nan", "1e400", "true", "../x", "/", "~", "a\x00b", "\u00e9\u2028", "a" * 5000, "=1+1", "{}", "-")
VALUES = (*NUMBERS, *WORDS, None, True, [], {}, [[]], {"a": {"b": 1}})
NAMES = (
    b"input",
    b"flatten",
    b"dense",
    b"dense_rec",
    b"conv",
    b"pool",
    b"SDNN",
    b"CUBA",
    b"RF_PHASE",
    b"\xff",
    b"x" * 300,
)
TYPES = ("f2", "f4", ">f8", "g", "?", "u1", "u8", "i1", ">i4", "c8", "S3", "U3", "O", "M8[s]")
SHAPES = ("(-1,)", "(0, 6)", "()", "(10**9,)", "(99999999999999,)", "(True,)", "(2, 3.0)", "[4]", "(4, 6", "(9,)*99")
ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "utf-32", "cp037")


def bytes_(random: Random, content: bytes) -> bytes:
    """Bits turned, pieces cut out, doubled, zeroed or moved, the end missing, or nothing like it."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        begin = random.randrange(len(data) + 1) if random.random() < 0.5 else random.randrange(min(len(data), 64) + 1)
        end = min(len(data), begin + random.choice((1, 2, 4, 64, 1000)))
        match random.randrange(7):
            case 0:
                data[begin:end] = random.randbytes(end - begin)
            case 1:
                del data[begin:end]
            case 2:
                data[begin:begin] = data[begin:end]
            case 3:
                data[begin:end] = bytes([random.choice((0, 255))]) * (end - begin)
            case 4:
                del data[begin:]
            case 5:
                data[begin:begin] = random.randbytes(random.choice((1, 4, 100)))
            case 6 if begin < len(data):
                data[begin] ^= 1 << random.randrange(8)
    return bytes(data)


def text(random: Random, content: bytes) -> bytes:
    """Lines gone, doubled or moved, a field that is something else, another encoding, other ends of lines."""
    lines = content.decode().splitlines()
    for _ in range(random.choice((1, 1, 3))):
        if not lines:
            break
        place = random.randrange(len(lines))
        match random.randrange(6):
            case 0:
                del lines[place]
            case 1:
                lines.insert(random.randrange(len(lines)), lines[place])
            case 2:
                fields = lines[place].split(",")
                fields[random.randrange(len(fields))] = str(random.choice(VALUES))
                lines[place] = ",".join(fields)
            case 3:
                key, colon, _ = lines[place].partition(":")
                lines[place] = f"{key}{colon or ','} {random.choice(VALUES)}"
            case 4:
                lines[place] = random.choice((" ", "\t", '"', "#", "- ")) + lines[place]
            case 5:
                lines[place] = lines[place][: random.randrange(len(lines[place]) + 1)]
    changed = random.choice(("\n", "\n", "\r\n", "\r")).join(lines)
    return changed.encode(random.choice((*["utf-8"] * 6, *ENCODINGS)), errors="replace")


def json_(random: Random, content: bytes) -> bytes:
    return json.dumps(_tree(random, json.loads(content))).encode()


def yaml_(random: Random, content: bytes) -> bytes:
    return yaml.safe_dump(_tree(random, yaml.safe_load(content))).encode()


def _tree(random: Random, tree: Any) -> Any:
    """A copy with a value replaced, removed, renamed or moved."""
    root = [copy.deepcopy(tree)]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for holder, key in places:
        inner = holder[key]
        places += [(inner, name) for name in (inner if isinstance(inner, dict) else ())]
        places += [(inner, index) for index in range(len(inner) if isinstance(inner, list) else 0)]
    holder, key = random.choice(places)
    other, name = random.choice(places)
    match random.randrange(4):
        case 1 if isinstance(holder, dict):
            holder[random.choice(WORDS)] = holder.pop(key)
        case 2 if holder is not root:
            del holder[key]
        case 3:
            holder[key] = copy.deepcopy(other[name])
        case _:
            holder[key] = random.choice(VALUES)
    return root[0]


def hdf5(random: Random, path: Path) -> None:
    """A data set, group or attribute of another type, shape or value, twice, or gone."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in random.choices(names, k=random.choice((1, 1, 2))):
            with contextlib.suppress(RuntimeError):  # a link to itself, above it
                if name in file:
                    _damage(random, file, name)


def _damage(random: Random, file: h5py.File, name: str) -> None:
    item = file[name]
    match random.randrange(6):
        case 0:
            del file[name]
        case 1:
            file.move(name, f"{name}{random.choice('x_')}")
        case 2:
            del file[name]
            file[name] = h5py.SoftLink(random.choice(("/", "/nowhere", f"/{name}")))
        case 3 if item.attrs:
            item.attrs[random.choice(list(item.attrs))] = _array(random)
        case _ if isinstance(item, h5py.Dataset):
            value = item[()]
            del file[name]
            file[name] = _changed(random, value)
        case _:
            file[f"{name}/{random.choice(('weight', 'type', 'shape', 'delay'))}x"] = _array(random)


def _array(random: Random) -> np.ndarray:
    """Something that HDF5 stores."""
    kind = random.choice((np.int8, np.int32, np.float32, np.float64, np.uint64, bool))
    shape = random.choice(((), (0,), (1,), (3,), (2, 2), (1, 1, 1, 1, 1)))
    values = np.random.default_rng(random.randrange(2**32)).normal(scale=100, size=shape)
    return np.asarray(np.abs(values) if kind is np.uint64 else values).astype(kind)


def _changed(random: Random, value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind in "OSU" or random.random() < 0.2:
        return random.choice((*map(np.bytes_, NAMES), _array(random)))
    match random.randrange(5):
        case 0:
            return array.astype(random.choice((np.int8, np.int64, np.float32, np.float64, np.uint8)))
        case 1:
            return array.reshape(random.choice(((-1,), (1, -1), (-1, 1), (1, *array.shape))))
        case 2:
            return array.flat[: array.size // 2]
        case 3:
            return np.concatenate([array.ravel(), array.ravel()])
    changed = array.astype(np.float64)
    changed.flat[random.randrange(max(1, changed.size)) : random.choice((None, 1, 3))] = float(random.choice(NUMBERS))
    if array.dtype.kind in "iub" and np.isfinite(changed).all() and (np.abs(changed) < 2**62).all():
        return changed.astype(random.choice((np.int64, np.float64)))
    return changed


def npz(random: Random, content: bytes) -> bytes:
    """An array of another type, order, shape or value, a header that lies, a member doubled, renamed, empty or gone."""
    with np.load(io.BytesIO(content)) as archive:
        members = [(f"{name}.npy", _npy(array)) for name, array in archive.items()]
        place = random.randrange(len(members))
        name, whole = members[place]
        array = archive[name.removesuffix(".npy")]
    match random.randrange(9):
        case 0:
            members[place] = (name, _npy(np.asfortranarray(array)))
        case 1 | 2:
            members[place] = (name, _npy(array.astype(random.choice(TYPES))))
        case 3 | 4:
            members[place] = (name, _npy(np.asarray(_changed(random, array))))
        case 5:
            shape = f"{array.shape}, }}".encode()
            members[place] = (name, whole.replace(shape.ljust(30), f"{random.choice(SHAPES)}, }}".encode().ljust(30)))
        case 6:
            members.append((random.choice((name, name.removesuffix(".npy"))), whole))
        case 7:
            members[place] = (random.choice((name.upper(), f"../{name}", name[:1], name)), b"")
        case 8:
            del members[place]
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", random.choice((0, 8, 12, 14))) as archive:
        warnings.simplefilter("ignore")  # names that are there twice
        for name, data in members:
            archive.writestr(name, data)
        archive.filelist[-1:][0].file_size *= random.choice((1, 1, 1, 2**33))
    return file.getvalue()


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def state_dict(random: Random, content: bytes) -> bytes:
    """A tensor of another type, shape or value, under another name, or gone."""
    state = torch.load(io.BytesIO(content), weights_only=True)
    name = random.choice(list(state))
    tensor = state[name]
    match random.randrange(7):
        case 0:
            del state[name]
        case 1:
            state[f"{name}{random.choice(('_orig', 'x', '.weight'))}"] = state.pop(name)
        case 2:
            state[name] = tensor.to(random.choice((torch.int8, torch.float64, torch.bool, torch.complex64)))
        case 3:
            state[name] = tensor.reshape(-1) if tensor.dim() > 1 else tensor[None]
        case 4:
            state[name] = torch.cat([tensor, tensor]) if tensor.dim() else tensor[None]
        case 5:
            state[name] = random.choice((None, "x", 3, [1.0], {"a": tensor}, tensor.to_sparse()))
        case 6:
            number = float(random.choice(NUMBERS))
            state[name] = torch.full_like(tensor, number, dtype=torch.float64).to(tensor.dtype)  # or it overflows
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def fault(random: Random, content: bytes) -> Fault:
    """What an answer may do wrong."""
    cut = random.randrange(len(content) + 1)
    return random.choice(
        (
            Fault(status=random.choice((204, 206, 301, 400, 401, 403, 404, 410, 416, 429, 500, 503, 599))),
            Fault(status=302, headers={"Location": random.choice(("/corpus.csv", "/x", "file:///x", "http://[", ""))}),
            Fault(drop_after=cut),
            Fault(content=bytes_(random, content)),
            Fault(content=bytes_(random, content), hide_length=True),
            Fault(headers={"Content-Encoding": random.choice(("gzip", "br", "x"))}),
            Fault(headers={"Content-Length": random.choice(("0", "-1", "x", str(2**60), str(cut)))}),
            Fault(headers={"Content-Range": random.choice(("bytes 0-0/1", "bytes */5", "x"))}, ignore_range=True),
            Fault(headers={"Last-Modified": "yesterday", "Retry-After": random.choice(("0", "x", "-5"))}),
            Fault(shift_range=random.choice((1, 10))),
        )
    )
