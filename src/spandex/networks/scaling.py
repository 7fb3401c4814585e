"""How audio enters a mask network, in training as deployed: in frames, whose magnitudes are moved and scaled."""

import os

from spandex.errors import SpandexError

MAGNITUDE_OFFSET = 0.2  # taken from every magnitude before it is quantised (challenge baseline: stft_mean)
INPUT_GAIN = 1 << 6  # fixed-point units of the input per unit of magnitude (challenge baseline: input_quantizer)
HOPS_PER_FRAME = 4  # the challenge's 512 samples a frame and 128 a hop


def framing(inputs: int, outputs: int, network: str | os.PathLike, hop: int | None = None) -> tuple[int, int]:
    """Samples of a frame and of a hop that a network of so many inputs and outputs was made for.

    Args:
        inputs, outputs: neurons, n_fft / 2 + 1 of each.
        network: its name in errors.
        hop: samples a step; a quarter of a frame if None.

    Raises:
        SpandexError: it is no mask network, or its frames are no multiple of the hop.
    """
    n_fft = 2 * (inputs - 1)
    if inputs != outputs or n_fft < HOPS_PER_FRAME:
        raise SpandexError(f"{network}: no mask network; it maps {inputs} to {outputs} values")
    if hop is None:
        hop = n_fft // HOPS_PER_FRAME
    if hop < 1 or n_fft < hop or n_fft % hop:
        raise SpandexError(f"{network}: frames of {n_fft} samples are no multiple of the hop of {hop}")
    return n_fft, hop
