"""Noisy audio to denoised audio by a network file: exactly as deployed, through Lava itself, or in floating point."""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spandex.deploy.codec import (
    BLOCK_STEPS,
    count_wrapped,
    decode_frames,
    delay_steps,
    encode_frames,
    executor_framing,
    frames_of,
    hop_by_hop,
    mask_steps,
    overlap_add,
)
from spandex.deploy.executor import Executor
from spandex.deploy.sparsity_map import SparsityMap
from spandex.deploy.state import State
from spandex.errors import SpandexError
from spandex.params.section import DENSITY_THRESHOLD, MOST_LOOKAHEAD

Backend = Literal["events", "lava", "torch"]


class Denoiser(ABC):
    """Denoises audio at 16 kHz.

    Attributes:
        concurrent: whether several threads may denoise at once, to use several cores.
    """

    concurrent: bool

    def denoise(self, audio: np.ndarray, name: str | os.PathLike = "audio") -> np.ndarray:
        """Denoised audio, sample by sample in the place of the noisy audio.

        The memory needed besides audio does not grow with its length.

        Args:
            audio: (samples,), full scale 1, of any length but 0.
            name: of the audio, in errors.

        Returns:
            float32 (samples,).

        Raises:
            SpandexError: the audio is empty or holds NaN.
        """
        denoised, position = np.empty(len(audio), np.float32), 0
        for block in self.blocks([audio], name):
            denoised[position : position + len(block)] = block
            position += len(block)
        return denoised

    @abstractmethod
    def blocks(self, audio: Iterable[np.ndarray], name: str | os.PathLike = "audio") -> Iterator[np.ndarray]:
        """The same bits for audio that comes in blocks of any lengths, in memory that does not grow with it.

        Args:
            audio: (samples,) each, taken as they are needed.
            name: of the audio, in errors.

        Yields:
            float32 (samples,), of other lengths than the blocks; as many samples in all.

        Raises:
            SpandexError: see ``denoise``, as soon as it is known.
        """


def denoiser(
    path: str | os.PathLike,
    backend: Backend = "events",
    sparsity_map: SparsityMap = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    lookahead: int = 0,
) -> Denoiser:
    """The denoiser of a network file.

    Args:
        path: HDF5 network as lava-dl exports it; for ``"torch"`` a state dict of the SDNN will do too.
        backend: ``"events"`` executes the deployed network exactly, ``"lava"`` runs the chain of Lava processes,
            with the same result to the last bit, ``"torch"`` runs the float network.
        sparsity_map, density_threshold: see ``Network``; the float network knows no difference.
        lookahead: 1 takes the mask of the next step for every frame, a hop later; silence follows the audio.

    Raises:
        SpandexError: the file is no mask network that the backend can run, or there is no such backend or lookahead.
    """
    if not 0 <= lookahead <= MOST_LOOKAHEAD:
        raise SpandexError(f"lookahead {lookahead} is not from 0 to {MOST_LOOKAHEAD}")
    if backend == "events":
        return EventDenoiser(path, sparsity_map, density_threshold, lookahead)
    # Lava and torch take seconds and most of a GB
    if backend == "lava":
        from spandex.deploy.lava_denoiser import LavaDenoiser

        return LavaDenoiser(path, sparsity_map, density_threshold, lookahead)
    if backend == "torch":
        from spandex.deploy.float_denoiser import FloatDenoiser

        return FloatDenoiser(path, lookahead)
    raise SpandexError(f"backend {backend!r} is none of events, lava, torch")


@dataclass(frozen=True)
class StreamState:
    """State of a denoiser between two hops.

    Attributes:
        recent: the last samples that came in, (n_fft - hop,).
        spectrum: of the frames whose masks are still to come, complex128 (mask_steps, bins).
        network: state of the executor; None at the start.
        overlap: sums of frames that wait for the frames to come, (n_fft - hop,).
        wrapped: whether an output has left its 24 bits so far.
    """

    recent: np.ndarray
    spectrum: np.ndarray
    network: State | None
    overlap: np.ndarray
    wrapped: bool


def warn_of_wrapped_masks(name: str | os.PathLike) -> None:
    """That a piece of audio drove the network out of its range; one warning, however often it is said."""
    warnings.warn(
        f"{name}: masks left the 24 bits of the output neurons and wrapped, which amplifies noise; lower the level",
        stacklevel=2,
    )


class EventDenoiser(Denoiser):
    """Denoises with the event-driven executor; see ``denoiser``.

    Attributes:
        n_fft, hop: samples of a frame and of a step.
        delay: samples by which ``process`` is late.
    """

    concurrent = True

    def __init__(
        self,
        path: str | os.PathLike,
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = DENSITY_THRESHOLD,
        lookahead: int = 0,
    ):
        self._executor = Executor(path, sparsity_map, density_threshold)
        self.n_fft, self.hop = executor_framing(self._executor, path)
        self.delay = delay_steps(self.n_fft, self.hop, lookahead) * self.hop
        self._mask_steps = mask_steps(lookahead)

    def start(self) -> StreamState:
        """The state before the first sample: silence."""
        silence = np.zeros(self.n_fft - self.hop)
        spectrum = np.zeros((self._mask_steps, self.n_fft // 2 + 1), np.complex128)
        return StreamState(silence, spectrum, None, silence, False)

    def process(self, audio: np.ndarray, state: StreamState) -> tuple[np.ndarray, StreamState]:
        """Denoise the next hops; pieces of any number of hops give the same as the whole.

        Args:
            audio: (hops * hop,), at least one hop.
            state: after the samples before; it is not changed.

        Returns:
            As many denoised samples, float32, which belong to the audio ``delay`` samples earlier, and the new state.
        """
        samples = np.concatenate([state.recent, audio])
        inputs, spectrum = encode_frames(frames_of(samples, self.n_fft, self.hop))
        run = self._executor.run(inputs.T, state.network)
        spectrum = np.concatenate([state.spectrum, spectrum])
        frames = decode_frames(run.outputs.T, spectrum[: len(inputs)])
        denoised, overlap = overlap_add(frames, state.overlap, self.hop)
        wrapped = state.wrapped or count_wrapped(run.outputs) > 0
        state = StreamState(samples[len(audio) :], spectrum[len(inputs) :], run.state, overlap, wrapped)
        return denoised.astype(np.float32), state

    def blocks(self, audio: Iterable[np.ndarray], name: str | os.PathLike = "audio") -> Iterator[np.ndarray]:
        """See ``Denoiser``. Warns of wrapped masks at the end."""
        state = self.start()

        def process(hops: np.ndarray) -> np.ndarray:
            nonlocal state
            denoised, state = self.process(hops, state)
            return denoised

        yield from hop_by_hop(process, audio, self.hop, self.delay, BLOCK_STEPS, name)
        if state.wrapped:
            warn_of_wrapped_masks(name)
