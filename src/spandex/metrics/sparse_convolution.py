"""Convolution of images that are mostly zeros, as behind a relu: it computes with the other pixels alone."""

import numpy as np
from numba import njit
from numba import uint32 as index  # neither wraps from the end, as a signed one, nor fills 64 bits

COMPILED = {"nogil": True, "cache": True, "fastmath": {"contract"}}


def row_weights(weight: np.ndarray) -> np.ndarray:
    """What ``relu_convolve`` takes, (3 in, 3 out), of a kernel (out, in, 3, 3) as torch has it.

    Columns of the kernel and inputs lie by row, rows of the kernel and outputs by column.
    """
    outputs, inputs, _, _ = weight.shape
    return np.ascontiguousarray(weight.transpose(3, 1, 2, 0).reshape(3 * inputs, 3 * outputs))


@njit(**COMPILED)
def relu_convolve(images, weights, bias):
    """relu of the 3x3 convolution, padded with zeros, of float32 (images, height, width, in): the same with (out).

    The order of every sum depends on the values of its pixels alone, not on the image's size.

    Args:
        images: contiguous.
        weights: from ``row_weights``.
        bias: (out,).
    """
    _, height, width, inputs = images.shape
    outputs = bias.size
    out = np.empty((*images.shape[:3], outputs), np.float32)
    out[:] = bias
    places = np.empty(width * inputs + 1, np.uint32)
    starts = np.empty(width + 3, np.uint32)
    sums = np.empty(3 * outputs, np.float32)
    for image in range(images.shape[0]):
        for y in range(height):
            row = images[image, y].reshape(width * inputs)
            _find(row, inputs, places, starts)
            for x in range(width):
                sums[:] = 0
                seen = places[starts[x] : starts[x + 3]]
                _add(row, seen, weights, index((x - 1) * inputs), sums)
                for k in range(max(0, y + 2 - height), min(3, y + 2)):
                    pixel, part = out[image, y + 1 - k, x], sums[k * outputs : (k + 1) * outputs]
                    for i in range(outputs):
                        pixel[i] += part[i]
    values = out.reshape(out.size)
    for i in range(values.size):
        values[i] = max(values[i], np.float32(0))
    return out


@njit(**COMPILED)
def _find(row, inputs, places, starts):
    """Places of what is not zero in a row; those of column x and its two neighbours are starts[x] to starts[x + 3]."""
    found = index(0)
    starts[0] = 0
    for x in range(row.size // inputs):
        starts[x + 1] = found
        for place in range(x * inputs, (x + 1) * inputs):
            places[found] = place  # stays if it counts: no branch, which would be guessed wrong
            found += index(row[place] != 0)
    starts[-2:] = found


@njit(**COMPILED)
def _add(row, places, weights, first, sums):
    """sums += row[place] weights[place - first] over places, four at a time: sums then move a fourth as often."""
    fours = places.size // 4 * 4
    for j in range(0, fours, 4):
        a, b, c, d = places[j], places[j + 1], places[j + 2], places[j + 3]
        of_a, of_b = weights[index(a - first)], weights[index(b - first)]
        of_c, of_d = weights[index(c - first)], weights[index(d - first)]
        at_a, at_b, at_c, at_d = row[a], row[b], row[c], row[d]
        for i in range(sums.size):
            sums[i] += at_a * of_a[i] + at_b * of_b[i] + at_c * of_c[i] + at_d * of_d[i]
    for j in range(fours, places.size):
        value, of = row[places[j]], weights[index(places[j] - first)]
        for i in range(sums.size):
            sums[i] += value * of[i]
