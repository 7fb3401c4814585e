"""Learnable masks on weights and neurons, with the power proxy as what they cost."""

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

import torch
from torch.nn.utils import parametrize

from spandex.errors import SpandexError
from spandex.metrics.power import NEURONOP_WEIGHT
from spandex.sparsify.chain import Link, chain, heard
from spandex.sparsify.event_counts import events_met, newest
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.weights import SynapseWeight, synapse_weights

START = 0.95  # factor of every mask in the beginning, so that the slope of the sigmoid is not lost
FEEDBACK = 10.0  # e-folds of the penalty for each share of the weights that is lacking to a target
MEMORY = 0.9  # share of the event rates so far in their running mean


class SynapseMask(torch.nn.Module):
    """Parametrisation of a weight: v sigmoid(beta a_w) sigmoid(beta a_n), then v where it is kept and 0 elsewhere.

    Attributes:
        weight_scores: a_w, of the weight's shape, or None.
        neuron_scores: a_n, (senders,), shared by all synapses from the same neurons, or None.
        column: dimension of the weight that counts its inputs.
        keep: boolean of the weight's shape, in use once ``hard``.
        rates: operations a step of each weight from an input, running mean, (inputs,).
        batches: how many it is of.
        updates: operations a step of the neurons that make an input, where no other synapse counts them.
        beta: steepness of the sigmoids.
    """

    def __init__(
        self, weight: torch.Tensor, column: int, weights: bool, neuron_scores: torch.nn.Parameter | None, beta: float
    ):
        super().__init__()
        self.beta = beta
        self.hard = False
        self.updates = 0.0
        self.column = column
        self.weight_scores = torch.nn.Parameter(torch.full_like(weight, _start(beta))) if weights else None
        self.neuron_scores = neuron_scores
        self.register_buffer("keep", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("rates", weight.new_zeros(weight.shape[column]))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def soft(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors of the weights, of their shape or a number, and of the inputs, (inputs,)."""
        by_weight, by_neuron = (
            self.rates.new_ones(1) if scores is None else torch.sigmoid(self.beta * scores)
            for scores in (self.weight_scores, self.neuron_scores)
        )
        return by_weight, self._spread(by_neuron)

    def score(self) -> torch.Tensor:
        """The lower one of each weight's score and its sender's, of the weight's shape."""
        lowest = torch.full_like(self.keep, torch.inf, dtype=self.rates.dtype)
        by_input = None if self.neuron_scores is None else self._columns(self._spread(self.neuron_scores))
        for scores in (self.weight_scores, by_input):
            lowest = lowest if scores is None else torch.minimum(lowest, scores.detach())
        return lowest

    def cost(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Operations a step: what the scores cost, and all of them."""
        by_weight, by_input = self.soft()
        cost, living = by_input.new_zeros(()), self._of_each_input(self.keep)
        whole = (self.updates + self.rates * living).sum()
        if self.weight_scores is not None:
            cost = cost + (self.rates * self._of_each_input(by_weight)).sum()
            living = self._of_each_input(self.weight_scores > 0)
        if self.neuron_scores is not None:
            cost = cost + ((self.updates + self.rates * living) * by_input).sum()
        return cost, whole

    def measure(self, events: torch.Tensor) -> None:
        """Keep the running mean of the events a step that weights to one neuron meet, of their shape."""
        self.batches += 1
        self.rates.lerp_(events.transpose(0, self.column).flatten(1).mean(1), newest(int(self.batches), MEMORY))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        by_weight, by_neuron = self.soft()
        if not self.hard:
            return weight * by_weight * self._columns(by_neuron)
        # Scores without a gradient would stop training in several processes.
        return weight.masked_fill(~self.keep, 0.0) + 0.0 * (by_weight.sum() + by_neuron.sum())

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        by_weight, by_neuron = self.soft()
        return weight / (by_weight * self._columns(by_neuron))

    def _spread(self, senders: torch.Tensor) -> torch.Tensor:
        """A value for each sender, or one for all, as one for each input: flattening makes several of a sender."""
        return senders.repeat_interleave(len(self.rates) // len(senders))

    def _columns(self, inputs: torch.Tensor) -> torch.Tensor:
        """A value for each input, (inputs,), as a factor on the weight."""
        return inputs.reshape(-1, 1, 1, 1, 1).transpose(0, self.column)

    def _of_each_input(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of what is of the weight's shape, (inputs,)."""
        return values.transpose(0, self.column).flatten(1).sum(1)


class MaskSearch(Sparsifier):
    """Learns which weights and which hidden neurons a network can do without, while it trains.

        search = MaskSearch(network, lam=1.0, steps=500, target=0.75)
        optimizer = torch.optim.RAdam(network.parameters())
        for batch in batches:
            loss = ...
            penalty = search.penalty()
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
            search.step()
        search.remove()
        small = shrink(network)

    Until the iteration ``steps``, a weight is multiplied by sigmoid(beta a_w) sigmoid(beta a_n) with a score for
    itself and one for the hidden neuron that sends to it, and beta grows as initial (final / initial)^(k / steps).
    Then weights of a score above zero stay whole and the others are zero; of a neuron with a score of zero or less all
    incoming and outgoing weights and the bias are. What the masks cost is

        lam / C (sum r sigmoid(beta a_w) + sum (10 + r n) sigmoid(beta a_n))

    with r the sender's events a step, n its outgoing weights of a score above zero, and C the power proxy of the
    network without masks, (sum r + 10 neurons) a step; r is a running mean of what the training batches cause. Of a
    convolution a neuron is a channel, which costs 10 for each of its positions, and r the operations of a weight, mean
    over its kernel.

    With ``target``, the search ends with the weights of the lowest scores zero, exactly as many as the target tells,
    and lam is multiplied by e^(10 (wanted - present)), where ``wanted`` grows in proportion to the iteration up to the
    target, and ``present`` is the share of weights whose score, or that of a neuron of theirs, is not above zero.

    All scores begin where the sigmoid is 0.95, and weights are divided by that, so that the network does what it did.
    An optimiser such as Adam moves a score by about its learning rate a step, whatever the size of the gradient: the
    initial beta times the learning rate sets how soon the first scores are below zero, after some 15 steps at 200 and
    0.001 (RAdam warms up and takes about 90). Where beta is so large that sigmoids are flat, scores stay where they
    are: with a target, the final beta should be no more than a few times the initial one.

    Source: Shi, Ding, Hao and Yu, "Towards energy efficient spiking neural networks: an unstructured pruning
    framework", ICLR 2024, where the cost is in connections and all scores begin at zero; the power proxy is that of
    Timcheck et al. 2023, arXiv:2303.09503.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        lam: float,
        steps: int,
        *,
        target: float | None = None,
        beta: tuple[float, float] = (200.0, 400.0),
        weights: bool = True,
        neurons: bool = True,
    ):
        """
        Args:
            network: lava-dl dense, recurrent, convolution, affine and output blocks, each of which feeds the next in
                order of registration.
            lam: of the penalty, in units of the loss: what the power of the whole network costs.
            steps: the iteration, counted from 0, at which masks become hard.
            target: share of the weights that is zero then; what the scores tell if not given.
            beta: initial and final steepness.
            weights: whether weights have scores.
            neurons: whether hidden neurons have.

        Raises:
            SpandexError: the network is no such chain or normalises its weights, ``lam``, ``steps`` or ``beta`` are
                not positive, ``target`` is not between 0 and 1, or nothing has scores.
        """
        if lam <= 0 or steps < 1 or min(beta) <= 0:
            raise SpandexError(f"mask search: lam {lam:g}, steps {steps} and beta {beta} must be above 0")
        if target is not None and not 0 <= target < 1:
            raise SpandexError(f"mask search: target sparsity {target:g} is not between 0 and 1")
        synapse_weights(network)  # says if it is parametrised already
        self._links = chain(network)
        if not weights and not (neurons and len(self._links) > 1):
            raise SpandexError("mask search: neither weights nor hidden neurons have scores")
        synapses = [(name, part) for link in self._links for name, part in (link.incoming | link.recurrent).items()]
        for name, synapse in synapses:
            if "weight" not in synapse._parameters:
                raise SpandexError(f"{name}: masks are learnt on weights without weight normalisation")
        self.lam = lam
        self.target = target
        self.beta = beta
        self.weights, self.neurons = weights, neurons
        self.iteration = 0
        self.steps = steps
        self._strength = lam  # of the penalty, now
        self._neuron_scores = {}
        self._masks = {}
        self._final: list[torch.Tensor] = []  # scores by synapse, as they were when masks became hard
        self._hooks = []
        before = None
        for link, following in zip_longest(self._links, self._links[1:]):
            if neurons and following is not None:
                scores = link.synapse.weight.new_full((link.neurons,), _start(beta[0]))
                self._neuron_scores[link.name] = torch.nn.Parameter(scores)
            for parts, senders in ((link.incoming, before), (link.recurrent, link)):
                for name, synapse in parts.items():
                    scores = senders and self._neuron_scores.get(senders.name)
                    mask = SynapseMask(synapse.weight, 1 - link.row, weights, scores, beta[0])
                    self._hooks += SynapseWeight(synapse).mask_gradients(lambda mask=mask: mask.keep)
                    parametrize.register_parametrization(synapse, "weight", mask)
                    self._masks[name] = mask
            self._first(link).updates = NEURONOP_WEIGHT
            self._hooks.append(link.block.register_forward_hook(self._measure(link, following)))
            before = link

    def __repr__(self) -> str:
        return (
            f"MaskSearch(lam={self.lam:g}, steps={self.steps}, target={self.target}, beta={self.beta}, "
            f"weights={self.weights}, neurons={self.neurons})"
        )

    @property
    def done(self) -> bool:
        return self.iteration > self.steps

    @property
    def searches(self) -> bool:
        return not self.done

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """Boolean tensors by layer, of the weights' shapes; False: pruned. All True until the search is done."""
        return {name: mask.keep for name, mask in self._masks.items()}

    def penalty(self) -> torch.Tensor | None:
        """What the masks cost, None once they are hard."""
        if self.done:
            return None
        cost, whole = (sum(part) for part in zip(*(mask.cost() for mask in self._masks.values()), strict=True))
        return self._strength / whole * cost

    def step(self) -> None:
        """Make the sigmoids steeper, or the masks hard."""
        if self.iteration == self.steps:
            self._harden()
        self.iteration += 1
        self._set()

    @torch.no_grad()
    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks by synapse that leave out the weights of the lowest scores; once hard, as these were then."""
        scores = self._final or self._scores()
        order = torch.cat([score.flatten() for score in scores]).argsort(stable=True)
        flat = torch.ones_like(order, dtype=torch.bool)
        flat[order[: round(sparsity * len(order))]] = False
        parts = flat.split([score.numel() for score in scores])
        return {
            name: part.reshape(mask.keep.shape) for (name, mask), part in zip(self._masks.items(), parts, strict=True)
        }

    def prune(self, sparsity: float) -> None:
        """Search for masks of another sparsity from now on; once they are hard, make them sparser by the scores."""
        self.target = sparsity
        if self.done:
            self._take(self.choose(sparsity))
            self._clear_biases()

    @torch.no_grad()
    def remove(self) -> None:
        """Leave the plain network, with the weights as they are used now."""
        super().remove()
        for link in self._links:
            for weight in link.weights.values():
                parametrize.remove_parametrizations(weight.synapse, "weight")

    def state_dict(self) -> dict[str, Any]:
        """Position, target and final scores; scores, masks and event rates are in the network's state dict."""
        return {"iteration": self.iteration, "target": self.target, "final": [score.clone() for score in self._final]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; the network's own state dict must be in it already."""
        if "iteration" not in state:
            raise SpandexError(f"not the state of a MaskSearch: it holds {', '.join(state) or 'nothing'}")
        self.iteration, self.target = state["iteration"], state["target"]
        self._final = [score.to(scores.device) for score, scores in zip(state["final"], self._scores(), strict=False)]
        self._set()

    def _set(self) -> None:
        initial, final = self.beta
        for mask in self._masks.values():
            mask.beta = initial * (final / initial) ** min(self.iteration / self.steps, 1.0)
            mask.hard = self.done
        if self.done:
            self._clear_biases()
        elif self.target is not None:
            lacking = self.target * self.iteration / self.steps - self._share_below_zero()
            self._strength = self.lam * math.exp(FEEDBACK * lacking)

    @torch.no_grad()
    def _scores(self) -> list[torch.Tensor]:
        """The lowest of each weight's score and its neurons', by synapse."""
        scores = {name: mask.score() for name, mask in self._masks.items()}
        for link in self._links[:-1] if self.neurons else ():
            own = link.of_neurons(self._neuron_scores[link.name])
            scores |= {name: torch.minimum(scores[name], own) for name in link.weights}
        return list(scores.values())

    def _share_below_zero(self) -> float:
        scores = self._scores()
        return sum(int((score <= 0).sum()) for score in scores) / sum(score.numel() for score in scores)

    def _harden(self) -> None:
        self._final = self._scores()
        if self.target is None:
            self._take({name: score > 0 for name, score in zip(self._masks, self._final, strict=True)})
        else:
            self._take(self.choose(self.target))

    @torch.no_grad()
    def _take(self, masks: Mapping[str, torch.Tensor]) -> None:
        for name, mask in self._masks.items():
            mask.keep.copy_(masks[name])

    @torch.no_grad()
    def _clear_biases(self) -> None:
        """A neuron without a way to the output has no bias, so that it sends no events."""
        kept = heard(self._links, self.masks)
        for link in self._links[:-1]:
            bias = getattr(link.block.neuron, "bias", None)
            if bias is not None and bias.shape[0] == link.neurons:
                bias[~kept[link.name]] = 0.0

    def _first(self, link: Link) -> SynapseMask:
        """The one of a layer's masks that counts the neurons of the layer before."""
        return self._masks[next(iter(link.incoming))]

    def _measure(self, link: Link, following: Link | None):
        """A hook that measures events in training."""

        @torch.no_grad()
        def hook(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            if not block.training or self.done:
                return
            for name, weight in link.weights.items():
                events = events_met(weight.synapse, output if name in link.recurrent else inputs[0])
                self._masks[name].measure(events / (len(output) * output.shape[-1]))
            counted = [(link, inputs[0])] if link is self._links[0] else []
            for layer, sent in [*counted, *([(following, output)] if following else [])]:
                self._first(layer).updates = NEURONOP_WEIGHT * sent.shape[1:-1].numel() / layer.inputs

        return hook


def _start(beta: float) -> float:
    """The score whose sigmoid is ``START``."""
    return math.log(START / (1 - START)) / beta
