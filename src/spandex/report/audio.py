"""Audio and spectrograms small enough to lie within a page, and how data lie within it."""

import base64
import io

import matplotlib.image
import numpy as np
import soundfile

from spandex.data.audio import SAMPLE_RATE_HZ

MP3_COMPRESSION = 0.7  # 56 kbit/s at 16 kHz mono, constant, so that players know the duration at once
MP3_BYTES_PER_S = 7_000
FRAME = 512  # samples of a spectrum
ROWS, COLUMNS = 128, 640  # of the image, at most
RANGE_DB = 70  # below the loudest point
QUALITY = 80  # of WebP, at a third of PNG's size
COLORMAP = "magma"  # of even steps in lightness, which the colour-blind see too


def mp3(audio: np.ndarray) -> bytes:
    """Audio (samples,), full scale 1, as MP3, which every browser plays."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        audio,
        SAMPLE_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=MP3_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    return buffer.getvalue()


def power_spectrogram(audio: np.ndarray) -> np.ndarray:
    """Mean power (rows, columns) over frequency, lowest first, and time; frames do not overlap."""
    frames = np.pad(audio, (0, -len(audio) % FRAME)).reshape(-1, FRAME)
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)[:, 1:]) ** 2
    power = power.reshape(len(power), ROWS, -1).mean(axis=2)
    columns = min(COLUMNS, len(power))
    edges = np.linspace(0, len(power), columns + 1).astype(int)
    return (np.add.reduceat(power, edges[:-1], axis=0) / np.diff(edges)[:, None]).T


def spectrogram_webp(power: np.ndarray, loudest: float) -> bytes:
    """WebP image of a power spectrogram (rows, columns), low frequencies below.

    Args:
        power: see ``power_spectrogram``.
        loudest: power of the brightest colour, the same for images that are to be compared.
    """
    with np.errstate(divide="ignore"):
        level = np.clip(1 + 10 * np.log10(power / loudest) / RANGE_DB, 0, 1)
    buffer = io.BytesIO()
    matplotlib.image.imsave(
        buffer,
        level,
        format="webp",
        origin="lower",
        cmap=COLORMAP,
        vmin=0,
        vmax=1,
        pil_kwargs={"quality": QUALITY, "method": 6},
    )
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """An address that holds the data themselves, of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
