"""Take the neurons that nothing listens to out of a network."""

import copy

import torch

from spandex.sparsify.chain import RECURRENT, Link, chain, ends, heard


@torch.no_grad()
def shrink(network: torch.nn.Module) -> torch.nn.Module:
    """A smaller copy of a network, without the hidden neurons that have no way to the output.

    These are the neurons whose outgoing weights, recurrent ones too, are all exactly zero or lead only to such neurons:
    what ``NeuronPruner`` pruned, and what other pruning left without an outgoing weight. Their rows of the layer, their
    columns of it and of the next one, and their delays, thresholds, biases and other values of their own go. Every
    other neuron does what it did, so the output is the same up to the order of sums. The inputs, the outputs and one
    neuron of each layer stay. A neuron is one output channel, as for ``NeuronPruner``.

    An optimiser of the network does not know the parameters of the copy: make a new one. Batch normalisation with
    one variance for all neurons (``WgtScaleBatchNorm``) stays the same in evaluation, but not in further training.

    Args:
        network: a network of lava-dl dense, recurrent, convolution, affine and output blocks that feed one another in
            the order in which the network registers them. It is not changed.

    Raises:
        SpandexError: it is not such a network.
    """
    for link in chain(network):
        for weight in link.weights.values():
            weight.refresh()  # torch refuses to copy a tensor with a graph
    small = copy.deepcopy(network)
    links = chain(small)
    for link, (neurons, inputs) in zip(links, ends(links, _worth_keeping(links)), strict=True):
        _cut_weights(link, neurons, inputs)
        if not neurons.all():
            for block in (link.block, *link.following):
                _cut_neurons(block, neurons)
    return small


def _worth_keeping(links: list[Link]) -> dict[str, torch.Tensor]:
    """Boolean tensors (neurons,) by hidden layer: True for what has a way to the output, or is the last one there."""
    used = {name: weight.value() != 0 for link in links for name, weight in link.weights.items()}
    kept = heard(links, used)
    for neurons in kept.values():
        neurons[0] |= ~neurons.any()  # a layer of no neurons would cut the network
    return kept


def _cut_weights(link: Link, neurons: torch.Tensor, inputs: torch.Tensor) -> None:
    weights, masks = link.weights, link.masks(neurons, inputs)
    for name, weight in weights.items():
        weight.hold(masks[name])  # a norm must not miss what is cut
    if isinstance(getattr(link.block, "mask", None), torch.Tensor):  # lava-dl's own mask of a dense block
        link.block.mask = _cut(link.block.mask, {0: neurons, 1: inputs})
    for name, module in link.block.named_modules():
        if hasattr(module, "in_channels"):  # a synapse, or lava-dl's pair of a real and an imaginary one
            senders = neurons if RECURRENT in name.split(".") else inputs
            _cut_parameters(module, {link.row: neurons, 1 - link.row: senders})
            module.out_channels, module.in_channels = int(neurons.sum()), int(senders.sum())
    for weight in weights.values():
        weight.refresh()


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
    kept, neurons = int(keep.sum()), keep.numel()
    if own.get("shape") is not None:
        first, *rest = module.shape
        module.shape = type(module.shape)([first * kept // neurons, *rest])  # a flattened block has several a neuron
    if own.get("num_neurons") is not None:
        module.num_neurons = module.num_neurons * kept // neurons
    if own.get("num_features") is not None:
        module.num_features = kept
    for name in ("delay_buffer", "spike_state"):
        if getattr(module, name, None) is not None:
            setattr(module, name, _cut(getattr(module, name), {1: keep}))


def _cut_parameters(module: torch.nn.Module, keep: dict[int, torch.Tensor]) -> None:
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, torch.nn.Parameter(_cut(parameter, keep), requires_grad=parameter.requires_grad))


def _cut(tensor: torch.Tensor, keep: dict[int, torch.Tensor]) -> torch.Tensor:
    """The kept indices along each dimension of which a tensor has as many as ``keep`` tells."""
    for dim, kept in keep.items():
        if tensor.ndim > dim and tensor.shape[dim] == kept.numel():
            tensor = tensor.index_select(dim, kept.nonzero().flatten())
    return tensor
