"""Several methods on one network."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import torch

from spandex.errors import SpandexError
from spandex.sparsify.sparsifier import Sparsifier


class Together(Sparsifier):
    """Methods that work on a network side by side, such as magnitude pruning and a penalty on events.

        sparsifier = Together(GradualMagnitude(network, 0.75, steps=2000), EventPenalty(network, PSI["l1"], 0.01))

    They take their turn in the order given.
    """

    def __init__(self, *sparsifiers: Sparsifier):
        """
        Raises:
            SpandexError: there is none.
        """
        if not sparsifiers:
            raise SpandexError("no sparsifiers to put together")
        self.sparsifiers = sparsifiers

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.sparsifiers))})"

    @property
    def steps(self) -> int:
        """Of the one that takes longest."""
        return max(sparsifier.steps for sparsifier in self.sparsifiers)

    @property
    def done(self) -> bool:
        """Whether all are."""
        return all(sparsifier.done for sparsifier in self.sparsifiers)

    def penalty(self) -> torch.Tensor | None:
        """The sum; None if none has one."""
        penalties = [sparsifier.penalty() for sparsifier in self.sparsifiers]
        penalties = [penalty for penalty in penalties if penalty is not None]
        return sum(penalties) if penalties else None

    def counts(self) -> Iterable[torch.Tensor]:
        """Of all."""
        return chain.from_iterable(sparsifier.counts() for sparsifier in self.sparsifiers)

    def step(self) -> None:
        """One of each."""
        for sparsifier in self.sparsifiers:
            sparsifier.step()

    def end_epoch(self) -> None:
        """All do what is due."""
        for sparsifier in self.sparsifiers:
            sparsifier.end_epoch()

    @property
    def missed(self) -> str:
        """By the first that missed something."""
        return next(filter(None, (sparsifier.missed for sparsifier in self.sparsifiers)), "")

    def remove(self) -> None:
        """All let go of the network."""
        for sparsifier in self.sparsifiers:
            sparsifier.remove()

    def state_dict(self) -> dict[str, Any]:
        """The states by position, "0" first."""
        return {str(place): sparsifier.state_dict() for place, sparsifier in enumerate(self.sparsifiers)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same methods in the same order.

        Raises:
            SpandexError: there are others.
        """
        if list(state) != [str(place) for place in range(len(self.sparsifiers))]:
            holds = ", ".join(map(str, state)) or "nothing"
            raise SpandexError(f"not the state of {len(self.sparsifiers)} sparsifiers: it holds {holds}")
        for sparsifier, part in zip(self.sparsifiers, state.values(), strict=True):
            sparsifier.load_state_dict(part)
