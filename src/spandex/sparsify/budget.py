"""Pruning until a network costs no more than a power budget, by any method that prunes to a share of the weights."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch.nn.utils import parametrize

from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.errors import SpandexError
from spandex.metrics import power_proxy
from spandex.metrics.power import NEURONOP_WEIGHT
from spandex.metrics.weights import nonzero
from spandex.sparsify.chain import Values, chain, heard
from spandex.sparsify.event_counts import EventRates
from spandex.sparsify.pruner import groups, share
from spandex.sparsify.schedule import make_schedule
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.weights import SynapseWeight

LEAST_SHARE = 0.98  # of the budget, that the network of a chosen epoch uses
MARGIN = 1.1  # times the budget, to which estimates lead; the rest is measured
STRIDE = 0.1  # of the power last measured, that estimates may save before it is measured again
RESOLUTION = 0.0005  # of the sparsity that is looked for
MOST = 0.9999  # sparsity
MEMORY = 0.97  # share of the events seen so far in their running means

Power = Callable[[torch.nn.Module], float]  # M-Ops/s of a network


class Method(Protocol):
    """A ``Sparsifier`` that can prune to a given share of the weights at any time.

    While it ``searches`` for masks of its ``target``, its ``masks`` are all True.
    """

    searches: bool
    masks: dict[str, torch.Tensor]

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks by layer for a sparsity; nothing changes."""

    def prune(self, sparsity: float) -> None:
        """Prune to it, now or when masks become hard."""


