"""Where to compute."""

import os

import torch

from spandex.errors import SpandexError

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str = "auto") -> torch.device:
    """The device that ``name`` stands for; under torchrun, the GPU of this process.

    Args:
        name: ``cpu``, ``cuda``, or ``auto``: CUDA where torch sees a GPU, else the CPU.

    Raises:
        SpandexError: the name is another one, or ``cuda`` is asked for and there is no GPU for this process.
    """
    if name not in DEVICES:
        raise SpandexError(f"device: {name!r} is not one of {', '.join(DEVICES)}")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise SpandexError("device: cuda was asked for, but torch sees no GPU; auto takes the CPU then")
    index, count = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if index >= count:
        raise SpandexError(f"device: process {index} of this machine has no GPU of its own, torch sees {count}")
    return torch.device("cuda", index)


def judging_device(name: str) -> torch.device:
    """Where float networks and DNSMOS run, see ``choose_device``; from then on a GPU multiplies all bits of float32, so
    that scores are those of the CPU."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return choose_device(name)
