"""SPANDEX: sparse sigma-delta networks for speech denoising, from data to the paper's table."""

import os

from spandex import compat

compat.install()

# OpenMP reads this when torch is imported. Threads that spin while they wait take the cores from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# torch reads this with its first allocation. In huge pages the large tensors of training are cleared in less time.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
