"""Denoising by the float network, in blocks: what ``spandex.networks.denoise`` computes of the whole."""

import copy
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from spandex.deploy.codec import CountedBlocks, put_back
from spandex.deploy.denoise import Denoiser
from spandex.networks import MaskNetwork, load_network
from spandex.networks.spectrum import frames_of, overlap_add, spectrum_of

GRAIN = 2**15  # elements that torch's loops leave to one thread
ALIGNED_FRAMES = 16  # so many of any size fill the vectors of torch's loops, whose last elements are rounded otherwise


class FloatDenoiser(Denoiser):
    """Denoises with the float network; see ``spandex.deploy.denoise.denoiser``."""

    concurrent = False  # torch has threads of its own

    def __init__(self, path: str | os.PathLike, lookahead: int = 0):
        self._network = load_network(path)
        self._network.lookahead = lookahead
        bins = self._network.n_fft // 2 + 1
        self._frames = max(GRAIN // bins // ALIGNED_FRAMES, 1) * ALIGNED_FRAMES

    def blocks(self, audio: Iterable[np.ndarray], name: str | os.PathLike = "audio") -> Iterator[np.ndarray]:
        """See ``Denoiser``; clips shorter than a frame are followed by silence.

        The bits are those of ``spandex.networks.denoise`` on one thread: where more share a clip, torch rounds the
        phase of some samples at the border of their shares otherwise.
        """
        n_fft, hop = self._network.n_fft, self._network.hop
        counted = CountedBlocks(audio, name)
        hops = overlap_added(self._masked(_reflected(counted, n_fft)), n_fft, hop)
        yield from put_back((block.numpy().ravel() for block in hops), n_fft // 2, counted)

    def _masked(self, samples: Iterable[np.ndarray]) -> Iterator[torch.Tensor]:
        """Frames (1, count, parts, hop), as masked, of padded audio; with a lookahead the last wait for silence."""
        n_fft, hop, lookahead = self._network.n_fft, self._network.hop, self._network.lookahead
        network = going_on(self._network)
        blocks = _overlapping(samples, self._frames, n_fft, hop)
        spectra = (spectrum_of(torch.from_numpy(block)[None], n_fft, hop) for block in blocks)
        if lookahead:
            silence = torch.zeros(1, n_fft // 2 + 1, lookahead, dtype=torch.complex64)
            spectra = itertools.chain(spectra, [silence])
        waiting = None  # magnitudes and phases of the frames whose masks are to come
        for spectrum in spectra:
            with torch.no_grad():
                frames = spectrum.abs(), spectrum.sgn()
                mask = network.mask(frames[0])
                if waiting is None:
                    mask = mask[..., lookahead:]
                else:
                    frames = [torch.cat(parts, -1) for parts in zip(waiting, frames, strict=True)]
                count = mask.shape[-1]
                waiting = [part[..., count:] for part in frames]
                magnitude, phase = (part[..., :count] for part in frames)
                yield frames_of(magnitude * mask, phase, n_fft, hop)


def _reflected(audio: Iterable[np.ndarray], n_fft: int) -> Iterator[np.ndarray]:
    """Audio, at least a frame of it, between its reflections of half a frame, as a centred STFT has it."""
    half = n_fft // 2
    waiting = np.empty(0, np.float32)
    begun = False
    for block in audio:
        waiting = np.concatenate([waiting, block])
        if len(waiting) < n_fft:
            continue
        if not begun:
            yield waiting[half:0:-1]
            begun = True
        yield waiting[: -half - 1]
        waiting = waiting[-half - 1 :]
    if not begun:
        waiting = np.pad(waiting, (0, n_fft - len(waiting)))
        yield waiting[half:0:-1]
    yield waiting
    yield waiting[-half - 1 : -1][::-1]


def _overlapping(samples: Iterable[np.ndarray], frames: int, n_fft: int, hop: int) -> Iterator[np.ndarray]:
    """Samples of so many frames each, but the last."""
    waiting, length = np.empty(0, np.float32), (frames - 1) * hop + n_fft
    for block in samples:
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= length:
            yield waiting[:length]
            waiting = waiting[frames * hop :]
    if len(waiting) >= n_fft:
        yield waiting


def overlap_added(blocks: Iterable[torch.Tensor], n_fft: int, hop: int) -> Iterator[torch.Tensor]:
    """Hops (hops, hop) from blocks of consecutive frames, as ``frames_of`` gives them: the mean of those over each."""
    before, count, parts = None, 0, n_fft // hop

    def hops(frames: torch.Tensor) -> torch.Tensor:
        return overlap_add(frames)[0, parts - 1 : frames.shape[1]]

    for frames in blocks:
        if before is None:
            before = torch.zeros_like(frames[:, :1]).expand(-1, parts - 1, -1, -1)
        frames = torch.cat([before, frames], 1)
        sums = hops(frames)
        numbers = torch.arange(count + 1, count + 1 + len(sums)).clamp(max=parts)
        yield sums / (n_fft * numbers[:, None])
        before, count = frames[:, len(sums) :], count + len(sums)
    rest = hops(torch.cat([before, torch.zeros_like(before)], 1))
    yield rest / (n_fft * torch.arange(parts - 1, 0, -1)[:, None].clamp(max=count))


def going_on(network: MaskNetwork) -> MaskNetwork:
    """A copy whose every call goes on where the one before ended, to the bits that one call on all steps gives."""
    network = copy.deepcopy(network)
    for block in network.blocks:
        block.neuron.persistent_state = block.neuron.delta.persistent_state = True
        block.neuron.sigma = _Sigma()
        if getattr(block, "delay", None) is not None:
            block.delay = _Delay(block.delay)
    return network


class _Sigma(torch.nn.Module):
    """lava-dl's Sigma that goes on; its own rounds to 32 bits from call to call what torch sums up in 64."""

    def __init__(self) -> None:
        super().__init__()
        self.sum: torch.Tensor | float = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.double()
        x[..., 0] += self.sum
        sums = x.cumsum(-1)
        self.sum = sums[..., -1]
        return sums.float()


class _Delay(torch.nn.Module):
    """lava-dl's axonal delays, with the steps before a call still on their way."""

    def __init__(self, delay: torch.nn.Module):
        super().__init__()
        self.delay = delay
        self.longest = int(delay.delay.max())
        self.before: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.before is None:
            self.before = x.new_zeros(*x.shape[:-1], self.longest)
        x = torch.cat([self.before, x], -1)
        self.before = x[..., x.shape[-1] - self.longest :]
        return self.delay(x)[..., self.longest :]
