"""lava-dl's sigma-delta blocks with a fused forward and backward.

An accelerated block stays the same object with the same modules, parameters, state dict and HDF5 export; only
its class, and with it ``forward``, is exchanged. Whatever the kernels do not cover runs lava-dl's own forward.
"""

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl.slayer.block import sigma_delta
from lava.lib.dl.slayer.synapse import layer as synapse

from spandex.kernels.functions import Delta, DenseDelta, DenseSigma


class FusedInput(sigma_delta.Input):
    """Input block whose delta unit is compiled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and self.neuron.delta.shape == x.shape[1:-1]):
            return super().forward(x)
        z = self.pre_hook_fx(x)
        if self.weight is not None:
            z = z * self.pre_hook_fx(self.weight)
        if self.bias is not None:
            z = z + self.pre_hook_fx(self.bias)
        return Delta.apply(z, *_threshold_and_step(self.neuron.delta))


class FusedDense(sigma_delta.Dense):
    """Dense block whose synapse, neuron, shift and delay are one operation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and _dense_covered(self)):
            return super().forward(x)
        delay = None
        if self.delay is not None:
            self.delay.clamp()
            delay = self.delay.delay
        threshold, step = _threshold_and_step(self.neuron.delta)
        return DenseDelta.apply(x, _matrix(self.synapse), delay, threshold, step, int(self.delay_shift is True))


class FusedOutput(sigma_delta.Output):
    """Output block whose synapse and sigma are one operation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and _plain_synapse(self.synapse)):
            return super().forward(x)
        return DenseSigma.apply(x, _matrix(self.synapse))


_FUSED = {sigma_delta.Input: FusedInput, sigma_delta.Dense: FusedDense, sigma_delta.Output: FusedOutput}
_STOCK = {fused: stock for stock, fused in _FUSED.items()}


def accelerate(network: torch.nn.Module) -> torch.nn.Module:
    """Run the Input, Dense and Output sigma-delta blocks in ``network`` through fused CPU kernels.

    Events are those of lava-dl and gradients equal its gradients up to the order of float32 sums; runs with the
    same number of torch threads are bitwise reproducible. The first forward after construction, which fixes
    shapes and draws delays, is lava-dl's own. So is that of a block on another device or in another precision, with
    cumulative error, per-channel or trained thresholds, persistent state, a neuron bias, normalisation, dropout,
    an activation other than relu, a synapse mask, an event log, input that is not (batch, neurons, steps), or a
    hook on one of its modules.

    Returns:
        ``network`` itself. Blocks of other types are left alone; calling it again changes nothing.
    """
    return _exchange(network, _FUSED)


def restore(network: torch.nn.Module) -> torch.nn.Module:
    """Undo :func:`accelerate`; returns ``network`` itself."""
    return _exchange(network, _STOCK)


def _exchange(network: torch.nn.Module, classes: dict[type, type]) -> torch.nn.Module:
    for module in network.modules():
        module.__class__ = classes.get(type(module), type(module))
    return network


def _covered(block: torch.nn.Module, x: torch.Tensor) -> bool:
    neuron = block.neuron
    return (
        x.ndim == 3
        and x.numel() > 0
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and neuron is not None
        and block.shape is not None
        and not block.count_log
        and not neuron.persistent_state
        and neuron.delta.shared_param
        and not neuron.delta.cum_error
        and not neuron.delta.threshold.requires_grad
        and not any(m._forward_hooks or m._forward_pre_hooks for m in block.modules() if m is not block)
    )


def _dense_covered(block: sigma_delta.Dense) -> bool:
    neuron, delay = block.neuron, block.delay
    return (
        _plain_synapse(block.synapse)
        and block.mask is None
        and not neuron.bias_is_set
        and neuron.norm is None
        and neuron.drop is None
        and neuron.activation in (F.relu, torch.relu)
        and (delay is None or (delay.init and delay.sampling_time == 1))
    )


def _plain_synapse(layer: torch.nn.Module) -> bool:
    return isinstance(layer, synapse.Dense) and layer.kernel_size == (1, 1, 1)


def _matrix(layer: synapse.Dense) -> torch.Tensor:
    weight = layer.weight if layer.pre_hook_fx is None else layer.pre_hook_fx(layer.weight)
    return weight.flatten(1)


def _threshold_and_step(delta: torch.nn.Module) -> tuple[float, float]:
    delta.clamp()
    return delta.threshold.item(), 1 / delta.scale
