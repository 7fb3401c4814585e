"""Framing, encoder and decoder around a mask network: audio to its fixed-point input, its output to audio.

One network step is one hop of audio. The frame of a step is the last ``n_fft`` samples, zeros before the first, under a
rectangular window; bins = n_fft / 2 + 1. A masked frame is spread over the audio again and the frames
that hold a sample are averaged. What is computed follows IntelLabs/IntelNeuromorphicDNSChallenge,
baseline_solution/sdnn_delays/lava_inference.ipynb.

The Lava processes call ``encode_frames``, ``decode_frames`` and ``overlap_add`` step by step, denoising with the
event-driven executor in pieces; ``encode`` and ``decode`` are for whole clips. Every operation gives the same bits for
one frame as for many: elementwise ones that IEEE 754 rounds exactly, and scipy's transform.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import scipy.fft

from spandex.data.audio import pieces
from spandex.deploy.neurons import CHIP_BITS, INT24_MAX, INT24_MIN
from spandex.errors import SpandexError
from spandex.networks.hdf5 import check_encoding
from spandex.networks.scaling import INPUT_GAIN, MAGNITUDE_OFFSET, framing

if TYPE_CHECKING:
    from spandex.deploy.executor import Executor

OUTPUT_GAIN = 1 << 18  # fixed-point units of the network's output per unit of mask
LARGEST_SAMPLE = 1 << 12  # full scale is 1; up to here 32 bits hold the encoding of frames of up to 4096 samples

NETWORK_DELAY = 1
"""Steps by which the masks of a deployed network come later than in training.

