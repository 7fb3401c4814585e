"""Layers of a lava-dl network that feed one another, so that a neuron's row and column can be found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from lava.lib.dl import slayer
from lava.lib.dl.slayer.block import base

from spandex.errors import SpandexError
from spandex.sparsify.weights import PRUNABLE, SynapseWeight, synapse_weights

WEIGHTED = (
    base.AbstractDense,
    base.AbstractConv,
    base.AbstractConvT,
    base.AbstractAffine,
    slayer.block.sigma_delta.Output,
)
# These have no weights of their own and keep their channels apart.
BETWEEN = (base.AbstractFlatten, base.AbstractPool, base.AbstractUnpool)


@dataclass
class Link:
    """One layer of neurons and what comes before the next.

    A neuron is one output channel: a neuron of a dense layer, all positions of a channel of a convolution.

    Attributes:
        name: name of its synapse in the network.
        block: the block with the synapse and the neurons.
        following: blocks without weights that its output passes.
    """

    name: str
    block: torch.nn.Module
    following: list[torch.nn.Module] = field(default_factory=list)

    @property
    def weight(self) -> SynapseWeight:
        """Its weight."""
        return SynapseWeight(self.block.synapse)

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.block.synapse.in_channels

    @property
    def neurons(self) -> int:
        """Output channels."""
        return self.block.synapse.out_channels

    @property
    def row(self) -> int:
        """Dimension of the weight that counts its neurons; the other of the first two counts its inputs."""
        return 1 if isinstance(self.block.synapse, slayer.synapse.ConvTranspose) else 0

    def per_neuron(self, weight: torch.Tensor) -> torch.Tensor:
        """A tensor of the weight's shape as (neurons, inputs of each)."""
        return weight.transpose(0, self.row).flatten(1)

    def per_input(self, weight: torch.Tensor, before: "Link") -> torch.Tensor:
        """A tensor of the weight's shape as (neurons of the layer before, weights to which each goes)."""
        columns = weight.transpose(0, 1 - self.row).flatten(1)
        return columns.reshape(before.neurons, -1)

    def spread(self, neurons: torch.Tensor, before: "Link") -> torch.Tensor:
        """A value for each neuron of the layer before as a value for each input channel, (inputs,)."""
        return neurons.repeat_interleave(self.inputs // before.neurons)

    def mask(self, neurons: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """A mask of the weight's shape: True where both its neuron and its input are."""
        rows, columns = [1] * 5, [1] * 5
        rows[self.row], columns[1 - self.row] = self.neurons, self.inputs
        return (neurons.reshape(rows) & inputs.reshape(columns)).expand(self.block.synapse.weight.shape)


def chain(network: torch.nn.Module) -> list[Link]:
    """The layers of a network of lava-dl blocks, each of which feeds the next, in order of registration.

    Raises:
        SpandexError: a synapse is not in such a block, is complex or grouped, or widths show that a layer does not
            feed the next one.
    """
    links: list[Link] = []
    unplaced = set(synapse_weights(network))
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED) and isinstance(module.synapse, PRUNABLE):
            links.append(Link(f"{name}.synapse".removeprefix("."), module))
            unplaced.discard(links[-1].name)
        elif links and isinstance(module, BETWEEN):
            links[-1].following.append(module)
    if unplaced:
        raise SpandexError(
            f"{sorted(unplaced)[0]}: whole neurons can be pruned in real-valued dense and convolution blocks only"
        )
    for link in links:
        if link.block.synapse.groups != 1:
            raise SpandexError(f"{link.name}: whole neurons cannot be pruned in a grouped convolution")
    for before, link in pairwise(links):
        flattened = any(isinstance(block, base.AbstractFlatten) for block in before.following)
        fits = link.inputs % before.neurons == 0 if flattened else link.inputs == before.neurons
        if not fits:
            raise SpandexError(
                f"{link.name} takes {link.inputs} inputs, but {before.name} has {before.neurons} neurons"
            )
    return links


def ends(links: Sequence[Link], keep: Mapping[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Which neurons (neurons,) and inputs (inputs,) of each layer are kept; the network's own inputs and outputs are.

    Args:
        links: the layers.
        keep: boolean tensors (neurons,) of the hidden layers by name.
    """
    device = links[0].block.synapse.weight.device
    neurons = [keep[link.name] for link in links[:-1]]
    neurons.append(torch.ones(links[-1].neurons, dtype=torch.bool, device=device))
    inputs = [torch.ones(links[0].inputs, dtype=torch.bool, device=device)]
    inputs += [link.spread(kept, before) for kept, (before, link) in zip(neurons, pairwise(links), strict=False)]
    return list(zip(neurons, inputs, strict=True))
