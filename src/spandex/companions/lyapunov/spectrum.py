"""Lyapunov exponents: how fast small differences grow along each direction that a trajectory carries with it.

The tangent dynamics Q(t + 1) R(t) = J(t) Q(t), with Q orthonormal and R upper triangular, has the exponents

    lambda_k = mean over time of ln |R_kk| .

Source: Benettin, Galgani, Giorgilli and Strelcyn, "Lyapunov characteristic exponents for smooth dynamical systems and
for Hamiltonian systems", Meccanica 1980; Eckmann and Ruelle, "Ergodic theory of chaos and strange attractors", 1985.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Spectrum:
    """Exponents in units of one over a step.

    Attributes:
        exponents: (directions,), falling.
        local: (dimensions,), the share of each coordinate in the growth: mean over time of sum_k Q_ik^2 ln R_kk. Their
            sum is that of the exponents; for uncoupled coordinates each is the coordinate's own exponent.
    """

    exponents: np.ndarray
    local: np.ndarray

    @property
    def largest(self) -> float:
        """Below zero: differences fade; above zero: chaos."""
        return float(self.exponents[0])


def map_spectrum(jacobians: Iterable[torch.Tensor | np.ndarray], settle: int = 0, every: int = 1) -> Spectrum:
    """The spectrum of x(t + 1) = f(x(t)) from the Jacobians along a trajectory.

    Args:
        jacobians: df/dx (dimensions, dimensions) at each step, in order; on the device that is to do the work.
        settle: steps for the directions to turn to where they belong, which do not count.
        every: steps from one orthonormalisation to the next; more is faster, until the directions fall into one.
    """
    tangent, growth, local, counted, pending = None, 0.0, 0.0, 0, 0
    for step, jacobian in enumerate(map(torch.as_tensor, jacobians)):
        tangent = jacobian if tangent is None else jacobian @ tangent
        pending += 1
        if pending == every or step + 1 == settle:
            tangent, rate = _orthonormal(tangent)
            if step >= settle:
                growth, local, counted = growth + rate, local + tangent**2 @ rate, counted + pending
            pending = 0
    growth, local = (total.cpu().numpy() / counted for total in (growth, local))
    return Spectrum(np.sort(growth)[::-1], local)


def _orthonormal(tangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Q and ln |R_kk| of a QR decomposition."""
    directions, triangle = torch.linalg.qr(tangent)
    lengths = triangle.diagonal().abs()
    return directions, lengths.clamp(min=torch.finfo(lengths.dtype).tiny).log()  # a singular Jacobian has exponent -inf
