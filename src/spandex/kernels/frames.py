"""Frames of audio on the GPU, in Triton: each function is one pass over memory where torch takes several.

Frames are (batch, count, n_fft), the first begins ``n_fft / 2`` samples before the audio, each a hop after the last.
Tensors are contiguous, of either precision. Every sum has its own order, so results are bitwise reproducible.
"""

import torch
import triton
import triton.language as tl

BLOCK = 1024  # values of a program that no frame bounds
OPTIONS = {"enable_fp_fusion": False}  # no fused multiply-adds, as on the CPU


@triton.jit
def _frame(count, N_FFT: tl.constexpr, HOP: tl.constexpr, WIDTH: tl.constexpr):
    """The program's frame: its clip, and of its samples which exist, where they lie, and when in the clip they are."""
    frame = tl.program_id(0).to(tl.int64)
    within = tl.arange(0, WIDTH)
    return frame // count, within < N_FFT, frame * N_FFT + within, frame % count * HOP + within - N_FFT // 2


@triton.jit
def _share(hop, count, N_FFT: tl.constexpr, HOP: tl.constexpr):
    """n_fft times how many frames lie over a hop, counted from the start of the first; n_fft behind the last."""
    over = tl.minimum(tl.minimum(hop + 1, count + N_FFT // HOP - 1 - hop), tl.minimum(N_FFT // HOP, count))
    return tl.maximum(over, 1) * N_FFT


@triton.jit
def _reflected(audio_ptr, samples, count, out_ptr, N_FFT: tl.constexpr, HOP: tl.constexpr, WIDTH: tl.constexpr):
    clip, exists, place, at = _frame(count, N_FFT, HOP, WIDTH)
    at = tl.abs(at)
    at = tl.where(at < samples, at, 2 * (samples - 1) - at)
    tl.store(out_ptr + place, tl.load(audio_ptr + clip * samples + at, exists), exists)


@triton.jit
def _spread(audio_ptr, samples, count, out_ptr, N_FFT: tl.constexpr, HOP: tl.constexpr, WIDTH: tl.constexpr):
    clip, exists, place, at = _frame(count, N_FFT, HOP, WIDTH)
    value = tl.load(audio_ptr + clip * samples + at, exists & (at >= 0) & (at < samples), 0.0)
    share = _share((at + N_FFT // 2) // HOP, count, N_FFT, HOP)
    tl.store(out_ptr + place, value / share.to(value.dtype), exists)


@triton.jit
def _averaged(frames_ptr, samples, count, out_ptr, N_FFT: tl.constexpr, HOP: tl.constexpr, BLOCK: tl.constexpr):
    clip = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    exists = at < samples
    hop = (at + N_FFT // 2) // HOP
    within = (at + N_FFT // 2) % HOP
    frames = frames_ptr + clip * count * N_FFT
    total = tl.load(frames + hop * N_FFT + within, exists & (hop < count), 0.0)
    for part in tl.static_range(1, N_FFT // HOP):
        of_frame = exists & (hop >= part) & (hop - part < count)
        total += tl.load(frames + (hop - part) * N_FFT + part * HOP + within, of_frame, 0.0)
    tl.store(out_ptr + clip * samples + at, total / _share(hop, count, N_FFT, HOP).to(total.dtype), exists)


@triton.jit
def _along(phase_ptr, spectrum_ptr, size, out_ptr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = at < size
    real = tl.load(phase_ptr + 2 * at, exists) * tl.load(spectrum_ptr + 2 * at, exists)
    imaginary = tl.load(phase_ptr + 2 * at + 1, exists) * tl.load(spectrum_ptr + 2 * at + 1, exists)
    tl.store(out_ptr + at, real + imaginary, exists)


def reflected(audio: torch.Tensor, n_fft: int, hop: int) -> torch.Tensor:
    """Frames of audio (batch, samples) that is reflected at both ends; samples > n_fft / 2."""
    return _framed(_reflected, audio, 1 + (audio.shape[1] - n_fft % 2) // hop, n_fft, hop)


def spread(audio: torch.Tensor, count: int, n_fft: int, hop: int) -> torch.Tensor:
    """The transpose of :func:`averaged`: ``count`` frames of audio (batch, samples)."""
    return _framed(_spread, audio, count, n_fft, hop)


def averaged(frames: torch.Tensor, samples: int, hop: int) -> torch.Tensor:
    """Mean of the frames that lie over each sample, divided by n_fft; 0 where there is none: (batch, samples)."""
    batch, count, n_fft = frames.shape
    out = frames.new_empty(batch, samples)
    with torch.cuda.device_of(frames):
        grid = triton.cdiv(samples, BLOCK), batch
        _averaged[grid](frames, samples, count, out, N_FFT=n_fft, HOP=hop, BLOCK=BLOCK, **OPTIONS)
    return out


def along(phase: torch.Tensor, spectrum: torch.Tensor) -> torch.Tensor:
    """Real part of conj(phase) * spectrum, both complex and of one shape."""
    out = torch.empty_like(spectrum.real, memory_format=torch.contiguous_format)
    size = out.numel()
    with torch.cuda.device_of(out):
        parts = torch.view_as_real(phase), torch.view_as_real(spectrum)
        _along[(triton.cdiv(size, BLOCK),)](*parts, size, out, BLOCK=BLOCK, **OPTIONS)
    return out


def _framed(kernel: triton.JITFunction, audio: torch.Tensor, count: int, n_fft: int, hop: int) -> torch.Tensor:
    out = audio.new_empty(len(audio), count, n_fft)
    width = triton.next_power_of_2(n_fft)
    with torch.cuda.device_of(audio):
        kernel[(len(audio) * count,)](audio, audio.shape[1], count, out, N_FFT=n_fft, HOP=hop, WIDTH=width, **OPTIONS)
    return out
