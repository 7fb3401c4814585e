"""Networks as a user would write them, for ``model.factory``."""

import torch
from lava.lib.dl.slayer.block import sigma_delta

NEURON = {"threshold": 0.1, "tau_grad": 0.1, "scale_grad": 0.8, "activation": torch.relu}


def two_layers(hidden=8, bins=257, weight_norm=False, neuron=NEURON, **dense):
    """Two layers of synapses."""
    options = {"delay": True, "delay_shift": True} | dense
    return [
        sigma_delta.Input(NEURON),
        sigma_delta.Dense(neuron, bins, hidden, weight_norm=weight_norm, **options),
        sigma_delta.Output(NEURON, hidden, bins, weight_norm=weight_norm),
    ]


class Module(torch.nn.Module):
    """The same as a module."""

    def __init__(self, hidden):
        super().__init__()
        self.blocks = torch.nn.ModuleList(two_layers(hidden))


def without_end():
    return two_layers()[:2]


def sigmoid():
    return two_layers(neuron=NEURON | {"activation": torch.sigmoid})


def unshifted():
    return two_layers(delay_shift=False)


def cumulative():
    return two_layers(neuron=NEURON | {"cum_error": True})


def by_channel():
    return two_layers(neuron=NEURON | {"shared_param": False})


def logging():
    return two_layers(count_log=True)


def persistent():
    return two_layers(neuron=NEURON | {"persistent_state": True})


def weighted():
    return [sigma_delta.Input(NEURON, weight=2.0), *two_layers()[1:]]


def biased():
    return [sigma_delta.Input(NEURON, bias=0.5), *two_layers()[1:]]


def narrow():
    return two_layers(bins=100)


def failing():
    raise KeyError("no such\ncorpus")


number = 3
