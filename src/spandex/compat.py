"""Import lava-nc 0.10 and lava-dl 0.6 on Python 3.11 and later with NumPy 2, quickly and without their notices.

An import hook mends what they rely on and is gone, while or right after their modules load; nothing on disk changes:

- ``ByteEncoder`` of ``lava.magma.compiler.var_model`` gets a hash. Python 3.11 takes only hashable defaults of a
  dataclass.
- ``int()`` in ``lava.lib.dl.netx.hdf5`` takes arrays of one element, which NumPy 2 refuses.
- Integers that netx reads from a file get 64 bits. NumPy 2 keeps the 8 or 16 bits of a stored threshold, which then
  overflows where Lava shifts it.
- Lava's convolution takes its kernel, stride, padding and dilation, stored in 8 bits, in 64: NumPy 2 adds them in 8
  bits to sizes of more than 127, and fails.
- ``ReshapePort`` calls ``np.reshape`` by its name of today for the shape.
- lava-dl compiles its CUDA code for the GPU that is there. Stock asks for compute capability 8.0 alone on all newer
  ones, and what is compiled for it runs on 8.x alone: on an H100 no kernel starts, and nothing tells.

NumPy is imported with Lava, since commands that need neither start sooner without it.

It also lets Lava set multiprocessing's start method where something else has, and saves seconds: Lava looks for the
models of a process once in each folder, and what is seldom used is imported when it is: lava-dl's object detection,
which imports torchvision, plots, filters and statistics.
"""

import contextlib
import dataclasses
import functools
import importlib.abc
import importlib.machinery
import io
import logging
import multiprocessing
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any
from unittest import mock


@contextlib.contextmanager
def _hashable_byte_encoder() -> Iterator[None]:
    stock = dataclasses.dataclass

    def dataclass(cls: type | None = None, **options):
        if cls is not None and cls.__name__ == "ByteEncoder":
            options["unsafe_hash"] = True
        return stock(cls, **options)

    with mock.patch.object(dataclasses, "dataclass", dataclass):
        yield


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(previous)


class _OneElement(int):
    """``int`` that takes arrays of one element; as a class, for the annotations that are evaluated with it."""

    def __new__(cls, value: Any) -> int:
        import numpy as np

        return np.asarray(value).item()


def _int_of_one_element(module: ModuleType) -> None:
    module.int = _OneElement


def _wide_integers(module: ModuleType) -> None:
    import numpy as np

    stock = module.NetDict.__getitem__

    def read(self: Any, key: str | int) -> Any:
        value = stock(self, key)
        is_integer = isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iu"
        return value.astype(np.int64) if is_integer else value

    module.NetDict.__getitem__ = read


def _wide_geometry(module: ModuleType) -> None:
    import numpy as np

    stock = module.conv

    @functools.wraps(stock)
    def conv(image: Any, weight: Any, *geometry: Any) -> Any:
        return stock(image, weight, *(np.int64(part) for part in geometry))

    module.conv = conv


def _reshape_by_shape(module: ModuleType) -> None:
    import numpy as np

    port = module.ReshapePort
    port.get_transform_func_fwd = lambda self: functools.partial(np.reshape, shape=self.shape)
    port.get_transform_func_bwd = lambda self: functools.partial(np.reshape, shape=self.old_shape)


def _architecture_of_the_gpu(module: ModuleType) -> None:
    module.TORCH_CUDA_ARCH_LIST = None


def _each_folder_searched_once(module: ModuleType) -> None:
    """Stock Lava runs all modules of a process's folder again for every module that the folder holds."""
    graphs = module.ProcGroupDiGraphs
    stock_find, stock_modules = graphs._find_proc_models, pkgutil.iter_modules

    @functools.wraps(stock_find)
    def find(proc: Any) -> list[type]:
        searched = set()

        def modules(path: Sequence[str], prefix: str = "") -> Iterator[pkgutil.ModuleInfo]:
            if prefix or path[0] not in searched:  # with a prefix, Lava collects the folders
                yield from stock_modules(path, prefix)
            if not prefix:
                searched.add(path[0])

        with mock.patch.object(pkgutil, "iter_modules", modules):
            return stock_find(proc)

    graphs._find_proc_models = staticmethod(find)


def _forced_start_method() -> AbstractContextManager:
    forced = functools.partial(multiprocessing.set_start_method, force=True)
    return mock.patch.object(multiprocessing, "set_start_method", forced)


_AROUND_IMPORT: dict[str, Callable[[], AbstractContextManager]] = {
    "lava.magma.compiler.var_model": _hashable_byte_encoder,
    "lava.magma.runtime.message_infrastructure.multiprocessing": _forced_start_method,
    "lava.lib.dl.slayer": _silent,
    "lava.lib.dl.slayer.object_detection": _silent,
}
_AFTER_IMPORT: dict[str, Callable[[ModuleType], None]] = {
    "lava.lib.dl.netx.hdf5": _int_of_one_element,
    "lava.lib.dl.netx.utils": _wide_integers,
    "lava.proc.conv.utils": _wide_geometry,
    "lava.magma.core.process.ports.ports": _reshape_by_shape,
    "lava.magma.compiler.compiler_graphs": _each_folder_searched_once,
    "lava.lib.dl.slayer.jitconfig": _architecture_of_the_gpu,
}
_DEFERRED = {
    "lava.lib.dl.slayer.object_detection",
    "matplotlib",
    "matplotlib.animation",
    "matplotlib.pyplot",
    "scipy.signal",
    "scipy.stats",
}


_EXECUTING = threading.RLock()
_WAITING = object()


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader):
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ in _DEFERRED:
            module.__spec__.loader_state = _WAITING
            module.__class__ = _Deferred
        else:
            self.execute(module)

    def execute(self, module: ModuleType) -> None:
        with _AROUND_IMPORT.get(module.__name__, contextlib.nullcontext)():
            self.loader.exec_module(module)
        if module.__name__ in _AFTER_IMPORT:
            _AFTER_IMPORT[module.__name__](module)


class _Deferred(ModuleType):
    """A module that is executed when something is first looked up in it.

    Unlike ``importlib.util.LazyLoader``, which reads ``__file__`` of it as a use: inspect does so for all modules.
    """

    def __getattr__(self, name: str) -> Any:
        if (name.startswith("__") and name != "__all__") or f"{self.__name__}.{name}" in _DEFERRED:
            raise AttributeError(name)  # a module of its own is then imported as such
        with _EXECUTING:
            if self.__spec__.loader_state is _WAITING:
                self.__spec__.loader_state = None
                self.__spec__.loader.execute(self)
                self.__class__ = ModuleType
        return getattr(self, name) if type(self) is ModuleType else self._partial(name)

    def _partial(self, name: str) -> Any:
        """What a module holds that is being executed, as its own submodules see it."""
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname not in {*_AROUND_IMPORT, *_AFTER_IMPORT, *_DEFERRED}:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def install() -> None:
    """Put the import hook in place, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
