"""Networks that mask a magnitude spectrum: the SDNN that SPANDEX prunes, the challenge's baseline, and others."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from lava.lib.dl import slayer

from spandex.networks.scaling import INPUT_GAIN, MAGNITUDE_OFFSET
from spandex.networks.spectrum import istft, stft


class MaskNetwork(torch.nn.Module):
    """lava-dl blocks f that mask a magnitude spectrum. With noisy magnitude m and x = quantise(m - 0.2, 1/64)::

        denoised = m * relu(f(x) + 1)

    With a lookahead of L steps, a frame of step t is masked by f(x) of step t + L; silence follows the last frame.

    Args:
        blocks: from n_fft / 2 + 1 inputs to as many outputs. lava-dl draws delays and fixes shapes at the first
            forward; here that has happened when the constructor returns, so a state dict loads directly.
        n_fft: samples of an STFT frame.
        hop: samples between frames; one network step a hop.

    Attributes:
        lookahead: L, 0 until it is set.
    """

    lookahead = 0

    def __init__(self, blocks: Iterable[torch.nn.Module], n_fft: int = 512, hop: int = 128):
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        self.blocks = torch.nn.ModuleList(blocks)
        self.blocks[0].pre_hook_fx = _quantise_input
        with torch.no_grad():
            self(torch.zeros(1, n_fft // 2 + 1, 1))

    def forward(self, noisy_magnitude: torch.Tensor) -> torch.Tensor:
        """Denoised magnitude from noisy magnitude, both (batch, n_fft / 2 + 1, steps)."""
        if not self.lookahead:
            return noisy_magnitude * self.mask(noisy_magnitude)
        return noisy_magnitude * self.mask(F.pad(noisy_magnitude, (0, self.lookahead)))[..., self.lookahead :]

    def mask(self, noisy_magnitude: torch.Tensor) -> torch.Tensor:
        """relu(f(x) + 1) of every step, from noisy magnitude, both (batch, n_fft / 2 + 1, steps)."""
        x = noisy_magnitude - MAGNITUDE_OFFSET
        for block in self.blocks:
            x = block(x)
        return torch.relu(x + 1)


class SDNN(MaskNetwork):
    """Sigma-delta network with axonal delays that masks a magnitude spectrum.

    Blocks: Input, Dense bins-hidden and hidden-hidden with delays and a one-step delay shift, Output
    hidden-bins, where bins = n_fft / 2 + 1. Source: IntelLabs/IntelNeuromorphicDNSChallenge,
    baseline_solution/sdnn_delays/train_sdnn.py; Timcheck et al. 2023, arXiv:2303.09503.

    Weights and delays are drawn from torch's random generator.

    Args:
        n_fft: samples of an STFT frame.
        hop: samples between frames; one network step a hop.
        hidden: neurons of each hidden layer.
        threshold: delta threshold, in units of the activation; lava-dl rounds it down to a multiple of 1/64
            (0.1 becomes 6/64). It is not trained.
        tau_grad: relaxation of the threshold's surrogate gradient, relative to the threshold.
        scale_grad: scale of that surrogate gradient.
        max_delay: longest axonal delay, in steps.
    """

    def __init__(
        self,
        n_fft: int = 512,
        hop: int = 128,
        hidden: int = 512,
        threshold: float = 0.1,
        tau_grad: float = 0.1,
        scale_grad: float = 0.8,
        max_delay: int = 64,
    ):
        bins = n_fft // 2 + 1
        neuron = sigma_delta_neuron(threshold, tau_grad, scale_grad)
        super().__init__(sigma_delta_blocks([bins, hidden, hidden, bins], [True, True], neuron, max_delay), n_fft, hop)


def sigma_delta_neuron(threshold: float = 0.1, tau_grad: float = 0.1, scale_grad: float = 0.8) -> dict[str, Any]:
    """lava-dl's parameters of the challenge's neuron; see ``SDNN``."""
    return {
        "threshold": threshold,
        "tau_grad": tau_grad,
        "scale_grad": scale_grad,
        "activation": F.relu,
        "shared_param": True,
        "requires_grad": False,
    }


def sigma_delta_blocks(
    widths: Sequence[int], delayed: Sequence[bool], neuron: Mapping[str, Any], max_delay: int = 64
) -> list[torch.nn.Module]:
    """Input, Dense with a step shift for every hidden layer, Output.

    Args:
        widths: neurons of every layer, from the input to the output.
        delayed: of every hidden layer, whether its neurons have axonal delays.
        neuron: parameters of all neurons, as ``sigma_delta_neuron`` gives them.
        max_delay: longest axonal delay, in steps.
    """
    block = slayer.block.sigma_delta
    blocks = [block.Input(neuron)]
    for inputs, neurons, delay in zip(widths[:-2], widths[1:-1], delayed, strict=True):
        dense = block.Dense(neuron, inputs, neurons, delay=delay, delay_shift=True)
        if delay:
            dense.delay.max_delay = max_delay
        blocks.append(dense)
    return [*blocks, block.Output(neuron, *widths[-2:])]


def denoise(network: MaskNetwork, audio: torch.Tensor) -> torch.Tensor:
    """Denoised audio (batch, samples) of noisy audio (batch, samples), 16 kHz, without gradients.

    Silence follows what is shorter than a frame, since the STFT reflects half a frame at the ends.
    """
    with torch.no_grad():
        padded = F.pad(audio, (0, max(0, network.n_fft - audio.shape[-1])))
        magnitude, phase = stft(padded, network.n_fft, network.hop)
        return istft(network(magnitude), phase, audio.shape[-1], network.n_fft, network.hop)


def _quantise_input(x: torch.Tensor) -> torch.Tensor:
    return slayer.utils.quantize(x, step=1 / INPUT_GAIN)
