"""Events that meet the weights of a layer, counted while its network trains."""

from collections.abc import Iterable, Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl import slayer

from spandex.sparsify.chain import Link


class EventRates:
    """Events a step that the weights of every layer meet in training, running means over batches.

    Forward passes in training mode count, by hooks on the blocks: one on a synapse or neuron would switch the fused
    kernels off.

    Attributes:
        means: of the shape of the weights to one neuron, by layer.
        batches: how many they are of.
        hooks: on the blocks.
    """

    def __init__(self, links: Sequence[Link], memory: float):
        """
        Args:
            links: layers with one synapse each.
            memory: share of what was seen so far in the means.
        """
        self.means = {
            link.name: torch.zeros_like(link.synapse.weight.detach().narrow(link.row, 0, 1)) for link in links
        }
        self.batches = 0
        self.memory = memory
        self._batch: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.hooks = [link.block.register_forward_pre_hook(self._count(link)) for link in links]

    def counts(self) -> Iterable[torch.Tensor]:
        """Events of the last batch in every layer, and its steps."""
        return [count for counts in self._batch.values() for count in counts]

    def learn(self, trained: bool) -> float | None:
        """Take the last batch into the means, if all layers saw it and it was trained on; forget it.

        Returns:
            Its share in the means; None if it does not count.
        """
        batch, self._batch = self._batch, {}
        if not trained or len(batch) < len(self.means):
            return None
        self.batches += 1
        share = newest(self.batches, self.memory)
        for name, (events, steps) in batch.items():
            self.means[name].lerp_(events / steps, share)
        return share

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The means."""
        return {name: mean.clone() for name, mean in self.means.items()}

    def load_state_dict(self, means: Mapping[str, torch.Tensor], batches: int) -> None:
        """Continue from means over so many batches."""
        self.batches = batches
        for name, mean in self.means.items():
            mean.copy_(means[name])

    def _count(self, link: Link):
        @torch.no_grad()
        def hook(block: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if block.training:
                events = events_met(link.synapse, inputs[0].detach())
                self._batch[link.name] = events, events.new_tensor(len(inputs[0]) * inputs[0].shape[-1])

        return hook


def events_met(synapse: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Events that each weight meets, over samples, steps and all positions where it is used.

    Whole numbers, exact up to 2^24, so that their sum over processes depends on no order.

    Args:
        synapse: Dense, Conv or ConvTranspose of lava-dl.
        x: what enters it, (batch, inputs, steps) or (batch, inputs, height, width, steps); what is not zero is an
            event.

    Returns:
        Of the shape of the weights to one neuron: (1, inputs, height, width, 1), of ConvTranspose (inputs, 1, ...).
    """
    transposed = isinstance(synapse, slayer.synapse.ConvTranspose)
    convolve, ends = (F.conv_transpose3d, (-1, 1)) if transposed else (F.conv3d, (1, -1))
    events = (x != 0).float().sum(dim=(0, -1))
    events = events.reshape(1, synapse.in_channels, *(events.shape[1:] or (1, 1)), 1)
    weight = events.new_zeros(synapse.in_channels, *synapse.kernel_size).unflatten(0, ends).requires_grad_()
    with torch.enable_grad():
        # In the sum of what a neuron receives, each weight has its events as its gradient.
        received = convolve(events, weight, None, synapse.stride, synapse.padding, dilation=synapse.dilation).sum()
    return torch.autograd.grad(received, weight)[0]


def newest(count: int, memory: float) -> float:
    """Share of the newest of ``count`` values in a running mean: plain at first, then the others keep ``memory``."""
    return max(1 - memory, 1 / count)
