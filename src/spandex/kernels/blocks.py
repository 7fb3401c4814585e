"""lava-dl's sigma-delta and CUBA blocks with a fused forward and backward.

An accelerated block stays the same object with the same modules, parameters, state dict and HDF5 export; only
its class, and with it ``forward``, is exchanged. Whatever the kernels do not cover runs lava-dl's own forward.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl.slayer.block import cuba, sigma_delta
from lava.lib.dl.slayer.neuron.cuba import SCALE_RHO_MULT, TAU_RHO_MULT
from lava.lib.dl.slayer.synapse import layer as synapse
from lava.lib.dl.slayer.utils import quantize
from torch.nn.utils.weight_norm import WeightNorm

from spandex.errors import SpandexError
from spandex.kernels.functions import Delay, Delta, Leak, Sigma, SigmaReluDelta, Spike, Synapse, kernels

MOST_LIVING = 0.875  # share up to which a block picks neurons out: picking 491 of 512 costs more than it saves


class FusedInput(sigma_delta.Input):
    """Input block whose delta unit is compiled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and self.neuron.delta.shape in (None, x.shape[1:-1])):
            return super().forward(x)
        _take_shape(self, super().forward, x)
        z = self.pre_hook_fx(x)
        if self.weight is not None:
            z = z * self.pre_hook_fx(self.weight)
        if self.bias is not None:
            z = z + self.pre_hook_fx(self.bias)
        return _neurons_first(Delta.apply(_steps_first(z), *_delta_settings(self.neuron)))


class FusedDense(sigma_delta.Dense):
    """Dense block on two operations: the synapse, and the neuron with its shift and delay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and _dense_covered(self)):
            return super().forward(x)
        _take_shape(self, super().forward, x)
        bias, delay, scale = None, None, 1.0
        if self.neuron.bias_is_set:
            bias = self.neuron.bias.flatten().expand(self.synapse.out_channels).contiguous()
        if self.delay is not None:
            self.delay.clamp()
            delay, scale = self.delay.delay, self.delay.grad_scale
        shift, (threshold, *settings) = int(self.delay_shift is True), _delta_settings(self.neuron)
        current, rows = _current(self, x, False if bias is None else bias != 0)
        bias, delay, threshold = (_chosen(values, rows) for values in (bias, delay, threshold))
        sent = SigmaReluDelta.apply(current, bias, delay, shift, scale, threshold, *settings)
        if rows is not None:
            sent = sent.new_zeros(*x.shape[::2], self.synapse.out_channels).index_copy(2, rows, sent)
        return _neurons_first(sent)


class FusedOutput(sigma_delta.Output):
    """Output block on compiled synapse and sigma."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (_covered(self, x) and _plain_synapse(self.synapse)):
            return super().forward(x)
        _take_shape(self, super().forward, x)
        return _neurons_first(Sigma.apply(_current(self, x)[0]))


class _FusedCuba(torch.nn.Module):
    """CUBA block: synapse, two leaky integrators, spikes, step shift and delay."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        voltage = _voltage(self, x)
        if voltage is None:
            return super().forward(x)
        neuron = self.neuron
        threshold, tau, scale = _threshold(neuron), neuron.tau_rho * TAU_RHO_MULT, neuron.scale_rho * SCALE_RHO_MULT
        sent = Spike.apply(voltage, threshold, neuron.graded_spike is True, tau, scale)
        if self.delay_shift is True:
            sent = F.pad(sent, (0, 0, 1, -1))
        if self.delay is not None:
            self.delay.clamp()
            sent = Delay.apply(sent, _of_neurons(self.delay.delay, neuron.shape), self.delay.grad_scale)
        return _neurons_first(sent.unflatten(2, neuron.shape))


class FusedCubaDense(_FusedCuba, cuba.Dense):
    """Dense synapses, of a plain signal or of images."""


class FusedCubaConv(_FusedCuba, cuba.Conv):
    """Convolution."""


class FusedCubaPool(_FusedCuba, cuba.Pool):
    """Sums over squares of neurons."""


class FusedCubaAffine(cuba.Affine):
    """Dense synapses of neurons that never spike: what they return is their voltage."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        voltage = _voltage(self, x) if self.dynamics is True else None
        return super().forward(x) if voltage is None else _neurons_first(voltage.unflatten(2, self.neuron.shape))


_FUSED = {
    sigma_delta.Input: FusedInput,
    sigma_delta.Dense: FusedDense,
    sigma_delta.Output: FusedOutput,
    cuba.Dense: FusedCubaDense,
    cuba.Conv: FusedCubaConv,
    cuba.Pool: FusedCubaPool,
    cuba.Affine: FusedCubaAffine,
}
_STOCK = {fused: stock for stock, fused in _FUSED.items()}


