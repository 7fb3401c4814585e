"""Scale-invariant signal-to-noise ratio."""

import math

import numpy as np
import torch
from torch.autograd.function import once_differentiable

EPSILON = 1e-8  # added to the noise energy and to the ratio, as in the challenge's snr.py


def si_snr(estimate: torch.Tensor | np.ndarray, target: torch.Tensor | np.ndarray) -> torch.Tensor | np.ndarray:
    """SI-SNR of each estimate against its target, in dB; differentiable for the estimate.

    With both signals made zero-mean, e the estimate and s the target:
    ``p = <e, s> s / |s|^2`` and ``SI-SNR = 10 log10(|p|^2 / |e - p|^2)``.

    Args:
        estimate: audio, shape (..., samples).
        target: clean audio of the same shape.

    Returns:
        Shape (...), in the kind of array and the precision of the inputs. NaN where the target is constant.

    Raises:
        ValueError: the shapes differ, one input is a tensor and the other an array, or the target requires a gradient.

    Source:
        Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019; where the epsilons stand:
        snr.py of IntelLabs/IntelNeuromorphicDNSChallenge.
    """
    if estimate.shape != target.shape:
        raise ValueError(f"estimate has shape {tuple(estimate.shape)} but target {tuple(target.shape)}")
    if torch.is_tensor(estimate) != torch.is_tensor(target):
        raise ValueError("estimate and target must both be torch tensors or both numpy arrays")
    if not torch.is_tensor(estimate):
        return si_snr(torch.as_tensor(estimate), torch.as_tensor(target)).numpy()
    if target.requires_grad:
        raise ValueError("target requires a gradient, which SI-SNR has for the estimate alone")
    return _SiSnr.apply(estimate, target)


class _SiSnr(torch.autograd.Function):
    """:func:`si_snr`. Its gradient is a sum of the estimate's part along the target and of the rest."""

    @staticmethod
    def forward(ctx, estimate, target):
        estimate = estimate - estimate.mean(dim=-1, keepdim=True)
        target = target - target.mean(dim=-1, keepdim=True)
        scale = (estimate * target).sum(dim=-1, keepdim=True) / target.square().sum(dim=-1, keepdim=True)
        projection = scale * target
        noise = estimate - projection
        energy, noise_energy = projection.square().sum(dim=-1), noise.square().sum(dim=-1) + EPSILON
        ctx.save_for_backward(target, scale, noise, energy, noise_energy)
        return 10 * torch.log10(energy / noise_energy + EPSILON)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        target, scale, noise, energy, noise_energy = ctx.saved_tensors
        ratio = energy / noise_energy
        factor = (grad * 20 / math.log(10) / (ratio + EPSILON) / noise_energy)[..., None]
        return torch.addcmul(factor * scale * target, -factor * ratio[..., None], noise), None
