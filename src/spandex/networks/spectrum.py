"""Short-time spectra as the published network was trained on: rectangular window, centred frames."""

from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from torch.autograd.function import once_differentiable


def stft(audio: torch.Tensor, n_fft: int = 512, hop: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Magnitude and phase of the short-time Fourier transform.

    The window is rectangular: the challenge's baseline calls ``torch.stft`` without one
    (IntelNeuromorphicDNSChallenge, baseline_solution/sdnn_delays/train_sdnn.py).

    Args:
        audio: (batch, samples).
        n_fft: samples of a frame.
        hop: samples between frames.

    Returns:
        Magnitude, and phase as the unit phasor exp(i angle) (complex, 0 where the magnitude is 0), each
        (batch, n_fft // 2 + 1, 1 + samples // hop), of odd frames as many as fit. Angles, and their sines again, would
        cost more time than a layer of the network.

    Raises:
        ValueError: there are not more than n_fft / 2 samples.
    """
    spectrum = _spectrum(audio, n_fft, hop)
    return spectrum.abs(), spectrum.sgn()


def magnitudes(audio: torch.Tensor, n_fft: int = 512, hop: int = 128) -> torch.Tensor:
    """The magnitude of :func:`stft` alone."""
    return _spectrum(audio, n_fft, hop).abs()


def istft(
    magnitude: torch.Tensor, phase: torch.Tensor, length: int | None = None, n_fft: int = 512, hop: int = 128
) -> torch.Tensor:
    """Audio of a magnitude and a phase as :func:`stft` gives them, differentiable for both.

    The overlapping frames are averaged, which is ``torch.istft`` with a rectangular window, in less time.

    Args:
        magnitude: (batch, n_fft // 2 + 1, frames).
        phase: unit phasors of the same shape.
        length: samples to return, by default (frames - 1) * hop; zeros follow where the frames end earlier.
        n_fft: samples of a frame, a multiple of ``hop``.
        hop: samples between frames.

    Returns:
        (batch, length).

    Raises:
        ValueError: n_fft is no multiple of ``hop``, or the shapes differ.
    """
    if n_fft % hop:
        raise ValueError(f"n_fft must be a multiple of hop, got {n_fft} and {hop}")
    if magnitude.shape != phase.shape:
        raise ValueError(f"magnitude has shape {tuple(magnitude.shape)} but phase {tuple(phase.shape)}")
    if length is None:
        length = (magnitude.shape[2] - 1) * hop
    return _Synthesis.apply(magnitude, phase, length, n_fft, hop)


def frames_of(magnitude: torch.Tensor, phase: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Frames (batch, frames, n_fft / hop, hop) of a spectrum as :func:`stft` gives it, n_fft times as loud."""
    return torch.fft.irfft((magnitude * phase).mT, n_fft, norm="forward").unflatten(2, (-1, hop))


def spectrum_of(padded: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Spectrum (batch, n_fft // 2 + 1, frames) of all frames that begin at a multiple of ``hop``, complex."""
    return torch.fft.rfft(padded.unfold(1, n_fft, hop)).transpose(1, 2)


def overlap_add(frames: torch.Tensor) -> torch.Tensor:
    """Sum frames (batch, count, parts, width), each one part later than the last: (batch, count + parts - 1, width)."""
    last = frames.shape[2] - 1
    shifted = [F.pad(part, (0, 0, i, last - i)) for i, part in enumerate(frames.unbind(2))]
    return sum(shifted[1:], shifted[0])


def _spectrum(audio: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """``torch.stft`` with a rectangular window, the same bits in less than a third of its time."""
    if audio.shape[1] <= n_fft // 2:
        raise ValueError(f"audio has {audio.shape[1]} samples; a spectrum of {n_fft} needs more than {n_fft // 2}")
    if (gpu := gpu_frames(audio.device.type)) and not audio.requires_grad:
        return torch.fft.rfft(gpu.reflected(audio.contiguous(), n_fft, hop)).mT
    padded = F.pad(audio[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0]
    return spectrum_of(padded, n_fft, hop)


class _Synthesis(torch.autograd.Function):
    """:func:`istft`. Its gradient is the spectrum of the audio's, which takes none of the frames' own."""

    @staticmethod
    def forward(ctx, magnitude, phase, samples, n_fft, hop):
        ctx.save_for_backward(magnitude, phase)
        ctx.settings = n_fft, hop
        return _averaged(frames_of(magnitude, phase, n_fft, hop), samples)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        magnitude, phase = ctx.saved_tensors
        n_fft, hop = ctx.settings
        # every bin stands for its conjugate, too, but the first and, of an even number of samples, the last
        spectrum = torch.fft.rfft(_spread(2 * grad, magnitude.shape[2], n_fft, hop)).mT
        spectrum[:, :1] /= 2
        spectrum[:, (n_fft + 1) // 2 :] /= 2
        by_magnitude = _along(phase, spectrum) if ctx.needs_input_grad[0] else None
        by_phase = magnitude * spectrum if ctx.needs_input_grad[1] else None
        return by_magnitude, by_phase, None, None, None


def _averaged(frames: torch.Tensor, samples: int) -> torch.Tensor:
    """Mean of frames as :func:`frames_of` gives them over each sample, divided by n_fft: (batch, samples).

    As in :func:`stft`, the first frame begins n_fft / 2 samples before the audio; it is 0 where there is no frame.
    """
    count, parts, hop = frames.shape[1:]
    n_fft = parts * hop
    if gpu := gpu_frames(frames.device.type):
        return gpu.averaged(frames.flatten(2), samples, hop)
    audio = (overlap_add(frames) / _shares(count, n_fft, hop, frames)).flatten(1)
    return F.pad(audio, (-(n_fft // 2), n_fft // 2 + samples - audio.shape[1]))


def _spread(audio: torch.Tensor, count: int, n_fft: int, hop: int) -> torch.Tensor:
    """The transpose of :func:`_averaged`: frames (batch, count, n_fft) of audio (batch, samples)."""
    if gpu := gpu_frames(audio.device.type):
        return gpu.spread(audio.contiguous(), count, n_fft, hop)
    padding = n_fft // 2, (count - 1) * hop + n_fft - n_fft // 2 - audio.shape[1]
    hops = F.pad(audio, padding).unflatten(1, (-1, hop)) / _shares(count, n_fft, hop, audio)
    return hops.flatten(1).unfold(1, n_fft, hop)


def _along(phase: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Real part of conj(phase) * spectrum, (batch, bins, frames) as all three lie in memory: frame by frame."""
    if gpu := gpu_frames(phase.device.type):
        return gpu.along(phase.mT.contiguous().resolve_conj(), spectrum.mT.contiguous()).mT
    return (phase.conj() * spectrum).real


def _shares(count: int, n_fft: int, hop: int, like: torch.Tensor) -> torch.Tensor:
    """n_fft times how many of ``count`` frames lie over each of their hops: (hops, 1)."""
    over = torch.arange(1, count + n_fft // hop, device=like.device)
    return n_fft * torch.minimum(over, over.flip(0)).clamp(max=min(n_fft // hop, count))[:, None]


@cache
def gpu_frames(device: str) -> ModuleType | None:
    """The module with single passes over frames for a type of device, such as "cuda"; None if there is none."""
    if device != "cuda":
        return None
    try:
        from spandex.kernels import frames
    except ImportError:
        return None
    return frames
