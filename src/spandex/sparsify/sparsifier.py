"""What a training loop needs to know of a method that makes a network sparse."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.hooks import RemovableHandle


class Sparsifier(ABC):
    """A method that works on a network while it trains. In a training loop it takes two calls an iteration:

        loss = ...
        penalty = sparsifier.penalty()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        sparsifier.step()

    Gradients must still be there in ``step``: a method may go by them, and takes a batch that left none as skipped.

    Make it once the network is on its device, and before the optimiser: what a method learns by gradient is added to
    the network's parameters.

    ``repr`` tells runs with other settings apart.
    """

    _hooks: Sequence[RemovableHandle] = ()  # on the network
    steps: int = 0
    """The iteration, counted from 0, after which nothing is made sparser; 0 where there is nothing to wait for."""
    searches: bool = False
    """Whether it still searches for masks, which are soft until it ends."""

    @property
    def done(self) -> bool:
        """Whether that iteration is over."""
        return True

    def penalty(self) -> torch.Tensor | None:
        """What is added to the loss of the last forward pass, a scalar; None: nothing."""
        return None

    def counts(self) -> Iterable[torch.Tensor]:
        """What this process has counted since the last ``step``; with several, add it up over them before the next."""
        return ()

    @abstractmethod
    def step(self) -> None:
        """Do what is due after an optimiser's step."""

    def end_epoch(self) -> None:  # noqa: B027  most have nothing to do
        """Do what is due after the last step of an epoch, before its network is judged; again, it changes nothing."""

    @property
    def missed(self) -> str:
        """What the network would have to be and is not, in words, where that was found out; else empty."""
        return ""

    def remove(self) -> None:
        """Let go of the network: what is pruned stays zero, and all trains freely from now on."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = ()

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """All that a run goes on from and the network does not hold, as plain types and tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict`` of the same network.

        Raises:
            SpandexError: it is no such state, or belongs to another network.
        """
