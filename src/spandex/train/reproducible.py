"""The same numbers from the same settings."""

import contextlib
import os
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


@contextlib.contextmanager
def reproducible(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Seed torch, NumPy and Python, fix torch's threads and ask for deterministic algorithms; undone on leaving.

    Everything on a CPU is deterministic; on a GPU torch warns of what is not.
    """
    if device.type == "cuda":
        # cuBLAS is deterministic only with this workspace (its documentation, "Results reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random_numbers = rng_state(device)
    previous = (
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    try:
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        random.seed(seed)
        torch.set_num_threads(threads)
        torch.set_deterministic_debug_mode("warn")  # as use_deterministic_algorithms, which loads its compiler first
        # A guard for code that reads memory before it writes it; it fills every new tensor, which costs time.
        torch.utils.deterministic.fill_uninitialized_memory = False
        yield
    finally:
        torch.set_num_threads(previous[0])
        torch.set_deterministic_debug_mode(previous[1])
        torch.utils.deterministic.fill_uninitialized_memory = previous[2]
        set_rng_state(random_numbers, device)


def rng_state(device: torch.device) -> dict[str, Any]:
    """State of the random generators of torch (CPU, and ``device``), NumPy and Python, as plain types and tensors."""
    kind, keys, *place = np.random.get_state()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *place),
        "python": random.getstate(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back to a :func:`rng_state`."""
    torch.set_rng_state(state["torch"])
    kind, keys, *place = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *place))
    random.setstate(state["python"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
