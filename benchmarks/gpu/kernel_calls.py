"""Calls of the kernels that between them reach every option and edge, for tests and for a GPU."""

import math

import torch

STEP = 1 / 4096
MODES = [(False, False), (True, False), (False, True), (True, True)]  # cumulative error, threshold for each neuron


def signal(shape, seed):
    """Slowly changing, in steps of 1/64."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.round(64 * 0.3 * noise) / 64


def case(shape, seed, per_neuron):
    """Current, bias, delays from 0 to more than the clip, and threshold."""
    _, steps, neurons = shape
    rng = torch.Generator().manual_seed(seed + 100)
    bias = torch.randn(neurons, generator=rng) / 8
    delays = torch.randint(0, steps + 4, (neurons,), generator=rng, dtype=torch.int32)
    threshold = 0.1 + 0.3 * torch.rand(neurons if per_neuron else 1, generator=rng)
    return signal(shape, seed), bias, delays, threshold


def delayed(x, delays):
    out = torch.zeros_like(x)
    for i, delay in enumerate(delays.tolist()):
        out[:, delay:, i] = x[:, : max(x.shape[1] - delay, 0), i]
    return out


def sent_before_delay(shape):
    return signal(shape, 9)


def calls(shapes):
    """Name and arguments of every call, by its key, for shapes (batch, steps, neurons)."""
    found = {}
    for shape in shapes:
        for cumulative, per_neuron in MODES:
            z, bias, delays, threshold = case(shape, len(found), per_neuron)
            key = shape, cumulative, per_neuron
            found["delta", *key] = "delta", (z.cumsum(1), threshold, STEP, cumulative, True)
            arguments = z, bias if per_neuron else None, delays, threshold, STEP, cumulative, cumulative
            found["neuron", *key] = "sigma_relu_delta", arguments
        for by_delay in (False, True):
            _, _, delays, _ = case(shape, 7, False)
            grad, out = signal(shape, 8), delayed(sent_before_delay(shape), delays)
            active = (signal(shape, 10) > 0).to(torch.uint8)
            found["backward", shape, by_delay] = "sigma_relu_delta_backward", (grad, out, active, delays, by_delay)
        for reverse in (False, True):
            found["sum", shape, reverse] = "cumulative_sum", (signal(shape, 11), reverse)
        rng = torch.Generator().manual_seed(13)
        keep, x = torch.randint(0, 4097, shape[2:], generator=rng) / 4096, torch.randn(shape, generator=rng)
        for reset in (0.3 * 3200, math.inf):
            found["leak", shape, reset] = "leak", (x, keep, 3200, reset)
        found["leak backward", shape] = "leak_backward", (signal(shape, 14), keep)
    torn = signal((1, 6, 2), 12)
    torn[0, 3, 0] = torch.nan
    no_delay = torch.zeros(2, dtype=torch.int32)
    found["nan"] = "sigma_relu_delta", (torn, None, no_delay, torch.tensor([0.1]), STEP, False, False)
    long = torch.full((1, 100, 1), 0.1)
    long[0, 0] = 2e4  # float32 steps of 0.002 from here on
    found["long sum"] = "cumulative_sum", (long, False)
    no_power_of_two = signal(shapes[-1], 15).cumsum(1), torch.tensor([0.1]), 0.01, False, False
    found["decimal step"] = "delta", no_power_of_two
    found["long neuron"] = "sigma_relu_delta", (long, None, no_delay[:1], torch.tensor([0.1]), STEP, False, False)
    return found
