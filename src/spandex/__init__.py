"""SPANDEX: sparse sigma-delta networks for speech denoising, from data to the paper's table."""

from spandex import compat

compat.install()

__version__ = "0.1.0"
