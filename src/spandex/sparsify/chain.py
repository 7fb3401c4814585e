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
    base.AbstractRecurrent,
    base.AbstractConv,
    base.AbstractConvT,
    base.AbstractAffine,
    slayer.block.sigma_delta.Output,
)
# These have no weights of their own and keep their channels apart.
BETWEEN = (base.AbstractFlatten, base.AbstractPool, base.AbstractUnpool)
RECURRENT = "recurrent_synapse"  # lava-dl's name of a recurrent block's synapse from its own neurons

Values = Mapping[str, torch.Tensor]  # by synapse, of its weight's shape


@dataclass
class Link:
    """One layer of neurons and what comes before the next.

    A neuron is one output channel: a neuron of a dense layer, all positions of a channel of a convolution.

    Attributes:
        block: the block with the synapses and the neurons.
        incoming: its synapses from the layer before, by name in the network: one, or a real and an imaginary one.
        recurrent: its synapses from its own neurons.
        following: blocks without weights that its output passes.
    """

    block: torch.nn.Module
    incoming: dict[str, torch.nn.Module]
    recurrent: dict[str, torch.nn.Module]
    following: list[torch.nn.Module] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Name of its synapse from the layer before, complex ones as one."""
        return next(iter(self.incoming)).removesuffix(".real")

    @property
    def weights(self) -> dict[str, SynapseWeight]:
        """Its weights by synapse, recurrent ones last."""
        return {name: SynapseWeight(synapse) for name, synapse in (self.incoming | self.recurrent).items()}

    @property
    def synapse(self) -> torch.nn.Module:
        """The first one from the layer before; another one is as large."""
        return next(iter(self.incoming.values()))

    @property
    def inputs(self) -> int:
        """Input channels."""
        return self.synapse.in_channels

    @property
    def neurons(self) -> int:
        """Output channels."""
        return self.synapse.out_channels

    @property
    def row(self) -> int:
        """Dimension of the weight that counts its neurons; the other of the first two counts its inputs."""
        return 1 if isinstance(self.synapse, slayer.synapse.ConvTranspose) else 0

    def of_neurons(self, values: torch.Tensor) -> torch.Tensor:
        """A value for each neuron, (neurons,), as a factor on a weight."""
        return values.reshape(-1, 1, 1, 1, 1).transpose(0, self.row)

    def of_inputs(self, values: torch.Tensor) -> torch.Tensor:
        """A value for each input, (inputs,), as a factor on a weight."""
        return values.reshape(-1, 1, 1, 1, 1).transpose(0, 1 - self.row)

    def per_neuron(self, values: Values) -> torch.Tensor:
        """(neurons, weights into each), recurrent ones too."""
        return torch.cat([values[name].transpose(0, self.row).flatten(1) for name in self.weights], dim=1)

    def per_input(self, weight: torch.Tensor) -> torch.Tensor:
        """A tensor of a weight's shape as (inputs, weights to which each goes)."""
        return weight.transpose(0, 1 - self.row).flatten(1)

    def per_sender(self, values: Values, following: "Link") -> torch.Tensor:
        """(neurons, weights to which each goes), recurrent ones too."""
        found = [following.per_input(values[name]).reshape(self.neurons, -1) for name in following.incoming]
        found += [self.per_input(values[name]) for name in self.recurrent]
        return torch.cat(found, dim=1)

    def spread(self, neurons: torch.Tensor, before: "Link") -> torch.Tensor:
        """A value for each neuron of the layer before as a value for each input channel, (inputs,)."""
        return neurons.repeat_interleave(self.inputs // before.neurons)

    def masks(self, neurons: torch.Tensor, inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """Masks by synapse, of the weights' shapes: True where both a weight's neuron and its input are."""
        return {
            name: (self.of_neurons(neurons) & self.of_inputs(senders)).expand(synapse.weight.shape)
            for synapses, senders in ((self.incoming, inputs), (self.recurrent, neurons))
            for name, synapse in synapses.items()
        }


def layers(network: torch.nn.Module) -> list[Link]:
    """The layers of a network of lava-dl blocks, in order of registration.

    Raises:
        SpandexError: a synapse is not in such a block, or there is none.
    """
    links: list[Link] = []
    unplaced = set(synapse_weights(network))
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED):
            parts = module.named_modules(prefix=name)
            synapses = {part: synapse for part, synapse in parts if isinstance(synapse, PRUNABLE)}
            recurrent = {part: synapses[part] for part in synapses if RECURRENT in part.split(".")}
            incoming = {part: synapses[part] for part in synapses if part not in recurrent}
            links.append(Link(module, incoming, recurrent))
            unplaced -= synapses.keys()
        elif links and isinstance(module, BETWEEN):
            links[-1].following.append(module)
    if unplaced:
        raise SpandexError(
            f"{sorted(unplaced)[0]}: neurons are known in lava-dl's dense, recurrent, convolution, affine and output "
            "blocks only"
        )
    return links


def chain(network: torch.nn.Module) -> list[Link]:
    """The layers of a network of lava-dl blocks, each of which feeds the next, in order of registration.

    Raises:
        SpandexError: as ``layers``; or a synapse is grouped, or widths show that a layer does not feed the next one.
    """
    links = layers(network)
    for link in links:
        if link.synapse.groups != 1:
            raise SpandexError(f"{link.name}: whole neurons cannot be pruned in a grouped convolution")
    for before, link in pairwise(links):
        flattened = any(isinstance(block, base.AbstractFlatten) for block in before.following)
        fits = link.inputs % before.neurons == 0 if flattened else link.inputs == before.neurons
        if not fits:
            raise SpandexError(
                f"{link.name} takes {link.inputs} inputs, but {before.name} has {before.neurons} neurons"
            )
    return links


def heard(links: Sequence[Link], used: Values) -> dict[str, torch.Tensor]:
    """Which neurons have a way to the output, (neurons,) by hidden layer.

    Args:
        links: the layers.
        used: boolean tensors by synapse; False: nothing passes this weight.
    """
    found = {}
    after = torch.ones(links[-1].neurons, dtype=torch.bool, device=links[-1].synapse.weight.device)
    for link, following in reversed(list(pairwise(links))):
        counts = {name: used[name] & following.of_neurons(after) for name in following.incoming}
        now, before = after.new_zeros(link.neurons), None
        while before is None or not torch.equal(now, before):  # by way of ever more of the layer's own neurons
            before = now
            recurrent = {name: used[name] & link.of_neurons(before) for name in link.recurrent}
            now = link.per_sender(counts | recurrent, following).any(dim=1)
        found[link.name] = after = now
    return found


@torch.no_grad()
def clear_shifts(links: Sequence[Link], masks: Values) -> None:
    """Set bias and mean of normalisation to zero of hidden neurons without an incoming weight in the masks, which then
    send nothing where the activation of zero is zero."""
    for link in links[:-1]:
        pruned = ~link.per_neuron(masks).any(dim=1)
        neuron = link.block.neuron
        for shift in (getattr(neuron, "bias", None), getattr(getattr(neuron, "norm", None), "running_mean", None)):
            if shift is not None and shift.shape[0] == link.neurons:
                shift[pruned] = 0.0


def ends(
    links: Sequence[Link], keep: Mapping[str, torch.Tensor], outside: float | bool = True
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Which neurons (neurons,) and inputs (inputs,) of each layer are kept; the network's own inputs and outputs are.

    Args:
        links: the layers.
        keep: boolean tensors, or those of any value, (neurons,) of the hidden layers by name.
        outside: that of the network's own inputs and outputs.
    """
    device = links[0].synapse.weight.device
    neurons = [keep[link.name] for link in links[:-1]]
    neurons.append(torch.full((links[-1].neurons,), outside, device=device))
    inputs = [torch.full((links[0].inputs,), outside, device=device)]
    inputs += [link.spread(kept, before) for kept, (before, link) in zip(neurons, pairwise(links), strict=False)]
    return list(zip(neurons, inputs, strict=True))
