"""Neurons of the exact executor: what never changes of those of a layer, and their state."""

from typing import NamedTuple

import numpy as np

INT16_MAX = 2**15 - 1
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
CHIP_BITS = 24  # of a neuron's input and state on Loihi 2
ABOVE_24_BITS = 32 - CHIP_BITS
LOIHI_MAX_DELAY = 63  # steps; Loihi 2 has 6 bits for a delay
INT24_MIN, INT24_MAX = -(2 ** (CHIP_BITS - 1)), 2 ** (CHIP_BITS - 1) - 1
STATE_LIMIT = 2 ** (CHIP_BITS - 1)  # of integrators and resonators
INPUT_SHIFT = 6  # bits by which their input is moved up


class Delta(NamedTuple):
    """Neurons of an input layer that send changes: Lava's Delta.

    Attributes:
        threshold: in the scale of the input after its shift.
        cumulative: whether the threshold is for the error summed up since the last spike.
        input_shift: bits by which the input is moved up.
        spike_shift: bits by which a spike is moved down.
    """

    threshold: int
    cumulative: bool
    input_shift: int
    spike_shift: int


class SigmaDelta(NamedTuple):
    """Neurons that sum up changes and send theirs: Lava's SigmaDelta and Sigma.

    Attributes:
        bias: int32 (neurons,), added to sigma before the activation.
        threshold: of the delta, in the scale of the activation.
        relu: whether negative activations become 0.
        delta: whether changes of the activation are sent, or (Lava's Sigma) the activation itself.
        cumulative, spike_shift: as of ``Delta``.
    """

    bias: np.ndarray
    threshold: int
    relu: bool
    delta: bool
    cumulative: bool
    spike_shift: int


class Integrators(NamedTuple):
    """Leaky integrate-and-fire neurons: Lava's LIF and LIFReset. What all share is a number, else (neurons,).

    Attributes:
        bias: int32, in the scale of the voltage; for the first neurons, and again for as many after them.
        threshold: int32, likewise; what exceeds it sends a spike.
        current_kept, voltage_kept: float64, the fraction that a step keeps, a multiple of 2**-12.
        reset_interval, reset_phase: current and voltage are 0 before the steps, counted from 1, whose number leaves
            that phase when divided by the interval; interval 0 for never.
    """

    bias: np.ndarray | int
    threshold: np.ndarray | int
    current_kept: np.ndarray | float
    voltage_kept: np.ndarray | float
    reset_interval: int
    reset_phase: int


class Resonators(NamedTuple):
    """Resonate-and-fire neurons: Lava's RF and RF_IZ.

    Attributes:
        cosine, sine: float64, of the angle of a step times what a step keeps, multiples of 2**-12.
        threshold: of the real part at the phase 0, or of the imaginary part if ``izhikevich``.
        izhikevich: whether it is RF_IZ, whose state is reset by a spike.
    """

    cosine: float
    sine: float
    threshold: int
    izhikevich: bool


class SigmaDeltaState(NamedTuple):
    """State of one layer's sigma-delta neurons, int32 (neurons,) each.

    Attributes:
        sigma: sum of all input.
        sent: the activation as its receivers know it, Lava's ``act - residue``.
        error: change summed up since the last spike; only with cumulative error.
    """

    sigma: np.ndarray
    sent: np.ndarray
    error: np.ndarray


class IntegratorState(NamedTuple):
    """State of one layer's integrators, int32 (neurons,) each, Lava's ``u`` and ``v``."""

    current: np.ndarray
    voltage: np.ndarray


class ResonatorState(NamedTuple):
    """State of one layer's resonators, int32 (neurons,) each."""

    real: np.ndarray
    imaginary: np.ndarray


Neurons = Delta | SigmaDelta | Integrators | Resonators
NeuronState = SigmaDeltaState | IntegratorState | ResonatorState
STATE_OF = {
    Delta: SigmaDeltaState,
    SigmaDelta: SigmaDeltaState,
    Integrators: IntegratorState,
    Resonators: ResonatorState,
}
