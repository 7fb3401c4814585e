"""Short-time spectra as the published network was trained on: rectangular window, centred frames."""

import torch


def stft(audio: torch.Tensor, n_fft: int = 512, hop: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitude and phase of the short-time Fourier transform.

    The window is rectangular: the challenge's baseline calls ``torch.stft`` without one
    (IntelNeuromorphicDNSChallenge, baseline_solution/sdnn_delays/train_sdnn.py).

    Args:
        audio: (batch, samples), samples > n_fft / 2.
        n_fft: samples of a frame.
        hop: samples between frames.

    Returns:
        Magnitude and phase in radians, each (batch, n_fft / 2 + 1, 1 + samples // hop).
    """
    spectrum = torch.stft(audio, n_fft, hop, window=_window(n_fft, audio), return_complex=True)
    return spectrum.abs(), spectrum.angle()


def istft(
    magnitude: torch.Tensor, phase: torch.Tensor, length: int | None = None, n_fft: int = 512, hop: int = 128
) -> torch.Tensor:
    """Audio (batch, length) from magnitude and phase; ``length`` in samples defaults to (frames - 1) * hop."""
    return torch.istft(
        torch.polar(magnitude, phase), n_fft, hop, window=_window(n_fft, magnitude), length=length, onesided=True
    )


def _window(n_fft: int, like: torch.Tensor) -> torch.Tensor:
    return torch.ones(n_fft, dtype=like.dtype, device=like.device)
