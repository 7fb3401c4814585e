"""Live denoising: raw 16-bit audio in, raw 16-bit audio out, hop by hop."""

import time
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ, from_int16, to_int16
from spandex.deploy.denoise import EventDenoiser, warn_of_wrapped_masks
from spandex.errors import SpandexError

SAMPLE = np.dtype("<i2")  # 16-bit little-endian


@dataclass(frozen=True)
class StreamReport:
    """What a stream did.

    Attributes:
        audio_s: seconds of audio that came in.
        steps: network steps run.
        busy_s: seconds spent on them, waiting for input and output apart.
    """

    audio_s: float
    steps: int
    busy_s: float

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of audio; below 1 it keeps up."""
        return self.busy_s / self.audio_s


def stream(denoiser: EventDenoiser, source: BinaryIO, sink: BinaryIO) -> StreamReport:
    """Denoise raw 16 kHz mono audio of 16-bit little-endian samples until the source ends or the sink closes.

    Every hop is written and flushed once it is in. ``denoiser.delay`` samples, 32 ms for the published networks,
    come out before the first one; at the end as many follow, so that nothing is lost.

    Args:
        denoiser: see ``spandex.deploy.denoise``.
        source: its ``read(n)`` returns fewer than n bytes only at the end, as that of buffered files does.
        sink: of the denoised audio.

    Raises:
        SpandexError: the source holds no audio, or half a sample at its end; what came before is written.
    """
    hop, size = denoiser.hop, denoiser.hop * SAMPLE.itemsize
    denoiser.process(np.zeros(hop), denoiser.start())  # loads compiled code before the first sample is waiting
    state = denoiser.start()
    received = steps = odd = 0
    busy_s = 0.0

    def send(samples: np.ndarray, count: int) -> None:
        nonlocal state, steps, busy_s
        start = time.perf_counter()
        denoised, state = denoiser.process(from_int16(samples), state)
        raw = to_int16(denoised[:count]).astype(SAMPLE).tobytes()
        busy_s += time.perf_counter() - start
        steps += len(samples) // hop
        sink.write(raw)
        sink.flush()

    try:
        while len(raw := source.read(size)) == size:
            received += hop
            send(np.frombuffer(raw, SAMPLE), hop)
        odd = len(raw) % SAMPLE.itemsize
        last = np.frombuffer(raw[: len(raw) - odd], SAMPLE)
        received += len(last)
        if received:
            left = len(last) + denoiser.delay
            send(np.pad(last, (0, left + -left % hop - len(last))), left)
    except BrokenPipeError:  # whoever listened has heard enough
        return StreamReport(received / SAMPLE_RATE_HZ, steps, busy_s)
    if state.wrapped:
        warn_of_wrapped_masks("standard input")
    if odd:
        raise SpandexError("standard input: ends within a sample; expected 16-bit samples")
    if not received:
        raise SpandexError("standard input: empty")
    return StreamReport(received / SAMPLE_RATE_HZ, steps, busy_s)
