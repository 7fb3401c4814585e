"""The prunable weights of a lava-dl network: where they are, their values, and how zeros are held in them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from lava.lib.dl import slayer
from torch.nn.utils import parametrize
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils.hooks import RemovableHandle

from spandex.errors import SpandexError
from spandex.metrics.weights import nonzero

# Pooling has one fixed weight for all, which is no connection that could go.
PRUNABLE = (slayer.synapse.Dense, slayer.synapse.Conv, slayer.synapse.ConvTranspose)

Layers = Iterable[str] | Callable[[str], bool]


@dataclass(frozen=True)
class GradientMask:
    """A parameter's hook that zeroes the gradient where the mask, asked for each time, is False."""

    mask: Callable[[], torch.Tensor]

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.masked_fill(~self.mask(), 0.0)


class SynapseWeight:
    """The weight of one synapse, normalised (``enable_weight_norm``) or not.

    Weight normalisation: w = g v / ||v||, one norm for each index of the first dimension. A zero in v is a zero in w.
    """

    def __init__(self, synapse: torch.nn.Module):
        self.synapse = synapse

    @property
    def _norm(self) -> WeightNorm | None:
        hooks = self.synapse._forward_pre_hooks.values()
        return next((hook for hook in hooks if isinstance(hook, WeightNorm) and hook.name == "weight"), None)

    def value(self) -> torch.Tensor:
        """The weight that the synapse uses (before quantisation), without its graph."""
        norm = self._norm
        # Under normalisation the attribute ``weight`` is as old as the last forward.
        return self.synapse.weight.detach() if norm is None else norm.compute_weight(self.synapse).detach()

    @torch.no_grad()
    def refresh(self) -> None:
        """Bring the attribute ``weight`` up to date under normalisation, and leave its graph behind."""
        norm = self._norm
        if norm is not None:
            self.synapse.weight = norm.compute_weight(self.synapse)

    @torch.no_grad()
    def hold(self, mask: torch.Tensor) -> None:
        """Set the weight to zero, exactly, where ``mask`` is False, and leave it as it is elsewhere."""
        # Not products with the mask: 0 * -1 is -0.0, and 0 * inf is not a number.
        self._change(lambda weight: weight.masked_fill_(~mask, 0.0))
        if self._norm is not None:
            # Where all is pruned g is zero now; v must not be, or w would be 0 / 0.
            self.synapse.weight_v.masked_fill_(~_any_like(mask, self.synapse.weight_g), 1.0)
            self.refresh()

    @torch.no_grad()
    def scale(self, factor: torch.Tensor) -> None:
        """Multiply the weight element by element."""
        self._change(lambda weight: weight.mul_(factor))
        self.refresh()

    def _change(self, change: Callable[[torch.Tensor], object]) -> None:
        """Change the weight in place; under normalisation v, and g as the norm of v changes."""
        norm = self._norm
        if norm is None:
            change(self.synapse.weight)
            return
        g, v = self.synapse.weight_g, self.synapse.weight_v
        before = torch.norm_except_dim(v, 2, norm.dim)
        change(v)
        g.mul_(torch.norm_except_dim(v, 2, norm.dim) / before)

    def mask_gradients(self, mask: Callable[[], torch.Tensor]) -> list[RemovableHandle]:
        """Zero the gradient in the backward pass where the mask, asked for each time, is False.

        Returns:
            Handles that undo it.
        """
        if self._norm is None:
            masks = {self.synapse.weight: mask}
        else:
            g = self.synapse.weight_g
            masks = {self.synapse.weight_v: mask, g: lambda: _any_like(mask(), g)}
        return [
            parameter.register_hook(GradientMask(mask)) for parameter, mask in masks.items() if parameter.requires_grad
        ]


def _any_like(mask: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Whether anything is kept of what each element of g scales."""
    return mask.float().sum_to_size(g.shape) > 0


def synapse_weights(network: torch.nn.Module, layers: Layers | None = None) -> dict[str, SynapseWeight]:
    """Weights of the dense and convolutional synapses of a network, by the synapse's name, in the network's order.

    A complex synapse counts as two, ``<name>.real`` and ``<name>.imag``, and so does a recurrent block.

    Args:
        network: a network with lava-dl synapses.
        layers: which of them: names of synapses or of modules that hold them, or a predicate of the synapse's name;
            all if not given.

    Raises:
        SpandexError: there is none, a name in ``layers`` holds none, or one is under ``torch.nn.utils.parametrize``,
            where a zero in a parameter need not be one in the weight.
    """
    found = _chosen(network, layers)
    for name, weight in found.items():
        if parametrize.is_parametrized(weight.synapse):
            raise SpandexError(f"{name}: its weights are parametrised; remove the parametrisation before pruning")
    return found


def _chosen(network: torch.nn.Module, layers: Layers | None) -> dict[str, SynapseWeight]:
    found = {name: module for name, module in network.named_modules() if isinstance(module, PRUNABLE)}
    if not found:
        raise SpandexError(f"{type(network).__name__}: no dense or convolutional synapse of lava-dl to prune")
    return {name: SynapseWeight(found[name]) for name in choose_layers(list(found), layers)}


def choose_layers(names: list[str], layers: Layers | None) -> list[str]:
    """Those of ``names`` that ``layers`` tells, as for ``synapse_weights``, in the order of ``names``.

    Raises:
        SpandexError: none, or none for one of ``layers``.
    """
    if layers is None:
        return names
    if callable(layers):
        chosen = [name for name in names if layers(name)]
    else:
        wanted = [layers] if isinstance(layers, str) else list(layers)
        inside = {layer: {name for name in names if f"{name}.".startswith(f"{layer}.")} for layer in wanted}
        for layer in wanted:
            if not inside[layer]:
                raise SpandexError(f"layer {layer}: no synapse to prune; there are {', '.join(names)}")
        chosen = [name for name in names if any(name in group for group in inside.values())]
    if not chosen:
        raise SpandexError(f"no layer chosen to prune; there are {', '.join(names)}")
    return chosen


@dataclass(frozen=True)
class Sparsity:
    """Fractions of float weights that are zero: at most 1e-10 in magnitude (``spandex.metrics.weights``).

    Attributes:
        layers: one fraction a synapse, by name.
        total: fraction over all of them.
    """

    layers: dict[str, float]
    total: float


def sparsity(network: torch.nn.Module, layers: Layers | None = None) -> Sparsity:
    """Zero fraction of the float weights of every dense and convolutional synapse and of all of them together.

    Zero is what ``spandex.metrics.weights`` says, here and wherever a float network's sparsity or operations are told;
    quantisation rounds more weights to zero, see ``spandex.metrics.NetworkSize.deployed_sparsity``. Parametrised
    weights are taken as the synapse uses them.

    Args:
        network: a network with lava-dl synapses.
        layers: which synapses, as in ``synapse_weights``; all if not given.

    Raises:
        SpandexError: there is none, or a name in ``layers`` holds none.
    """
    weights = {name: weight.value() for name, weight in _chosen(network, layers).items()}
    zeros = {name: weight.numel() - int(nonzero(weight).sum()) for name, weight in weights.items()}
    return Sparsity(
        layers={name: zeros[name] / weight.numel() for name, weight in weights.items()},
        total=sum(zeros.values()) / sum(weight.numel() for weight in weights.values()),
    )
