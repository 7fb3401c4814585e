"""The same numbers from the same settings."""

import contextlib
import os
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def reproducible(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Seed torch, fix its threads and ask for deterministic algorithms; all is as before on leaving.

    Everything on a CPU is deterministic; on a GPU torch warns of what is not.
    """
    if device.type == "cuda":
        # cuBLAS is deterministic only with this workspace (its documentation, "Results reproducibility").
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    previous = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    with torch.random.fork_rng():
        try:
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True, warn_only=True)
            # A guard for code that reads memory before it writes it; it fills every new tensor, which costs time.
            torch.utils.deterministic.fill_uninitialized_memory = False
            yield
        finally:
            torch.set_num_threads(previous[0])
            torch.use_deterministic_algorithms(previous[1], warn_only=previous[2])
            torch.utils.deterministic.fill_uninitialized_memory = previous[3]
