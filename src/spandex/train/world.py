"""The processes that train one network together: one alone, or those that torchrun started."""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from spandex.errors import SpandexError

_connections = itertools.count()  # of this process


def torchrun_place() -> tuple[int, int]:
    """Rank of this process and number of processes as torchrun set them; (0, 1) in a process of its own."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


class World:
    """One process that trains alone: what it shares with all processes is what it has.

    In a larger world every process calls the same methods in the same order.

    Attributes:
        device: where this process trains.
        rank: its number, from 0. Process 0 alone writes files and messages.
        size: number of processes.
    """

    def __init__(self, device: torch.device, rank: int = 0, size: int = 1):
        self.device = device
        self.rank = rank
        self.size = size

    @property
    def main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wrap(self, network: torch.nn.Module) -> torch.nn.Module:
        """A module that runs ``network`` so that gradients of its parameters become means over all processes."""
        return network

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of a loss that the wrapped network led to."""
        loss.backward()

    def sum(self, *values: float) -> list[float]:
        """The sum over all processes of each value."""
        return list(values)

    def max(self, *values: int) -> list[int]:
        """The largest of all processes of each value."""
        return list(values)

    def add_up(self, tensors: Iterable[torch.Tensor]) -> None:
        """Make tensors, of equal shapes everywhere, their sums over all processes."""

    def broadcast(self, value: Any) -> Any:
        """What process 0 gave."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """What every process gave, by rank."""
        return [value]

    def copy_from_main(self, tensors: Iterable[torch.Tensor]) -> None:
        """Make tensors, of equal shapes everywhere, those of process 0."""


class TorchrunWorld(World):
    """The processes that torchrun started, on one machine or several, through Lightning Fabric.

    Gradients go through DistributedDataParallel; the few numbers that processes tell each other stay on the CPU, over
    gloo.
    """

    def __init__(self, device: torch.device):
        from lightning_fabric import Fabric  # seconds, which a process alone need not pay
        from lightning_fabric.strategies import DDPStrategy

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # a banner otherwise
        rank, size = torchrun_place()
        super().__init__(device, rank, size)
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        if size % local:
            raise SpandexError(f"torchrun: {size} processes, {local} of them here: each machine needs as many")
        backend = "gloo" if device.type == "cpu" else f"cpu:gloo,{device.type}:nccl"
        _connect(backend)
        # Not before every forward pass: states of lava-dl's neurons are buffers too, of other shapes in every batch.
        strategy = DDPStrategy(process_group_backend=backend, forward_sync_buffers=False)
        self._fabric = Fabric(accelerator=device.type, devices=local, num_nodes=size // local, strategy=strategy)
        self._fabric.launch()

    def wrap(self, network: torch.nn.Module) -> torch.nn.Module:
        return self._fabric.setup_module(network, move_to_device=False)

    def backward(self, loss: torch.Tensor) -> None:
        self._fabric.backward(loss)

    def sum(self, *values: float) -> list[float]:
        return self._reduce(torch.tensor(values, dtype=torch.float64), torch.distributed.ReduceOp.SUM)

    def max(self, *values: int) -> list[int]:
        return self._reduce(torch.tensor(values, dtype=torch.int64), torch.distributed.ReduceOp.MAX)

    def add_up(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)

    def broadcast(self, value: Any) -> Any:
        return self._fabric.broadcast(value)

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def copy_from_main(self, tensors: Iterable[torch.Tensor]) -> None:
        for tensor in tensors:
            torch.distributed.broadcast(tensor, 0)

    @staticmethod
    def _reduce(values: torch.Tensor, operation: torch.distributed.ReduceOp) -> list:
        torch.distributed.all_reduce(values, operation)
        return values.tolist()


def _connect(backend: str) -> None:
    """Make the process group that Fabric will find, unless there is one.

    Under names of its own: torchrun keeps its store when it starts the processes again, and in it are the addresses of
    the dead ones (torch 2.15), as are those of an earlier group of this process.
    """
    if torch.distributed.is_initialized():
        return
    store, rank, size = next(torch.distributed.rendezvous("env://"))
    name = f"spandex/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{next(_connections)}"
    torch.distributed.init_process_group(
        backend, store=torch.distributed.PrefixStore(name, store), rank=rank, world_size=size
    )


@contextlib.contextmanager
def world(device: torch.device) -> Iterator[World]:
    """The world of this process; its connections are closed on leaving, unless they were there before."""
    if torchrun_place()[1] == 1:
        yield World(device)
        return
    connected = torch.distributed.is_initialized()
    try:
        yield TorchrunWorld(device)
    finally:
        if not connected and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
