"""Learnable masks on weights and neurons, with the power proxy as what they cost."""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from lava.lib.dl import slayer
from torch.nn.utils import parametrize

from spandex.errors import SpandexError
from spandex.metrics.power import NEURONOP_WEIGHT
from spandex.sparsify.chain import chain
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.weights import synapse_weights

START = 0.95  # factor of every mask in the beginning, so that the slope of the sigmoid is not lost
FEEDBACK = 10.0  # e-folds of the penalty for each share of the weights that is lacking to a target
MEMORY = 0.9  # share of the event rates so far in their running mean


class SynapseMask(torch.nn.Module):
    """Parametrisation of a weight: v sigmoid(beta a_w) sigmoid(beta a_n), then v where it is kept and 0 elsewhere.

    Attributes:
        weight_scores: a_w, of the weight's shape, or None.
        neuron_scores: a_n of the senders, (inputs,), or None.
        keep: boolean of the weight's shape, in use once ``hard``.
        rates: events a step of each sender, running mean, (inputs,).
        batches: how many it is of.
        beta: steepness of the sigmoids.
    """

    def __init__(self, weight: torch.Tensor, weights: bool, neurons: bool, beta: float):
        super().__init__()
        self.beta = beta
        self.hard = False
        start = math.log(START / (1 - START)) / beta
        scores = torch.full_like(weight, start), torch.full_like(weight[0].flatten(), start)
        self.weight_scores = torch.nn.Parameter(scores[0]) if weights else None
        self.neuron_scores = torch.nn.Parameter(scores[1]) if neurons else None
        self.register_buffer("keep", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("rates", torch.zeros_like(scores[1]))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def soft(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factors of the weights, of their shape or a number, and of the senders, (inputs,)."""
        by_weight, by_neuron = (
            self.rates.new_ones(()) if scores is None else torch.sigmoid(self.beta * scores)
            for scores in (self.weight_scores, self.neuron_scores)
        )
        return by_weight, by_neuron.expand(self.rates.shape)

    def score(self) -> torch.Tensor:
        """The lower one of each weight's score and its sender's, of the weight's shape."""
        lowest = torch.full_like(self.keep, torch.inf, dtype=self.rates.dtype)
        for scores in (self.weight_scores, None if self.neuron_scores is None else _columns(self.neuron_scores)):
            lowest = lowest if scores is None else torch.minimum(lowest, scores.detach())
        return lowest

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        by_weight, by_neuron = self.soft()
        if not self.hard:
            return weight * by_weight * _columns(by_neuron)
        # Scores without a gradient would stop training in several processes.
        return weight.masked_fill(~self.keep, 0.0) + 0.0 * (by_weight.sum() + by_neuron.sum())

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        by_weight, by_neuron = self.soft()
        return weight / (by_weight * _columns(by_neuron))


class MaskSearch(Sparsifier):
    """Learns which weights and which hidden neurons a sigma-delta network can do without, while it trains.

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
    network without masks, (sum r + 10 neurons) a step; r is a running mean of what the training batches cause.

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
            network: lava-dl sigma-delta blocks with dense synapses, each of which feeds the next in order of
                registration.
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
        if target is not None and not 0 < target < 1:
            raise SpandexError(f"mask search: target sparsity {target:g} is not between 0 and 1")
        synapse_weights(network)  # says if it is parametrised already
        self._links = chain(network)
        if not weights and not (neurons and len(self._links) > 1):
            raise SpandexError("mask search: neither weights nor hidden neurons have scores")
        for link in self._links:
            synapse = link.block.synapse
            if not isinstance(synapse, slayer.synapse.Dense) or "weight" not in synapse._parameters:
                raise SpandexError(f"{link.name}: masks are learnt on dense synapses without weight normalisation")
        self.lam = lam
        self.target = target
        self.beta = beta
        self.weights, self.neurons = weights, neurons
        self.iteration = 0
        self.steps = steps
        self._strength = lam  # of the penalty, now
        self._masks = {}
        self._hooks = []
        for i, link in enumerate(self._links):
            mask = SynapseMask(link.block.synapse.weight, weights, neurons and i > 0, beta[0])
            parametrize.register_parametrization(link.block.synapse, "weight", mask)
            self._masks[link.name] = mask
            self._hooks.append(link.block.register_forward_pre_hook(_measure(mask)))

    def __repr__(self) -> str:
        return (
            f"MaskSearch(lam={self.lam:g}, steps={self.steps}, target={self.target}, beta={self.beta}, "
            f"weights={self.weights}, neurons={self.neurons})"
        )

    @property
    def done(self) -> bool:
        return self.iteration > self.steps

    @property
    def masks(self) -> dict[str, torch.Tensor]:
        """Boolean tensors by layer, of the weights' shapes; False: pruned. All True until the search is done."""
        return {name: mask.keep for name, mask in self._masks.items()}

    def penalty(self) -> torch.Tensor | None:
        """What the masks cost, None once they are hard."""
        if self.done:
            return None
        cost, whole = 0.0, 0.0
        for mask in self._masks.values():
            by_weight, by_neuron = mask.soft()
            rates, receivers = mask.rates, len(mask.keep)
            by_sender = by_weight.expand(mask.keep.shape).flatten(1).sum(0)
            cost = cost + (rates * by_sender).sum() if self.weights else cost
            if mask.neuron_scores is not None:
                living = receivers if mask.weight_scores is None else (mask.weight_scores > 0).flatten(1).sum(0)
                cost = cost + ((NEURONOP_WEIGHT + rates * living) * by_neuron).sum()
            whole = whole + (NEURONOP_WEIGHT + rates * receivers).sum()
        return self._strength / whole * cost

    def step(self) -> None:
        """Make the sigmoids steeper, or the masks hard."""
        if self.iteration == self.steps:
            self._harden()
        self.iteration += 1
        self._set()

    @torch.no_grad()
    def remove(self) -> None:
        """Leave the plain network, with the weights as they are used now."""
        super().remove()
        for link in self._links:
            parametrize.remove_parametrizations(link.block.synapse, "weight")

    def state_dict(self) -> dict[str, Any]:
        """The position; scores, masks and event rates are in the network's state dict."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue; the network's own state dict must be in it already."""
        if "iteration" not in state:
            raise SpandexError(f"not the state of a MaskSearch: it holds {', '.join(state) or 'nothing'}")
        self.iteration = state["iteration"]
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
        """The lowest of each weight's score and its neurons', by layer."""
        scores = [mask.score() for mask in self._masks.values()]
        for rows, following in zip(scores, list(self._masks.values())[1:], strict=False):
            if following.neuron_scores is not None:
                rows.copy_(torch.minimum(rows, following.neuron_scores.reshape(-1, 1, 1, 1, 1)))
        return scores

    def _share_below_zero(self) -> float:
        scores = self._scores()
        return sum(int((score <= 0).sum()) for score in scores) / sum(score.numel() for score in scores)

    def _harden(self) -> None:
        scores = self._scores()
        if self.target is None:
            kept = [score > 0 for score in scores]
        else:
            order = torch.cat([score.flatten() for score in scores]).argsort(stable=True)
            flat = torch.ones_like(order, dtype=torch.bool)
            flat[order[: round(self.target * len(order))]] = False
            kept = flat.split([score.numel() for score in scores])
        for mask, keep in zip(self._masks.values(), kept, strict=True):
            mask.keep.copy_(keep.reshape(mask.keep.shape))

    @torch.no_grad()
    def _clear_biases(self) -> None:
        """A neuron to which nothing listens has no bias, so that it sends no events."""
        for link, following in pairwise(self._links):
            bias = getattr(link.block.neuron, "bias", None)
            heard = self._masks[following.name].keep.flatten(1).any(dim=0)
            if bias is not None and bias.shape[0] == link.neurons:
                bias[~heard] = 0.0


def _columns(senders: torch.Tensor) -> torch.Tensor:
    """A value for each sender, (inputs,), as a factor on a dense synapse's weight (neurons, inputs, 1, 1, 1)."""
    return senders.reshape(1, -1, 1, 1, 1)


def _measure(mask: SynapseMask):
    """A hook that keeps the running mean of the events that enter a synapse in training."""

    @torch.no_grad()
    def hook(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if block.training and not mask.hard:
            events = (inputs[0] != 0).float().mean(dim=(0, -1)).flatten()
            mask.batches += 1
            mask.rates.lerp_(events, max(1 - MEMORY, 1 / int(mask.batches)))  # a plain mean at first

    return hook