Every Lava synapse holds its sums for one step, so L synaptic layers hold a frame for L steps. lava-dl trained every
layer but the last with the same shift of one step (``delay_shift``), L - 1 in all. What is left is
L - (L - 1) = 1 step, whatever L is.
"""

BLOCK_STEPS = 256  # steps whose spectra, about 1 MB at 257 bins, stay in a core's cache from one operation to the next


def executor_framing(executor: "Executor", network: str | os.PathLike, hop: int | None = None) -> tuple[int, int]:
    """What ``framing`` gives for the network file of an executor."""
    if executor.takes_spikes:
        raise SpandexError(f"{network}: no mask network; it has no input layer")
    check_encoding(network)
    return framing(executor.inputs, executor.outputs, network, hop)


def mask_steps(lookahead: int) -> int:
    """Steps by which the mask of a frame comes out later than the frame went in."""
    return NETWORK_DELAY + lookahead


def delay_steps(n_fft: int, hop: int, lookahead: int = 0) -> int:
    """Steps by which the audio comes out later than it went in: until its mask is there, and the rest of the frame."""
    return mask_steps(lookahead) + n_fft // hop - 1


def clip_steps(samples: int, n_fft: int, hop: int, lookahead: int = 0) -> int:
    """Steps after which all of a clip has come out; silence follows the clip."""
    return -(-samples // hop) + delay_steps(n_fft, hop, lookahead)


def check_audio(audio: np.ndarray, name: str | os.PathLike) -> None:
    """Raise SpandexError, which names it, unless ``audio`` is (samples,), not empty, finite and of sensible scale."""
    if audio.ndim != 1:
        raise SpandexError(f"{name}: audio of shape {audio.shape}; expected (samples,)")
    if not len(audio):
        raise SpandexError(f"{name}: empty")
    peak = float(np.abs(audio).max())
    if not np.isfinite(peak):
        raise SpandexError(f"{name}: holds NaN or infinite samples")
    if peak > LARGEST_SAMPLE:
        raise SpandexError(f"{name}: samples up to {peak:g}; full scale is 1")


class CountedBlocks:
    """Blocks of audio, float32 (samples,), as they pass ``check_audio``; at least one of them is not empty.

    Attributes:
        samples: taken so far.
    """

    def __init__(self, audio: Iterable[np.ndarray], name: str | os.PathLike):
        self._audio, self._name = audio, name
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._audio:
            if block.ndim == 1 and not len(block):
                continue
            check_audio(block, self._name)
            self.samples += len(block)
            yield block.astype(np.float32, copy=False)
        if not self.samples:
            raise SpandexError(f"{self._name}: empty")


def put_back(blocks: Iterable[np.ndarray], delay: int, audio: CountedBlocks) -> Iterator[np.ndarray]:
    """Blocks of what was made of audio, (samples,) and late by a delay, in its place: as many samples as are taken."""
    position = -delay  # of the next sample; before the last block all of them are behind those taken
    for block in blocks:
        yield block[max(-position, 0) : max(audio.samples - position, 0)]
        position += len(block)


def hop_by_hop(
    process: Callable[[np.ndarray], np.ndarray],
    audio: Iterable[np.ndarray],
    hop: int,
    delay: int,
    hops: int,
    name: str | os.PathLike,
) -> Iterator[np.ndarray]:
    """What a process of hops makes of audio that comes in blocks of any lengths, put back by its delay.

    Args:
        process: as many samples from whole hops, float32 (samples,); silence follows the audio until all is out.
        audio: (samples,) each.
        hop: samples.
        delay: samples by which the process is late.
        hops: that it is given at once, but for the last time.
        name: of the audio, in errors.

    Yields:
        Blocks of as many samples in all as the audio has.
    """
    counted = CountedBlocks(audio, name)

    def padded() -> Iterator[np.ndarray]:
        yield from counted
        yield np.zeros(-counted.samples % hop + delay, np.float32)

    yield from put_back(map(process, pieces(padded(), hops * hop)), delay, counted)


def encode(audio: np.ndarray, n_fft: int, hop: int, lookahead: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The network's input for a clip, and the spectrum that its output will mask.

    Args:
        audio: (samples,).
        n_fft, hop: samples of a frame and of a step.
        lookahead: steps later than its own of which a frame gets the mask.

    Returns:
        int32 and complex128, both (bins, ``clip_steps``); views of arrays that lie in memory step by step.
    """
    steps = clip_steps(len(audio), n_fft, hop, lookahead)
    padded = np.zeros((steps - 1) * hop + n_fft)
    padded[n_fft - hop :][: len(audio)] = audio
    frames = frames_of(padded, n_fft, hop)
    inputs = np.empty((steps, n_fft // 2 + 1), np.int32)
    spectrum = np.empty(inputs.shape, np.complex128)
    for block in _blocks(steps):
        inputs[block], spectrum[block] = encode_frames(frames[block])
    return inputs.T, spectrum.T


def decode(outputs: np.ndarray, spectrum: np.ndarray, n_fft: int, hop: int, lookahead: int = 0) -> np.ndarray:
    """Audio from the network's output for a clip, in the place of the audio that ``encode`` was given.

    Args:
        outputs: int32 (bins, steps), as the network gave them for the inputs of ``encode``.
        spectrum: complex128 (bins, steps) of ``encode``.
        n_fft, hop, lookahead: see there.

    Returns:
        float32 ((steps - delay_steps) * hop,).
    """
    outputs, spectrum = outputs.T[mask_steps(lookahead) :], spectrum.T
    audio = np.empty(len(outputs) * hop, np.float32)
    overlap = np.zeros(n_fft - hop)
    for block in _blocks(len(outputs)):
        frames = decode_frames(outputs[block], spectrum[block])
        audio[block.start * hop : block.stop * hop], overlap = overlap_add(frames, overlap, hop)
    return audio[n_fft - hop :]


def frames_of(audio: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """All frames (frames, n_fft) that begin at a multiple of ``hop``, as a view."""
    return np.lib.stride_tricks.sliding_window_view(audio, n_fft)[::hop]


def encode_frames(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``inputs = round((|spectrum| - MAGNITUDE_OFFSET) * INPUT_GAIN)`` of each frame.

    Args:
        frames: float64 (..., n_fft).

    Returns:
        Inputs int32 and spectrum complex128, both (..., bins).
    """
    spectrum = scipy.fft.rfft(frames)
    encoded = np.square(spectrum.real)
    encoded += np.square(spectrum.imag)
    np.sqrt(encoded, out=encoded)
    encoded -= MAGNITUDE_OFFSET
    encoded *= INPUT_GAIN
    return np.rint(encoded, out=encoded).astype(np.int32), spectrum


def decode_frames(outputs: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    """Frames of ``spectrum * relu(output / OUTPUT_GAIN + 1)``, the output wrapped to 24 bits as on Loihi 2.

    Args:
        outputs: int32 (..., bins).
        spectrum: complex128 (..., bins), of the same frames as the outputs.

    Returns:
        float64 (..., n_fft).
    """
    unused_bits = 32 - CHIP_BITS
    mask = ((outputs << unused_bits) >> unused_bits) / OUTPUT_GAIN
    mask += 1
    np.maximum(mask, 0, out=mask)
    masked = np.empty_like(spectrum)  # real and imaginary part on their own: a complex mask would double the work
    np.multiply(spectrum.real, mask, out=masked.real)
    np.multiply(spectrum.imag, mask, out=masked.imag)
    return scipy.fft.irfft(masked)


def within_range(outputs: np.ndarray) -> np.ndarray:
    """Outputs that would wrap in ``decode_frames``, at the end of the range in its place."""
    return np.clip(outputs, INT24_MIN, INT24_MAX)


def count_wrapped(outputs: np.ndarray) -> int:
    """Number of outputs that wrap in ``decode_frames``."""
    return int(np.count_nonzero(outputs != within_range(outputs)))


def overlap_add(frames: np.ndarray, overlap: np.ndarray, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Average the frames that hold a sample; a hop comes out with the last frame that holds it.

    The sum of the squared rectangular windows, by which an inverse STFT divides, is n_fft / hop.

    Args:
        frames: (steps, n_fft), each ``hop`` samples later than the one before.
        overlap: (n_fft - hop,), what earlier calls left; zeros at the start.
        hop: samples a step.

    Returns:
        Audio float64 (steps * hop,), ``n_fft - hop`` samples late, and the overlap for the next call.
    """
    steps, n_fft = frames.shape
    parts = n_fft // hop
    sums = np.zeros((steps + parts - 1, hop))
    sums[: parts - 1] = overlap.reshape(parts - 1, hop)
    for part in reversed(range(parts)):  # the oldest frame of a sample first, whatever the number of frames
        sums[part : part + steps] += frames[:, part * hop : (part + 1) * hop]
    return sums[:steps].ravel() / parts, sums[steps:].ravel()


def _blocks(steps: int) -> Iterator[slice]:
    for start in range(0, steps, BLOCK_STEPS):
        yield slice(start, min(start + BLOCK_STEPS, steps))
