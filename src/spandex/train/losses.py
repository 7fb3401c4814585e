"""The loss of the Intel N-DNS Challenge's baseline."""

import torch

from spandex.data.audio import SILENCE_RANGE
from spandex.metrics import si_snr


def audible(clean: torch.Tensor) -> torch.Tensor:
    """Which clips (batch, samples) have an SI-SNR, as booleans (batch,): all whose clean signal is more than rounding
    noise around a constant."""
    return clean.amax(dim=-1) - clean.amin(dim=-1) > SILENCE_RANGE


def denoising_loss(
    magnitude: torch.Tensor,
    clean_magnitude: torch.Tensor,
    audio: torch.Tensor,
    clean: torch.Tensor,
    lam: float,
    weights: tuple[float, float] = (1.0, 1.0),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of a denoised batch.

        loss = lam * mean((magnitude - clean_magnitude)^2) + (100 - mean SI-SNR)

    SI-SNR divides by the energy of the clean signal, so a segment without speech has none. Such segments count in the
    magnitude error alone, which still asks for silence there; in a batch of nothing else the SI-SNR term is 0.

    Args:
        magnitude: denoised STFT magnitude (batch, bins, steps).
        clean_magnitude: the clean one, of the same shape.
        audio: denoised audio (batch, samples).
        clean: clean audio (batch, samples).
        lam: weight of the magnitude error (0.001 in the challenge).
        weights: factors on the two terms; with the part's share of a batch's clips and of its clips with speech, the
            losses of the parts add up to the loss of the batch.

    Returns:
        The loss, a scalar, and the SI-SNR in dB of each segment that has one, detached.

    Source: IntelLabs/IntelNeuromorphicDNSChallenge, baseline_solution/sdnn_delays/train_sdnn.py.
    """
    # spectra lie in memory step by step; the gradient shall, too
    loss = weights[0] * lam * torch.nn.functional.mse_loss(magnitude.mT, clean_magnitude.mT)
    has_speech = audible(clean)
    if not has_speech.any():
        return loss, loss.new_empty(0)
    if not has_speech.all():
        audio, clean = audio[has_speech], clean[has_speech]
    scores = si_snr(audio, clean)
    return loss + weights[1] * (100 - scores.mean()), scores.detach()
