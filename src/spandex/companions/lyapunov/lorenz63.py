"""Prediction of Lorenz's attractor by a recurrent spiking network with a trained linear readout."""

from typing import Any

import numpy as np
import torch

from spandex.companions.lyapunov import attractor
from spandex.companions.lyapunov.network import Recurrent, Simulation, input_weights
from spandex.companions.lyapunov.readout import Readout
from spandex.companions.lyapunov.variants import run_variants
from spandex.companions.work import Work
from spandex.params.companions.lyapunov import Lorenz63, Lyapunov

TRACE = 5.0  # steps, time constant of the filter through which the readout sees spikes
INPUTS, TRAJECTORY, TEST = 11, 12, 13  # offsets of seeds


def run(settings: Lyapunov, work: Work) -> dict[str, Any]:
    """Errors, valid prediction times and synaptic operations of all variants, for one seed."""
    task = Prediction(settings.lorenz63, settings.network.neurons, settings.network.input_strength, work.seed)
    return run_variants(settings, work, task)


class Reservoir:
    """A running network with the filtered spikes that the readout sees."""

    def __init__(self, network: Recurrent, inputs: np.ndarray, batch: int = 1):
        self.simulation = Simulation(network, batch)
        self.currents = inputs[network.origin]
        self.trace = np.zeros((batch, network.neurons))

    def step(self, states: np.ndarray) -> np.ndarray:
        """Filtered spikes (batch, neurons) after an input (batch, 3)."""
        current = torch.as_tensor(states @ self.currents.T, dtype=torch.float32)
        self.spikes = self.simulation.step(current).numpy()
        self.trace = np.exp(-1 / TRACE) * self.trace + self.spikes
        return self.trace


class Prediction:
    """The task: the attractor's states, standardised, one a step of the network.

    Attributes:
        settings: sizes.
        train, test: states (steps, 3).
        inputs: fixed random weights (neurons of the unpruned network, 3).
    """

    def __init__(self, settings: Lorenz63, neurons: int, strength: float, seed: int):
        self.settings = settings
        forecast = max(settings.forecast_steps, settings.horizon)
        states = attractor.trajectory(settings.washout + settings.train, settings.interval, 1000 * seed + TRAJECTORY)
        later = attractor.trajectory(settings.washout + settings.test + forecast, settings.interval, 1000 * seed + TEST)
        mean, scale = states.mean(axis=0), states.std(axis=0)
        self.train, self.test = (states - mean) / scale, (later - mean) / scale
        self.inputs = input_weights(neurons, 3, strength, 1000 * seed + INPUTS)

    def rates(self, network: Recurrent) -> np.ndarray:
        """Spikes of each neuron in a step (neurons,) while the training states are shown."""
        return self._features(network, self.train)[1]

    def score(self, network: Recurrent) -> dict[str, float]:
        """Train a readout and test it.

        Returns:
            rmse: of the states ``horizon`` steps ahead, in standard deviations of the attractor.
            persistence_rmse: the same of the present state as a prediction.
            valid_time: Lyapunov times for which a forecast that feeds on itself stays within ``tolerance``, on average.
            operations: synaptic operations in a step, those of the readout included.
        """
        s = self.settings
        traces, _ = self._features(network, self.train)
        seen = self.train[s.washout :]
        ahead = Readout.fit(traces[: -s.horizon], seen[s.horizon :])
        change = Readout.fit(traces[:-1], np.diff(seen, axis=0))

        starts = np.linspace(s.washout, s.washout + s.test - 1, s.forecasts).round().astype(int)
        shown = self.test[: s.washout + s.test]
        reservoir = Reservoir(network, self.inputs)
        tests, spikes, saved = [], [], {}
        for step, state in enumerate(shown):
            trace = reservoir.step(state[None])
            if step >= s.washout:
                tests.append(trace[0])
                spikes.append(reservoir.spikes[0])
            if step in set(starts):
                saved[step] = (reservoir.simulation.potential[0], reservoir.simulation.spikes[0], trace[0])
        true = self.test[s.washout + s.horizon : s.washout + s.test + s.horizon]
        now = shown[s.washout :]
        rates = np.mean(spikes, axis=0)
        return {
            "rmse": _rmse(ahead(np.array(tests)), true),
            "persistence_rmse": _rmse(now, true),
            "valid_time": self._valid_time(network, change, starts, saved),
            "operations": float(rates @ (network.fan_out + 3)),
        }

    def _features(self, network: Recurrent, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Traces (steps, neurons) and rates (neurons,) after the washout."""
        reservoir = Reservoir(network, self.inputs)
        traces, spikes = [], []
        for state in states:
            traces.append(reservoir.step(state[None])[0])
            spikes.append(reservoir.spikes[0])
        washout = self.settings.washout
        return np.array(traces[washout:]), np.mean(spikes[washout:], axis=0)

    def _valid_time(self, network: Recurrent, change: Readout, starts: np.ndarray, saved: dict[int, tuple]) -> float:
        s = self.settings
        reservoir = Reservoir(network, self.inputs, len(starts))
        potentials, spikes, traces = zip(*(saved[start] for start in starts), strict=True)
        reservoir.simulation.potential, reservoir.simulation.spikes = torch.stack(potentials), torch.stack(spikes)
        reservoir.trace = np.array(traces)
        states = self.test[starts]
        valid = np.zeros(len(starts))
        good = np.ones(len(starts), bool)
        for step in range(1, s.forecast_steps + 1):
            # A forecast that has left the attractor must not overflow.
            states = np.clip(states + change(reservoir.trace), -10, 10)
            error = np.sqrt(np.mean((states - self.test[starts + step]) ** 2, axis=1))
            good &= error <= s.tolerance
            valid[good] = step
            if not good.any():
                break
            reservoir.step(states)
        return float(valid.mean() * s.interval * attractor.LARGEST_EXPONENT)


def _rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - true) ** 2)))
