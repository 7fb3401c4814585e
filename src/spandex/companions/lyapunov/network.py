"""A recurrent network of leaky integrate-and-fire neurons whose membranes have time constants of their own.

    V_i(t+1) = b_i V_i(t) + sum_j w_ij S_j(t) + (1 - b_i) I_i(t) - S_i(t),   S_i(t) = 1 if V_i(t) > 1, else 0,

with b_i = exp(-1 / tau_i), tau_i in steps, and the threshold 1 (``snntorch.Leaky``, reset by subtraction). The factor
(1 - b_i) makes a constant current I lead to V = I whatever the time constant.

Tangent dynamics: a spike is a jump, which has no derivative. As in training, a surrogate takes its place, that of the
fast sigmoid u / (1 + 2 |u|), so that the Jacobian of the map V(t) -> V(t+1) is

    J(t) = diag(b) + (W - 1) diag(g(V(t) - 1)),    g(u) = 1 / (1 + 2 |u|)^2 .

The integral of g is one, as that of the derivative of the jump: averaged over potentials that are spread more widely
than g, the gain is that of the spikes.

Source: the model, Perez-Nieves et al., "Neural heterogeneity promotes robust learning", Nature Communications 2021; the
surrogate, Zenke and Ganguli, "SuperSpike", Neural Computation 2018; the library, Eshraghian et al., "Training spiking
neural networks using lessons from deep learning", Proceedings of the IEEE 2023.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import networkx
import numpy as np
import snntorch
import torch
from scipy import stats

from spandex.params.companions.lyapunov import Network

STEEPNESS = 2.0  # of the surrogate; with it its derivative has the integral 1
THRESHOLD = 1.0


@dataclass(frozen=True)
class Recurrent:
    """A network; neurons that were pruned are no longer in it.

    Attributes:
        weights: W (neurons, neurons), row: to, column: from, zero where there is no synapse.
        tau: membrane time constants (neurons,), steps.
        rank: of each neuron (neurons,), where in the distribution of time constants it stands, 0 to 1.
        bias: constant current (neurons,), in units of the threshold.
        origin: which neuron of the unpruned network each is (neurons,), so that inputs stay those of the same neuron.
        original: how many neurons the unpruned network had.
    """

    weights: np.ndarray
    tau: np.ndarray
    rank: np.ndarray
    bias: np.ndarray
    origin: np.ndarray
    original: int

    @property
    def neurons(self) -> int:
        return len(self.tau)

    @property
    def synapses(self) -> int:
        return int(np.count_nonzero(self.weights))

    @property
    def decay(self) -> np.ndarray:
        """b (neurons,), what is left of a potential after one step."""
        return np.exp(-1 / self.tau)

    @property
    def fan_out(self) -> np.ndarray:
        """Outgoing synapses of each neuron (neurons,)."""
        return np.count_nonzero(self.weights, axis=0)

    def with_weights(self, weights: np.ndarray) -> Self:
        return replace(self, weights=weights)

    def with_tau(self, mean: float, shape: float | None) -> Self:
        """The same neurons with other time constants, each at its rank in the new gamma distribution."""
        return replace(self, tau=time_constants(self.rank, mean, shape))

    def only(self, neurons: np.ndarray) -> Self:
        """The network of some of its neurons, a boolean (neurons,)."""
        return replace(
            self,
            weights=self.weights[np.ix_(neurons, neurons)],
            **{name: getattr(self, name)[neurons] for name in ("tau", "rank", "bias", "origin")},
        )


def time_constants(rank: np.ndarray, mean: float, shape: float | None) -> np.ndarray:
    """Time constants at ranks (0 to 1) of the gamma distribution of a mean and a shape; None: all are the mean."""
    if shape is None:
        return np.full(len(rank), mean)
    return np.maximum(stats.gamma.ppf(rank, shape, scale=mean / shape), 1e-3)  # e^(-1000) is no memory at all


def make_network(settings: Network, seed: int, heterogeneous: bool) -> Recurrent:
    """A small-world network of excitatory and inhibitory neurons at random.

    All outgoing synapses of a neuron have its sign. Magnitudes are those of a normal distribution, larger for
    inhibitory neurons by the ratio of excitatory to inhibitory ones, so that both balance on average. The network
    without heterogeneity of the same seed differs in its time constants alone, which are all the mean.
    """
    rng = np.random.default_rng(seed)
    size = settings.neurons
    graph = networkx.watts_strogatz_graph(size, settings.neighbours, settings.rewired, seed=seed)
    connected = networkx.to_numpy_array(graph) > 0  # each edge in both directions
    inhibitory = rng.random(size) < settings.inhibitory
    balance = (1 - settings.inhibitory) / settings.inhibitory if settings.inhibitory else 1.0
    sign = np.where(inhibitory, -balance, 1.0)
    # Sums over the inputs of a neuron have the standard deviation ``strength``, if one is active.
    scale = settings.strength / np.sqrt(settings.neighbours * np.mean(sign**2))
    weights = scale * connected * np.abs(rng.normal(0, 1, (size, size))) * sign[None, :]
    rank = rng.random(size)
    return Recurrent(
        weights=weights,
        tau=time_constants(rank, settings.time_constant, settings.shape if heterogeneous else None),
        rank=rank,
        bias=settings.bias * rng.random(size),
        origin=np.arange(size),
        original=size,
    )


def input_weights(size: int, inputs: int, strength: float, seed: int) -> np.ndarray:
    """Fixed random weights (size, inputs) to all neurons of the unpruned network.

    Inputs of variance 1 cause currents of standard deviation ``strength``.
    """
    return np.random.default_rng(seed).normal(0, strength / np.sqrt(inputs), (size, inputs))


class Simulation:
    """A network as it runs, several copies at a time, from potentials of zero."""

    def __init__(self, network: Recurrent, batch: int = 1, device: torch.device | str = "cpu"):
        def tensor(array: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=device)

        decay = tensor(network.decay)
        self._neuron = snntorch.Leaky(beta=decay, threshold=THRESHOLD).to(device)
        self._weights = tensor(network.weights).T.contiguous()
        self._gain, self._bias = 1 - decay, tensor(network.bias)
        self.potential = torch.zeros(batch, network.neurons, device=device)
        self.spikes = torch.zeros(batch, network.neurons, device=device)

    @torch.no_grad()
    def step(self, current: torch.Tensor) -> torch.Tensor:
        """Spikes (batch, neurons) of the next step, given the input current (batch, neurons)."""
        drive = self.spikes @ self._weights + self._gain * (self._bias + current)
        self.spikes, self.potential = self._neuron(drive, self.potential)
        return self.spikes


@dataclass(frozen=True)
class Activity:
    """What a network does when noise alone drives it.

    Attributes:
        potentials: (steps, neurons).
        rates: spikes of each neuron in a step (neurons,).
        operations: synaptic operations in a step, spikes times fan-out.
    """

    potentials: np.ndarray
    rates: np.ndarray
    operations: float

    def gains(self) -> np.ndarray:
        """Surrogate derivatives of the spikes by the potentials (steps, neurons)."""
        return surrogate(self.potentials - THRESHOLD)


def surrogate(distance: np.ndarray) -> np.ndarray:
    """Derivative of the fast sigmoid at a distance from the threshold."""
    return 1 / (1 + STEEPNESS * np.abs(distance)) ** 2


def noise_driven(network: Recurrent, noise: float, steps: int, seed: int, settle: int = 0) -> Activity:
    """Run a network on white noise.

    Args:
        network: of which neurons of the same origin get the same noise.
        noise: standard deviation of the current, in units of the threshold.
        steps: that count.
        seed: of the noise.
        settle: steps before, which do not.
    """
    rng = np.random.default_rng(seed)
    simulation = Simulation(network)
    potentials, spikes = [], []
    for step in range(settle + steps):
        current = noise * rng.standard_normal(network.original)[network.origin]
        fired = simulation.step(torch.as_tensor(current, dtype=torch.float32)[None])
        if step >= settle:
            potentials.append(simulation.potential[0].double().numpy())
            spikes.append(fired[0].double().numpy())
    rates = np.mean(spikes, axis=0)
    return Activity(np.array(potentials), rates, float(rates @ network.fan_out))


def jacobians(network: Recurrent, activity: Activity, device: torch.device | str = "cpu") -> Iterator[torch.Tensor]:
    """J(t) (neurons, neurons) along a run, float64."""
    coupling = torch.as_tensor(network.weights - THRESHOLD * np.eye(network.neurons), device=device)
    leak = torch.as_tensor(np.diag(network.decay), device=device)
    for gain in torch.as_tensor(activity.gains(), device=device):
        yield leak + coupling * gain[None, :]
