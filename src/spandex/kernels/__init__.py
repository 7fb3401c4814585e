"""Fused kernels that run behind lava-dl's own sigma-delta and CUBA blocks."""

from spandex.kernels.blocks import accelerate, restore

__all__ = ["accelerate", "restore"]
