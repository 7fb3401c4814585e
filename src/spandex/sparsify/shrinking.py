"""Take the neurons that nothing listens to out of a network."""

import copy
import math
from itertools import pairwise

import torch

from spandex.sparsify.chain import Link, chain, ends


@torch.no_grad()
def shrink(network: torch.nn.Module) -> torch.nn.Module:
    """A smaller copy of a network, without the hidden neurons that have no way to the output.

    These are the neurons whose outgoing weights are all exactly zero or lead only to such neurons: what
    ``NeuronPruner`` pruned, and what other pruning left without an outgoing weight. Their rows of the layer, their
    columns of the next one, and their delays, thresholds, biases and other values of their own go. Every other neuron
    does what it did, so the output is the same up to the order of sums. The inputs, the outputs and one neuron of each
    layer stay. A neuron is one output channel, as for ``NeuronPruner``.

    An optimiser of the network does not know the parameters of the copy: make a new one. Batch normalisation with
    one variance for all neurons (``WgtScaleBatchNorm``) stays the same in evaluation, but not in further training.

    Args:
        network: a network of real-valued lava-dl dense and convolution blocks that feed one another in the order in
            which the network registers them. It is not changed.

    Raises:
        SpandexError: it is not such a network.
    """
    for link in chain(network):
        link.weight.refresh()  # torch refuses to copy a tensor with a graph
    small = copy.deepcopy(network)
    links = chain(small)
    for link, (neurons, inputs) in zip(links, ends(links, _worth_keeping(links)), strict=True):
        _cut_weight(link, neurons, inputs)
        if not neurons.all():
            for block in (link.block, *link.following):
                _cut_neurons(block, neurons)
    return small


def _worth_keeping(links: list[Link]) -> dict[str, torch.Tensor]:
    """Boolean tensors (neurons,) by hidden layer: True for what has a way to the output, or is the last one there."""
    kept = {}
    reaching = torch.ones(links[-1].neurons, dtype=torch.bool, device=links[-1].block.synapse.weight.device)
    for link, following in reversed(list(pairwise(links))):
        inputs = reaching.new_ones(following.inputs)
        used = (following.weight.value() != 0) & following.mask(reaching, inputs)
        reaching = following.per_input(used, link).any(dim=1)
        kept[link.name] = reaching.clone()
        kept[link.name][0] |= ~reaching.any()  # a layer of no neurons would cut the network
    return kept


def _cut_weight(link: Link, neurons: torch.Tensor, inputs: torch.Tensor) -> None:
    link.weight.hold(link.mask(neurons, inputs))  # a norm must not miss what is cut
    synapse = link.block.synapse
    both = {link.row: neurons, 1 - link.row: inputs}
    _cut_parameters(synapse, both)
    if isinstance(getattr(link.block, "mask", None), torch.Tensor):  # lava-dl's own mask of a dense block
        link.block.mask = _cut(link.block.mask, both)
    synapse.out_channels, synapse.in_channels = int(neurons.sum()), int(inputs.sum())
    link.weight.refresh()


def _cut_neurons(block: torch.nn.Module, keep: torch.Tensor) -> None:
    """Cut what a block and its neurons and delay line hold for each neuron."""
    _cut_values(block, keep)
    for part in (getattr(block, "neuron", None), getattr(block, "delay", None)):
        for module in part.modules() if part is not None else ():
            _cut_values(module, keep)
            _cut_parameters(module, {0: keep})
            for name, buffer in list(module.named_buffers(recurse=False)):
                # What is not saved is state of the last batch, (batch, neurons, ...).
                dim = 1 if name in module._non_persistent_buffers_set else 0
                setattr(module, name, _cut(buffer, {dim: keep}))


def _cut_values(module: torch.nn.Module, keep: torch.Tensor) -> None:
    """Cut what lava-dl remembers as plain attributes: shapes, counts and the last step of the batch before."""
    own = vars(module)
    shape = own.get("shape")
    if shape is not None:
        count = shape[0] * int(keep.sum()) // keep.numel()  # a flattened block has several a neuron
        module.shape = type(shape)([count, *shape[1:]])
        if own.get("num_neurons") is not None:
            module.num_neurons = math.prod(module.shape)
    if own.get("num_features") is not None:
        module.num_features = int(keep.sum())
    if own.get("delay_buffer") is not None:
        module.delay_buffer = _cut(module.delay_buffer, {1: keep})


def _cut_parameters(module: torch.nn.Module, keep: dict[int, torch.Tensor]) -> None:
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, torch.nn.Parameter(_cut(parameter, keep), requires_grad=parameter.requires_grad))


def _cut(tensor: torch.Tensor, keep: dict[int, torch.Tensor]) -> torch.Tensor:
    """The kept indices along each dimension of which a tensor has as many as ``keep`` tells."""
    for dim, kept in keep.items():
        if tensor.ndim > dim and tensor.shape[dim] == kept.numel():
            tensor = tensor.index_select(dim, kept.nonzero().flatten())
    return tensor