class PowerBudget(Sparsifier):
    """Prunes by a method while a network trains, until it costs no more than a budget, and keeps it there.

        budget = PowerBudget(network, lambda zeros: Pruner(network, OneShot(zeros, 0)), 4.0, steps=2000, power=power)
        for epoch in range(12):
            for batch in batches:
                ...
                optimizer.step()
                budget.step()
            budget.end_epoch()

    Power falls on a schedule of sparsity, from what the network costs at t = 0 to ``MARGIN`` times the budget at t = T.
    On the way there it is measured whenever a share of ``STRIDE`` has been saved, and in between estimated,

        ratio (10 (inputs + living hidden neurons) + sum r m)

    with the masks m, the events a step r that weights met in training (running means), and the ratio that makes the
    estimate what was measured last. At the end of the epoch of T, and wherever the network costs more at the end of a
    later one, the least sparsity is looked for at which the measured power is within the budget. Soft masks become hard
    at T, and a network that has lost most of its weights at once sends more events than after it has recovered: what it
    may cost by measurement falls from ``MARGIN`` times the budget at T to the budget at 1.5 T. What is pruned stays so.
    Events move while training goes on: ``done`` is true after an epoch that ends between ``LEAST_SHARE`` of the budget
    and the budget.

    Attributes:
        method: which weights go.
        budget: M-Ops/s.
        schedule: share of the power that is saved, when.
        frequency: iterations between two pruning steps.
        iteration: calls of ``step`` so far.
        steps: the iteration after which the budget is met: T or, after soft masks, 1.5 T.
        power: of the network, in M-Ops/s, as last measured.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        method: Callable[[float], Sparsifier],
        budget: float,
        steps: int,
        power: Power,
        *,
        schedule: str = "cubic",
        frequency: int = 30,
        rounds: int = 5,
        scope: str = "global",
    ):
        """
        Args:
            network: of sigma-delta blocks with one synapse each that feed one another; it denoises, with a ``hop`` in
                samples.
            method: makes a ``Method`` on the network that prunes no more by itself than there is, given the share of
                its weights that are zero now.
            budget: M-Ops/s, below what the network costs now.
            steps: T, counted from 0.
            power: measures a network.
            schedule, frequency, rounds: see ``make_schedule``. Where that prunes at once, the method is led to the
                budget from the first pruning step on.
            scope: of the method, see ``Pruner``.

        Raises:
            SpandexError: the budget is no less than what the network costs, no more than its inputs alone do, or the
                network is no such chain.
        """
        self._links = chain(network)
        for link in self._links:
            if len(link.weights) > 1:
                raise SpandexError(f"{link.name}: a power budget takes no complex or recurrent layers")
        self._network = network
        self._plain = copy.deepcopy(network)  # that is measured; a method may parametrise the other
        self.budget = budget
        self._measure = power
        self.iteration = 0
        self.power = power(network)
        inputs = power_proxy(0, self._links[0].inputs, network.hop / SAMPLE_RATE_HZ) / 1e6
        if not inputs < budget < self.power:
            raise SpandexError(
                f"power_mops {budget:g}: the network costs {self.power:.2f} M-Ops/s on the validation clips, and its "
                f"inputs alone {inputs:.2f}; a budget lies between"
            )
        self._last = steps
        self.frequency = frequency
        at = 0 if schedule == "one-shot" else steps
        self.schedule = make_schedule(schedule, 1 - budget / self.power, at, frequency=frequency, rounds=rounds)
        self._start = self.power
        self._ratio = math.nan
        self._rates = EventRates(self._links, MEMORY)
        self._hooks = self._rates.hooks
        zero = {link.name: ~nonzero(link.synapse.weight.detach()) for link in self._links}
        self.method = method(max(share(zero, names) for names in groups(zero, scope).values()))
        self.steps = steps + steps // 2 if self.method.searches else steps

    def __repr__(self) -> str:
        constants = f"least={LEAST_SHARE}, margin={MARGIN}, stride={STRIDE}, resolution={RESOLUTION}, memory={MEMORY}"
        settings = f"{self.budget:g} M-Ops/s, steps={self._last}, {self.schedule!r}, frequency={self.frequency}"
        return f"{type(self).__name__}({self.method!r}, {settings}, {constants})"

    @property
    def done(self) -> bool:
        """Whether the network uses the budget, as last measured, after that iteration."""
        return self.iteration > self.steps and LEAST_SHARE * self.budget <= self.power <= self.budget

    @property
    def missed(self) -> str:
        if self.done:
            return ""
        return f"the budget is {self.budget:g} M-Ops/s, and the network costs {self.power:.2f}"

    def penalty(self) -> torch.Tensor | None:
        """That of the method."""
        return self.method.penalty()

    def counts(self) -> Iterable[torch.Tensor]:
        """Those of the method, and events of the last batch in every layer."""
        return [*self.method.counts(), *self._rates.counts()]

    def step(self) -> None:
        """Prune by estimate if it is time to, and by measurement before soft masks become hard."""
        self._rates.learn(any(parameter.grad is not None for parameter in self._network.parameters()))
        if self._rates.batches and math.isnan(self._ratio):
            self._ratio = self.power / self._operations(self._masks())
        if self.iteration == self._last and self.method.searches:
            self._meet()
        elif self.iteration < self._last and self.iteration and self.iteration % self.frequency == 0:
            self._approach()
        self.method.step()
        self.iteration += 1

    def end_epoch(self) -> None:
        """Measure the network, and prune it if it costs more than it may by now."""
        if self.iteration > self._last:
            self._meet()
        else:
            self._look()

    def remove(self) -> None:
        """Both let go of the network."""
        super().remove()
        self.method.remove()

    def state_dict(self) -> dict[str, Any]:
        """The method's state, position, measurements, and events with the number of batches that they are of."""
        return {
            "method": self.method.state_dict(),
            "iteration": self.iteration,
            "power": self.power,
            "ratio": self._ratio,
            "rates": self._rates.state_dict(),
            "batches": self._rates.batches,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same method on the same network."""
        if not self.state_dict().keys() <= state.keys():
            raise SpandexError(f"not the state of a {type(self).__name__}: it holds {', '.join(state) or 'nothing'}")
        self.method.load_state_dict(state["method"])
        self.iteration, self.power, self._ratio = state["iteration"], state["power"], state["ratio"]
        self._rates.load_state_dict(state["rates"], state["batches"])

    def _approach(self) -> None:
        """Prune to where the schedule is, by estimate."""
        course = self.schedule(self.iteration) / self.schedule.target
        wanted = self._start + course * (MARGIN * self.budget - self._start)
        least = (1 - STRIDE) * self.power
        if self._lead_to(max(wanted, least), lambda masks: self._ratio * self._operations(masks)) <= 1.01 * least:
            self._look()

    def _look(self) -> None:
        """Measure the network, with masks as they would be if the search for them ended now."""
        masks = self._masks()
        self.power = self._power_with(masks)
        self._ratio = self.power / self._operations(masks)

    def _masks(self) -> Values:
        """What is pruned; what would be, while masks that are searched for are soft."""
        return self.method.choose(self.method.target) if self.method.searches else self.method.masks

    def _meet(self) -> None:
        """Measure the network, and prune it to what is measured to be what it may cost by now."""
        left = (self.steps + 1 - self.iteration) / max(1, self.steps - self._last)  # of the time to recover
        allowed = (1 + (MARGIN - 1) * min(max(0.0, left), 1.0)) * self.budget
        self.power, pruned = math.inf, -1.0
        while self.power > allowed and (there := _pruned_share(self._masks())) > pruned:
            pruned = there
            self.power = self._lead_to(allowed, self._power_with)

    def _lead_to(self, wanted: float, power_with: Callable[[Values], float]) -> float:
        """Prune to the least sparsity at which the network costs no more than is wanted.

        Args:
            wanted: M-Ops/s.
            power_with: the power with masks.

        Returns:
            The power with the new masks, which is more than wanted where a method makes stronger what it keeps.
        """
        masks = self._masks()
        power = power_with(masks)
        low = high = _pruned_share(masks)
        step = RESOLUTION
        if self.method.searches:
            low = 0.0
        while power > wanted and high < MOST:
            low, high, step = high, min(high + step, MOST), 2 * step
            power = power_with(self.method.choose(high))
        while high - low > RESOLUTION:
            middle = (low + high) / 2
            within = power_with(self.method.choose(middle))
            if within <= wanted:
                high, power = middle, within
            else:
                low = middle
        if high != _pruned_share(masks):
            self.method.prune(high)
            power = power_with(self._masks())
        return power

    @torch.no_grad()
    def _operations(self, masks: Values) -> float:
        """Operations a step with these masks, by the events that training showed."""
        living = heard(self._links, masks)
        found = NEURONOP_WEIGHT * self._links[0].inputs
        for link in self._links:
            used = masks[link.name]
            if link.name in living:
                used = used & link.of_neurons(living[link.name])
                found += NEURONOP_WEIGHT * int(living[link.name].sum())
            found += float((self._rates.means[link.name] * used).sum())
        return found

    @torch.no_grad()
    def _power_with(self, masks: Values) -> float:
        """Measured power of the network with hard masks."""
        state = self._network.state_dict()
        for name in masks:
            if parametrize.is_parametrized(synapse := self._network.get_submodule(name)):
                state[f"{name}.weight"] = synapse.parametrizations.weight.original
        self._plain.load_state_dict({name: state[name] for name in self._plain.state_dict()})
        for name, mask in masks.items():
            SynapseWeight(self._plain.get_submodule(name)).hold(mask)
        return self._measure(self._plain)


def _pruned_share(masks: Values) -> float:
    return 1 - share(masks, masks)
