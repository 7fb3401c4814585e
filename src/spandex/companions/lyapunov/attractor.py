"""Lorenz's convection model of 1963, a chaotic flow in three dimensions.

    dx/dt = sigma (y - x),    dy/dt = x (rho - z) - y,    dz/dt = x y - beta z

At sigma 10, rho 28, beta 8/3 its largest Lyapunov exponent is 0.906 (Viswanath, "Lyapunov exponents from random
Fibonacci sequences to the Lorenz equations", 1998), and all three add up to -(sigma + 1 + beta), the divergence.

Source: Lorenz, "Deterministic nonperiodic flow", Journal of the Atmospheric Sciences 1963.
"""

import numpy as np
from scipy.integrate import solve_ivp

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
LARGEST_EXPONENT = 0.906  # 1 / time unit; Viswanath
SETTLE = 20.0  # time units after which a start nearby is on the attractor


def field(state: np.ndarray) -> np.ndarray:
    """Time derivative (3,) at a state (3,)."""
    x, y, z = state
    return np.array([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z])


def trajectory(samples: int, interval: float, seed: int) -> np.ndarray:
    """A piece of the attractor (samples, 3), a state every ``interval`` time units, from a start drawn by the seed."""
    start = np.array([1.0, 1.0, 20.0]) + np.random.default_rng(seed).normal(0, 1, 3)
    times = SETTLE + interval * np.arange(samples)
    solved = solve_ivp(
        lambda _, state: field(state), (0, times[-1]), start, method="DOP853", t_eval=times, rtol=1e-9, atol=1e-9
    )
    return solved.y.T
