"""What lives: found by learnable scores, or by magnitude."""

from collections.abc import Callable

import torch

from spandex.companions.masks.connections import costs
from spandex.companions.masks.mask import Mask
from spandex.companions.masks.network import SpikingConvNet
from spandex.sparsify.schedule import Cubic
from spandex.sparsify.smallest import magnitude


class Search:
    """Learns the masks of a network together with its weights.

        penalty = lam / C (sum c_w sigmoid(beta alpha_w) + sum c_n sigmoid(beta alpha_n))
        beta[k] = initial (final / initial)^(k / steps)

    with C the connections of the dense network and c how many of them the weight makes or the neuron sends to.
    All alpha begin at zero.

    Source: Shi et al., ICLR 2024, whose penalty is not divided by C.
    """

    def __init__(
        self,
        network: SpikingConvNet,
        lam: float,
        beta: tuple[float, float],
        steps: int,
        weights: bool = True,
        neurons: bool = True,
    ):
        """
        Args:
            network: not under search yet; its masks get scores, which an optimiser made from now on learns.
            lam: weight of the penalty; with 1, all connections of the dense network cost 1.
            beta: initial and final steepness.
            steps: of the optimiser, until beta is final.
            weights: whether weights have scores.
            neurons: whether the neurons of the convolutional layers have.
        """
        cost = costs(network)
        self._masks: list[tuple[Mask, torch.Tensor]] = []
        for layer, by_weight, by_neuron in zip(network.layers, cost.weights, cost.neurons, strict=True):
            if weights:
                self._masks.append((layer.weights, by_weight))
            if neurons and len(layer.neurons.shape) == 3:
                self._masks.append((layer.neurons, by_neuron))
        device = network.layers[0].synapse.weight.device
        self._masks = [(mask, (lam / cost.connections * c).float()) for mask, c in self._masks]
        self._beta, self._steps = beta, steps
        for mask, _ in self._masks:
            mask.search(device)
        self.step(0)

    def penalty(self) -> torch.Tensor:
        """What the living weights and neurons cost, in units of the loss."""
        return sum((cost * mask.soft()).sum() for mask, cost in self._masks)

    def step(self, done: int) -> None:
        """Set beta for the step after ``done`` of them."""
        initial, final = self._beta
        for mask, _ in self._masks:
            mask.beta = initial * (final / initial) ** min(done / self._steps, 1)

    def end(self) -> None:
        """Leave what has a score above zero, and take the rest out."""
        for mask, _ in self._masks:
            mask.harden()


def magnitude_pruning(network: SpikingConvNet, target: float, steps: int) -> Callable[[int], None]:
    """What to call after each step of the optimiser so that the smallest weights of the network go, a few at a time.

    The share follows ``Cubic``; all layers compete.
    """
    schedule, layers = Cubic(target, steps, 1), dict(enumerate(network.layers))

    def prune(done: int) -> None:
        if done > steps:
            return
        weights = {number: layer.synapse.weight for number, layer in layers.items()}
        alive = {number: layer.weights.alive(weights[number]) > 0 for number, layer in layers.items()}
        for number, keep in magnitude(weights, alive, schedule(done)).items():
            layers[number].weights.keep = keep.reshape(layers[number].weights.shape)

    return prune
