"""Pruning by what a weight gives and what it costs: those go first that do least to the loss for an operation."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.metrics.power import NEURONOP_WEIGHT
from spandex.sparsify.chain import Link, chain, clear_shifts, ends
from spandex.sparsify.event_counts import EventRates
from spandex.sparsify.pruner import Pruner
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.smallest import Tensors

MEMORY = 0.97  # share of what was seen so far in the running means
LEAST = 0.001  # events a step that a weight is taken to meet at least


@dataclass
class Seen:
    """What training showed of a layer.

    Attributes:
        squares: (w dL/dw)^2, running mean, of the weights' shape.
        weight: as it was in the last forward pass, until ``step``.
    """

    squares: torch.Tensor
    weight: torch.Tensor | None = None


class SaliencyPruner(Pruner):
    """Prunes the weights with the lowest loss per operation while a network trains, and neurons by the same rule.

        pruner = SaliencyPruner(network, Cubic(0.85, steps=1500, frequency=10))
        for batch in batches:
            optimizer.zero_grad()
            ...
            optimizer.step()
            pruner.step()

    A weight w that meets r events a step goes by its saliency

        s = sqrt(E[(w dL/dw)^2]) / r^p

    with E and r running means over training batches, and dL/dw the gradient that the optimiser got. To first order,
    w dL/dw is what the loss changes by without the weight, and r the synaptic operations a step that this saves. At
    p = 1/2 that is loss squared for an operation, at p = 1 loss. In a convolution r counts all positions at which the
    weight is used.

    With ``neurons``, a hidden neuron is compared with the weights in units of s^(1/p), something per operation at any
    p: it goes, with all its weights, when

        sum E[(w dL/dw)^2]^(1/2p) / (10 n + sum r + sum r') < s^(1/p)

    with s the largest of the weights that go, the first two sums over its living outgoing weights, the third over its
    living incoming ones, and n its positions, 1 in a dense layer: n neuron updates of 10 operations each. So does
    one without living incoming or outgoing weights. The highest of each layer is not compared, but its weights may go
    one by one; where that leaves a layer without a living neuron, the network is cut, which is refused. Weights of
    neurons count in the sparsity, which is exact: the neuron at the limit may lose some of its weights.

    A batch without a gradient, as one that was skipped, changes no mean. Forward passes in training mode count. Zeros
    that the network comes with count in the sparsity; it is the least salient weights that go, these or others.

    Sources: Molchanov et al., "Pruning convolutional neural networks for resource efficient inference", 2017, and
    "Importance estimation for neural network pruning", 2019 (the first-order criterion and its square); Zhu and Gupta
    2017 (gradual pruning); Timcheck et al. 2023, arXiv:2303.09503 (what a neuron costs).
    """

    def __init__(
        self,
        network: torch.nn.Module,
        schedule: Schedule,
        *,
        exponent: float = 1.0,
        neurons: bool = False,
        scope: str = "global",
    ):
        """
        Args:
            network: lava-dl dense and convolution blocks that feed one another in order of registration.
            schedule: how many of their weights, when.
            exponent: p, of what a weight costs, from 0.5 to 1.
            neurons: whether hidden neurons go, too.
            scope: "global" or "layer", as for ``Pruner``.

        Raises:
            SpandexError: the exponent is not in that range, or the network is no such chain, has weights that are
                normalised or do not train, or is sparser than the target already.
        """
        if not 0.5 <= exponent <= 1:
            raise SpandexError(f"saliency: exponent {exponent:g} is not between 0.5 and 1")
        self._links = chain(network)
        for link in self._links:
            if len(link.weights) > 1:
                raise SpandexError(f"{link.name}: saliency takes no complex or recurrent layers")
            weight = link.synapse._parameters.get("weight")
            if weight is None or not weight.requires_grad:
                raise SpandexError(f"{link.name}: saliency takes weights that train, without weight normalisation")
        super().__init__(network, schedule, scope=scope)
        self.exponent = exponent
        self.neurons = neurons
        self._seen = {link.name: Seen(torch.zeros_like(link.synapse.weight.detach())) for link in self._links}
        self._rates = EventRates(self._links, MEMORY)
        self._hooks += self._rates.hooks
        self._hooks += [link.block.register_forward_pre_hook(self._look(link)) for link in self._links]

    def __repr__(self) -> str:
        settings = {"exponent": self.exponent, "neurons": self.neurons, "scope": self.scope}
        constants = {"memory": MEMORY, "least": LEAST, "neuronop": NEURONOP_WEIGHT}
        return self._describe(**settings, **constants, layers=list(self.masks))

    def counts(self) -> Iterable[torch.Tensor]:
        """Events of the last batch in every layer, and its steps."""
        return self._rates.counts()

    def step(self) -> None:
        self._learn()
        super().step()

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks of the most salient weights.

        Raises:
            SpandexError: there was no gradient yet to choose by.
        """
        if not self.batches:
            if sparsity > self.schedule.initial:
                raise SpandexError(
                    f"saliency: no gradient in {self.iteration + 1} steps; step() comes after those of a training "
                    "batch, in training mode, and before gradients are cleared"
                )
            return self.masks
        scores = self.scores()
        masks = self.rank(scores, sparsity)
        while self.neurons and self._give_up(scores, masks):
            masks = self.rank(scores, sparsity)
        return masks

    @property
    def batches(self) -> int:
        """Of which there are means."""
        return self._rates.batches

    @torch.no_grad()
    def scores(self) -> dict[str, torch.Tensor]:
        """s^(1/p) of each weight, by layer; that of its neuron or its sender, if that is lower and neurons go."""
        gives = {name: seen.squares ** (0.5 / self.exponent) for name, seen in self._seen.items()}
        costs = {name: rate.clamp(min=LEAST).expand_as(gives[name]) for name, rate in self._rates.means.items()}
        scores = {name: gives[name] / costs[name] for name in gives}
        if self.neurons:
            of_neurons = self._neuron_scores(gives, costs)
            for link, (rows, columns) in zip(self._links, ends(self._links, of_neurons, torch.inf), strict=True):
                lowest = torch.minimum(link.of_neurons(rows), link.of_inputs(columns))
                scores[link.name] = torch.minimum(scores[link.name], lowest)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """As of ``Pruner``, with both running means and the number of batches that they are of."""
        squares = {name: seen.squares.clone() for name, seen in self._seen.items()}
        means = {"squares": squares, "rates": self._rates.state_dict()}
        return super().state_dict() | means | {"batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same layers."""
        super().load_state_dict(state)
        self._rates.load_state_dict(state["rates"], state["batches"])
        for name, seen in self._seen.items():
            seen.squares.copy_(state["squares"][name])

    def _look(self, link: Link) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
        """A hook that keeps a layer's weight as training uses it: the optimiser will move it."""

        def hook(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if block.training:
                self._seen[link.name].weight = link.synapse.weight.detach().clone()

        return hook

    @torch.no_grad()
    def _learn(self) -> None:
        """Take what the batch showed into the running means, unless it was skipped."""
        gradients = [link.synapse.weight.grad for link in self._links]
        share = self._rates.learn(all(gradient is not None for gradient in gradients))
        for seen, gradient in zip(self._seen.values(), gradients, strict=True):
            if share is not None:
                seen.squares.lerp_((seen.weight * gradient).square(), share)
            seen.weight = None

    def _neuron_scores(self, gives: Tensors, costs: Tensors) -> dict[str, torch.Tensor]:
        """What each hidden neuron gives for an operation, (neurons,) by layer."""
        gives, costs = ({name: values[name] * mask for name, mask in self.masks.items()} for values in (gives, costs))
        scores = {}
        for link, following in pairwise(self._links):
            given, sent = (link.per_sender(values, following).sum(dim=1) for values in (gives, costs))
            received = link.per_neuron(costs).sum(dim=1)
            score = given / (NEURONOP_WEIGHT * math.prod(link.block.shape[1:]) + sent + received)
            score[score.argmax()] = torch.inf
            scores[link.name] = score
        return scores

    def _alive(self, masks: Tensors) -> dict[str, torch.Tensor]:
        """Which hidden neurons have incoming and outgoing weights, (neurons,) by layer."""
        return {
            link.name: link.per_neuron(masks).any(dim=1) & link.per_sender(masks, following).any(dim=1)
            for link, following in pairwise(self._links)
        }

    def _give_up(self, scores: dict[str, torch.Tensor], masks: Tensors) -> bool:
        """Set the scores of neurons without incoming or outgoing weights to zero; whether that changes the masks."""
        alive, found = self._alive(masks), False
        for link, (rows, columns) in zip(self._links, ends(self._links, alive), strict=True):
            idle = ~link.masks(rows, columns)[link.name]
            found |= bool((masks[link.name] & idle & (scores[link.name] > 0)).any())
            scores[link.name][idle] = 0.0
        return found

    def _take(self, sparsity: float) -> None:
        super()._take(sparsity)
        for name, alive in self._alive(self.masks).items():
            if not alive.any():
                raise SpandexError(
                    f"saliency: at a sparsity of {sparsity:.4g} {name} has no living neuron, which cuts the network; "
                    "prune less"
                )

    def _hold(self) -> None:
        super()._hold()
        if self.neurons:
            clear_shifts(self._links, self.masks)