def accelerate(network: torch.nn.Module, gradient_dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """Run sigma-delta Input, Dense and Output and CUBA Dense, Conv, Pool and Affine blocks through fused kernels.

    Events are those of lava-dl and gradients equal its gradients up to the order of float32 sums; runs with the
    same number of torch threads are bitwise reproducible. With cumulative error or per-channel thresholds, which
    lava-dl itself cannot train, they follow its equations with the state reset at every call; so do CUBA neurons of
    images with per-channel decays. Signals inside are stored (batch, steps, neurons), so what a block returns is a
    transposed view.

    Inputs that a dense block has no weight from, and sigma-delta neurons without a weight and a bias, are left out of
    the computation while a hook on the weight masks their gradients, as ``spandex.sparsify`` prunes; what a block
    returns has its full size.

    lava-dl's own forward runs a block in another precision, with persistent state, dropout, a synapse mask, an event
    log, or a hook on one of its modules; a sigma-delta block also with normalisation, an activation other than relu or
    input that is not (batch, neurons, steps); a CUBA block also with its first batch, which decides on shapes.

    Args:
        network: lava-dl blocks, anywhere in it; blocks of other types are left alone.
        gradient_dtype: torch.bfloat16 rounds the factors of the matrix products that give gradients, which is faster
            on processors and GPUs that multiply it. What the network computes stays float32, and so do convolutions
            and, but for that rounding, gradients.

    Returns:
        ``network`` itself. Calling it again changes nothing but the precision.

    Raises:
        SpandexError: ``gradient_dtype`` is neither torch.float32 nor torch.bfloat16.
    """
    if gradient_dtype not in (torch.float32, torch.bfloat16):
        raise SpandexError(f"gradient_dtype must be torch.float32 or torch.bfloat16, got {gradient_dtype}")
    for module in network.modules():
        module.__class__ = _FUSED.get(type(module), type(module))
        if type(module) in _STOCK:
            module.gradient_dtype = gradient_dtype
    return network


def restore(network: torch.nn.Module) -> torch.nn.Module:
    """Undo :func:`accelerate`; returns ``network`` itself."""
    for module in network.modules():
        if type(module) in _STOCK:
            del module.gradient_dtype
            module.__class__ = _STOCK[type(module)]
    return network


def _covered(block: torch.nn.Module, x: torch.Tensor, ndim: int = 3) -> bool:
    neuron = block.neuron
    return (
        x.ndim == ndim
        and x.numel() > 0
        and kernels(x.device.type) is not None
        and neuron is not None
        and {x.dtype, *(parameter.dtype for parameter in block.parameters())} == {torch.float32}
        and not block.count_log
        and not neuron.persistent_state
        and not any(_hooked(module) for module in block.modules() if module is not block)
    )


def _hooked(module: torch.nn.Module) -> bool:
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(not isinstance(hook, WeightNorm) for kind in hooks for hook in kind.values())


def _dense_covered(block: sigma_delta.Dense) -> bool:
    neuron = block.neuron
    return (
        _plain_synapse(block.synapse)
        and block.mask is None
        and not (neuron.bias_is_set and neuron.bias.dtype != torch.float32)
        and neuron.norm is None
        and neuron.drop is None
        and neuron.activation in (F.relu, torch.relu)
        and (block.delay is None or block.delay.sampling_time == 1)
    )


def _cuba_covered(block: torch.nn.Module, x: torch.Tensor) -> bool:
    neuron, delay = block.neuron, block.delay
    return (
        _covered(block, x, 3 if _plain_synapse(block.synapse) else 5)
        and neuron.shape is not None  # lava-dl's own first forward takes shapes and draws decays and delays
        and (delay is None or (delay.init and delay.sampling_time == 1))
        and getattr(block, "mask", None) is None
        and neuron.drop is None
    )


def _plain_synapse(layer: torch.nn.Module) -> bool:
    return isinstance(layer, synapse.Dense) and layer.kernel_size == (1, 1, 1)


def _take_shape(block: torch.nn.Module, forward: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    """Let lava-dl's forward fix shapes and draw delays, as the first one does; with cumulative error it would raise."""
    if block.shape is not None and (block.delay is None or block.delay.init):
        return
    delta = block.neuron.delta
    cumulative, delta.cum_error = delta.cum_error, False
    try:
        with torch.no_grad():
            forward(x[..., :1])
    finally:
        delta.cum_error = cumulative


def _current(
    block: torch.nn.Module, x: torch.Tensor, alone: torch.Tensor | bool = True
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Synaptic current (batch, steps, neurons), and of which neurons it is, as indices; None: of all.

    Args:
        alone: the neurons that may send something without any current, (neurons,) or for all; these are not left out.
    """
    x, weight = _steps_first(x), _weight(block.synapse).flatten(1)
    used = _used(block.synapse, weight)
    if used is None:
        return Synapse.apply(x, weight, block.gradient_dtype), None
    rows, columns = _few(used.any(1) | alone), _few(used.any(0))
    weight = _chosen(_chosen(weight, rows), columns, 1)
    return Synapse.apply(_chosen(x, columns, 2), weight, block.gradient_dtype), rows


def _used(layer: torch.nn.Module, weight: torch.Tensor) -> torch.Tensor | None:
    """Where a weight (neurons, inputs) counts, since it is not zero or can become so; None where nothing tells.

    A hook on a parameter that has a ``mask``, such as pruning's, tells where it sets gradients to zero.
    """
    hooks = (hook for parameter in layer.parameters() for hook in (parameter._backward_hooks or {}).values())
    masks = [hook.mask().flatten(1) for hook in hooks if hasattr(hook, "mask")]
    masks = [mask for mask in masks if mask.shape == weight.shape]
    return torch.stack(masks).all(0) | (weight != 0) if masks else None


def _few(living: torch.Tensor) -> torch.Tensor | None:
    """Indices of the living if so many are not that picking them pays; else None."""
    indices = living.nonzero().flatten()
    return indices if 0 < len(indices) <= MOST_LIVING * len(living) else None


def _chosen(values: torch.Tensor | None, indices: torch.Tensor | None, dim: int = 0) -> torch.Tensor | None:
    """Values at the indices; as they are if there are no indices, or there is one value for all."""
    if values is None or indices is None or values.shape[dim] == 1:
        return values
    return values.index_select(dim, indices)


def _weight(layer: torch.nn.Module) -> torch.Tensor:
    for weight_norm in layer._forward_pre_hooks.values():
        weight_norm(layer, None)
    return layer.weight if layer.pre_hook_fx is None else layer.pre_hook_fx(layer.weight)


def _voltage(block: torch.nn.Module, x: torch.Tensor) -> torch.Tensor | None:
    """Voltage before reset (batch, steps, neurons) of a CUBA block; None if lava-dl's own forward must run."""
    neuron = block.neuron
    if not _cuba_covered(block, x):
        return None
    z = _current(block, x)[0] if x.ndim == 3 else _image_current(block.synapse, x)
    if z.shape[2:] != neuron.shape:
        return None  # which it refuses
    if neuron.requires_grad:
        neuron.clamp()
    current = _leaked(neuron, z.flatten(2), neuron.current_decay, math.inf)
    if neuron.norm is not None:
        normed = neuron.norm(_neurons_first(current.unflatten(2, neuron.shape)).contiguous())
        current = _steps_first(normed).flatten(2)
    threshold = _threshold(neuron)
    return _leaked(neuron, current, neuron.voltage_decay, threshold if threshold > 0 else math.inf)


def _leaked(neuron: torch.nn.Module, x: torch.Tensor, decay: torch.Tensor, threshold: float) -> torch.Tensor:
    return Leak.apply(x, _of_neurons(quantize(decay), neuron.shape), neuron.s_scale, threshold)


def _image_current(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Synaptic current (batch, steps, ...) of images (batch, channels, height, width, steps)."""
    if not isinstance(layer, synapse.Dense | synapse.Conv):
        return _steps_first(layer(x))
    how = (layer.stride[:2], layer.padding[:2], layer.dilation[:2], layer.groups)
    return F.conv2d(_steps_first(x).flatten(0, 1), _weight(layer)[..., 0], None, *how).unflatten(0, (len(x), -1))


def _threshold(neuron: torch.nn.Module) -> float:
    return neuron.threshold + neuron.threshold_eps


def _of_neurons(parameter: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A parameter of all neurons, (1,), or of each channel, (channels,), for each neuron of a shape, (neurons,)."""
    return parameter.view(-1, 1).expand(shape[0], shape[1:].numel()).flatten()


def _delta_settings(neuron: torch.nn.Module) -> tuple[torch.Tensor, float, bool, float, float]:
    """Threshold, quantisation step, whether the error is cumulative, and the surrogate's tau_grad and scale_grad."""
    delta = neuron.delta
    delta.clamp()
    return delta.threshold.flatten(), 1 / delta.scale, delta.cum_error, delta.tau_grad, delta.scale_grad


def _steps_first(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(-1, 1).contiguous()


def _neurons_first(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1)
