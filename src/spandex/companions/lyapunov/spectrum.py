"""Lyapunov exponents: how fast small differences grow along each direction that a trajectory carries with it.

The tangent dynamics Q(t + 1) R(t) = J(t) Q(t), with Q orthonormal and R upper triangular, has the exponents

    lambda_k = mean over time of ln |R_kk| .

Source: Benettin, Galgani, Giorgilli and Strelcyn, "Lyapunov characteristic exponents for smooth dynamical systems and
for Hamiltonian systems", Meccanica 1980; Eckmann and Ruelle, "Ergodic theory of chaos and strange attractors", 1985.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp


@dataclass(frozen=True)
class Spectrum:
    """Exponents in units of one over a step (maps) or over the time unit (flows).

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


def flow_spectrum(
    field: Callable[[np.ndarray], np.ndarray],
    jacobian: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    time: float,
    *,
    settle: float = 0.0,
    interval: float = 0.5,
) -> Spectrum:
    """The spectrum of dx/dt = f(x): f and the tangent dynamics dY/dt = J(x) Y integrated together by SciPy.

    Args:
        field: f, (dimensions,) to (dimensions,).
        jacobian: df/dx, (dimensions,) to (dimensions, dimensions).
        start: x(0) (dimensions,).
        time: that counts.
        settle: time before it, which does not.
        interval: time between two orthonormalisations.
    """
    size = len(start)

    def both(_: float, state: np.ndarray) -> np.ndarray:
        x, tangent = state[:size], state[size:].reshape(size, size)
        return np.concatenate([field(x), (jacobian(x) @ tangent).ravel()])

    x, tangent = np.asarray(start, np.float64), np.eye(size)
    growth, local, counted = np.zeros(size), np.zeros(size), 0
    for number in range(round((settle + time) / interval)):
        state = np.concatenate([x, tangent.ravel()])
        state = solve_ivp(both, (0, interval), state, method="DOP853", rtol=1e-8, atol=1e-8).y[:, -1]
        x = state[:size]
        directions, rates = _orthonormal(torch.from_numpy(state[size:].reshape(size, size)))
        tangent, rate = directions.numpy(), rates.numpy()
        if (number + 1) * interval > settle:
            growth, local, counted = growth + rate, local + tangent**2 @ rate, counted + 1
    return Spectrum(np.sort(growth / (counted * interval))[::-1], local / (counted * interval))


def _orthonormal(tangent: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Q and ln |R_kk| of a QR decomposition."""
    directions, triangle = torch.linalg.qr(tangent)
    lengths = triangle.diagonal().abs()
    return directions, lengths.clamp(min=torch.finfo(lengths.dtype).tiny).log()  # a singular Jacobian has exponent -inf
