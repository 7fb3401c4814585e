"""Denoise audio files, folders of them, or a live stream."""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from spandex.data.audio import SAMPLE_RATE_HZ, format_of, open_audio, read_blocks, resampled, write_channels
from spandex.data.folders import CONTAINERS, audio_files
from spandex.data.threads import map_in_order
from spandex.deploy.denoise import Backend, Denoiser, EventDenoiser, denoiser
from spandex.deploy.sparsity_map import parse_sparsity_map
from spandex.deploy.stream import stream
from spandex.errors import SpandexError, Stopped
from spandex.files import refuse_overwriting
from spandex.params.section import DENSITY_THRESHOLD

PROGRESS = "{l_bar}{bar}| {n:.2f}/{total} files [{elapsed}<{remaining}]"


def denoise(
    inputs: Path,
    output: Path,
    net: Path,
    backend: Backend = "events",
    sparsity_map: str = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    lookahead: int = 0,
    workers: int | None = None,
) -> None:
    """Denoise a file, or every WAV, FLAC and OGG file of a folder and the folders within it.

    What comes out has the rate, channels, length, container and subtype of what went in; only a single file whose
    output has another extension changes its container. Each channel is denoised on its own, at 16 kHz. A file of a
    folder that cannot be denoised is named on stderr, and the others are done. Memory does not grow with the length of
    a file.

    Args:
        inputs: a file or a folder.
        output: of the same kind; a file may also go into an existing folder.
        net: network file, see ``spandex.deploy.denoise.denoiser``.
        backend, sparsity_map, density_threshold, lookahead: see there; the map as typed, see ``parse_sparsity_map``.
        workers: files at once; one a core if None. Lava and torch use several cores themselves.

    Raises:
        SpandexError: there is nothing to denoise, the network cannot be used, output would overwrite input, or a
            file failed.
    """
    pairs = _pairs(inputs, output)
    refuse_overwriting([target for _, target in pairs], [net, *(source for source, _ in pairs)])
    network = denoiser(net, backend, parse_sparsity_map(sparsity_map), density_threshold, lookahead)
    start, stop = time.perf_counter(), threading.Event()

    def attempt(pair: tuple[Path, Path]) -> float | SpandexError:
        left = 1.0

        def report(share: float) -> None:
            nonlocal left
            if stop.is_set():
                raise Stopped
            left -= share
            progress.update(share)

        try:
            return _denoise_file(network, *pair, report)
        except SpandexError as error:
            return error
        finally:
            progress.update(left)

    audio_s, errors = 0.0, []
    with tqdm(total=len(pairs), disable=None, bar_format=PROGRESS) as progress:
        for result in map_in_order(attempt, pairs, workers if network.concurrent else 1, stop):
            if isinstance(result, SpandexError):
                errors.append(result)
                if inputs.is_dir():
                    progress.write(str(result), file=sys.stderr)
            else:
                audio_s += result
    if errors and not inputs.is_dir():
        raise errors[0]
    if errors:
        raise SpandexError(f"{len(errors)} of {len(pairs)} files failed")
    seconds = time.perf_counter() - start
    print(f"denoised {audio_s:.1f} s of audio in {seconds:.1f} s, {len(pairs)} file(s): {output}")


def denoise_stream(
    net: Path, sparsity_map: str = "auto", density_threshold: float = DENSITY_THRESHOLD, lookahead: int = 0
) -> None:
    """Denoise standard input to standard output, raw 16 kHz mono audio of 16-bit little-endian samples, as it comes.

    Raises:
        SpandexError: the network or the input cannot be used, or a stream is closed or a terminal.
    """
    for name, end in (("input", sys.stdin), ("output", sys.stdout)):
        if end is None or end.isatty():
            state = "closed" if end is None else "a terminal"
            raise SpandexError(f"standard {name} is {state}; raw audio goes through files or pipes")
    # a file object of our own: when the listener has gone, what sys.stdout still holds would fail again at exit
    sink = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115
    network = EventDenoiser(net, parse_sparsity_map(sparsity_map), density_threshold, lookahead)
    report = stream(network, sys.stdin.buffer, sink)
    print(
        f"{report.audio_s:.3f} s of audio, {report.steps} steps, real-time factor {report.real_time_factor:.3f}",
        file=sys.stderr,
    )


def _denoise_file(network: Denoiser, source: Path, target: Path, report: Callable[[float], object]) -> float:
    """Denoise one file, block by block; returns the seconds of audio in it.

    Args:
        network: of the file's channels, one by one.
        source, target: files.
        report: is told the share of the file that each block was.
    """
    with open_audio(source) as file:
        sound_format = format_of(file)
        if target.suffix.lower() != source.suffix.lower():
            sound_format = sound_format.within(CONTAINERS[target.suffix.lower()])
        sound_format = sound_format.holding(file.frames, file.channels, target)

        def denoised() -> Iterator[np.ndarray]:
            for block in _denoise_channels(network, read_blocks(file, source), file, source):
                yield block
                report(len(block) / file.frames)

        write_channels(target, denoised(), file.channels, sound_format)
        return file.frames / sound_format.rate_hz


def _denoise_channels(
    network: Denoiser, blocks: Iterator[np.ndarray], file: soundfile.SoundFile, name: Path
) -> Iterator[np.ndarray]:
    """Every channel of blocks of (samples, channels) on its own; all are given the same blocks, side by side."""
    channels = [
        _denoise_channel(network, _channel(copy, number), file.frames, file.samplerate, name)
        for number, copy in enumerate(itertools.tee(blocks, file.channels))
    ]
    for together in zip(*channels, strict=True):
        yield np.stack(together, axis=1)


def _channel(blocks: Iterator[np.ndarray], number: int) -> Iterator[np.ndarray]:
    return (np.ascontiguousarray(block[:, number]) for block in blocks)


def _denoise_channel(
    network: Denoiser, blocks: Iterator[np.ndarray], samples: int, rate_hz: int, name: Path
) -> Iterator[np.ndarray]:
    if rate_hz == SAMPLE_RATE_HZ:
        yield from network.blocks(blocks, name)
        return
    silence = np.zeros(-(-rate_hz // 10), np.float32)  # 0.1 s: resampling there and back loses nothing at the end
    noisy = resampled(itertools.chain(blocks, [silence]), rate_hz, SAMPLE_RATE_HZ)
    for block in resampled(network.blocks(noisy, name), SAMPLE_RATE_HZ, rate_hz):
        yield block[:samples]
        samples -= len(block[:samples])


def _pairs(inputs: Path, output: Path) -> list[tuple[Path, Path]]:
    """Files to read and files to write."""
    if inputs.is_dir():
        pairs = _folder_pairs(inputs, output)
    elif inputs.is_file():
        pairs = [(inputs, output / inputs.name if output.is_dir() else output)]
        for path in pairs[0]:
            if path.suffix.lower() not in CONTAINERS:
                raise SpandexError(f"{path}: not one of {', '.join(CONTAINERS)}")
    else:
        raise SpandexError(f"{inputs}: no such file or folder")
    return pairs


def _folder_pairs(inputs: Path, output: Path) -> list[tuple[Path, Path]]:
    if output.exists() and not output.is_dir():
        raise SpandexError(f"{output}: is a file, but {inputs} is a folder")
    if output.resolve().is_relative_to(inputs.resolve()):
        raise SpandexError(f"{output}: lies within the input {inputs}; choose a folder outside it")
    return [(file, output / file.relative_to(inputs)) for file in audio_files(inputs, below=True)]
