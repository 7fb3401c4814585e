"""Events, synaptic operations and the challenge's proxies for power and power-delay product."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from lava.lib.dl.slayer.synapse import layer as synapse

from spandex.errors import SpandexError
from spandex.metrics.weights import nonzero

NEURONOP_WEIGHT = 10  # synaptic operations that a neuron update costs (Timcheck et al. 2023, arXiv:2303.09503)


@dataclass(frozen=True)
class LayerActivity:
    """Activity of one synaptic layer, means over clips and steps.

    Attributes:
        name: the block's place in the network.
        events_per_step: events that enter the layer.
        synops_per_step: sum over these events of the fan-out of the neuron that sent each: its outgoing weights that
            are not zero, see ``spandex.metrics.weights``.
    """

    name: str
    events_per_step: float
    synops_per_step: float


@dataclass(frozen=True)
class Activity:
    """Activity of a network.

    Attributes:
        steps: network steps over all clips.
        layers: one entry a synaptic layer.
        neuronops_per_step: neurons whose events enter a synapse; the challenge counts every block but the last.
    """

    steps: int
    layers: tuple[LayerActivity, ...]
    neuronops_per_step: int

    @property
    def synops_per_step(self) -> float:
        return sum(layer.synops_per_step for layer in self.layers)


class EventCounter:
    """Counts the events that enter every synapse of ``network.blocks`` while the context is open.

    With the float weights that they meet this is how SPANDEX counted its published networks on test set 1; the
    deployed network is counted by ``spandex.deploy.Executor``. Any network of lava-dl sigma-delta blocks with dense
    synapses will do::

        with EventCounter(network) as counter:
            for clip in clips:
                network(clip)
        counter.activity()

    A block's output is what enters the next synapse: delta events after step and axonal delay. An event that a
    delay carries beyond the end of a clip is not counted.

    Source: prune_evaluate.py of Michaeljurado42/SPANDEX, baseline_solution/sdnn_delays ("exact synops").

    Raises:
        SpandexError: a block has a synapse that is not dense.
    """

    def __init__(self, network: torch.nn.Module):
        self._blocks = {
            str(i): block for i, block in enumerate(network.blocks) if getattr(block, "synapse", None) is not None
        }
        for name, block in self._blocks.items():
            if not isinstance(block.synapse, synapse.Dense):
                raise SpandexError(f"block {name}: events are counted for dense synapses, not {block.synapse}")
        self._events = {
            name: torch.zeros(block.synapse.in_channels, dtype=torch.int64) for name, block in self._blocks.items()
        }
        self._steps = 0
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        first = next(iter(self._blocks))
        for name, block in self._blocks.items():
            self._hooks.append(block.register_forward_pre_hook(self._count(name, count_steps=name == first)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _count(self, name: str, count_steps: bool):
        def hook(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            events = inputs[0].detach()  # (batch, neurons, ..., steps), the dots of size one
            self._events[name] += (events.flatten(2) != 0).sum(dim=(0, 2)).cpu()
            if count_steps:
                self._steps += events.shape[0] * events.shape[-1]

        return hook

    def activity(self) -> Activity:
        """What has been counted so far, with the fan-out of the float weights as they are now.

        Raises:
            ValueError: nothing has been counted.
        """
        if not self._steps:
            raise ValueError("no forward pass has been counted")
        layers = tuple(self._layer(name, block) for name, block in self._blocks.items())
        return Activity(self._steps, layers, sum(len(events) for events in self._events.values()))

    def _layer(self, name: str, block: torch.nn.Module) -> LayerActivity:
        events = self._events[name]
        fan_out = nonzero(block.synapse.weight).flatten(1).sum(dim=0).cpu()
        return LayerActivity(
            name=name,
            events_per_step=int(events.sum()) / self._steps,
            synops_per_step=int((events * fan_out).sum()) / self._steps,
        )


def power_proxy(synops_per_step: float, neuronops_per_step: float, hop_s: float) -> float:
    """(SynOps + 10 NeuronOps) / hop time, in operations a second (challenge: effective SynOps rate)."""
    return (synops_per_step + NEURONOP_WEIGHT * neuronops_per_step) / hop_s


def pdp_proxy(power_ops_per_s: float, latency_s: float) -> float:
    """Power-delay product: power proxy times latency, in operations."""
    return power_ops_per_s * latency_s
