"""Scale-invariant signal-to-noise ratio."""

import numpy as np
import torch

EPSILON = 1e-8  # added to the noise energy and to the ratio, as in the challenge's snr.py


def si_snr(estimate: torch.Tensor | np.ndarray, target: torch.Tensor | np.ndarray) -> torch.Tensor | np.ndarray:
    """SI-SNR of each estimate against its target, in dB; differentiable.

    With both signals made zero-mean, e the estimate and s the target:
    ``p = <e, s> s / |s|^2`` and ``SI-SNR = 10 log10(|p|^2 / |e - p|^2)``.

    Args:
        estimate: audio, shape (..., samples).
        target: clean audio of the same shape.

    Returns:
        Shape (...), in the kind of array and the precision of the inputs. NaN where the target is constant.

    Raises:
        ValueError: the shapes differ, or one input is a tensor and the other an array.

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
    estimate = estimate - estimate.mean(dim=-1, keepdim=True)
    target = target - target.mean(dim=-1, keepdim=True)
    scale = (estimate * target).sum(dim=-1, keepdim=True) / target.square().sum(dim=-1, keepdim=True)
    projection = scale * target
    noise_energy = (estimate - projection).square().sum(dim=-1)
    return 10 * torch.log10(projection.square().sum(dim=-1) / (noise_energy + EPSILON) + EPSILON)
