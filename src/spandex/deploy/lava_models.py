"""Faster models of Lava's synapses, with the results of its own fixed-point models to the last bit.

::

    from spandex.deploy.lava_models import FAST_MODELS

    Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=FAST_MODELS)

Lava's ``DelaySparse`` and ``DelayDense`` (lava-nc 0.10) expand their weights by delay at every step and multiply all of
them. Here the weights are laid out once, in columns, and a step adds up those of the inputs that sent something.
"""

from typing import Any

import numpy as np
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.process.process import AbstractProcess
from lava.proc.dense.models import PyDelayDenseModelBitAcc, PyDenseModelBitAcc
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.sparse.models import PyDelaySparseModelBitAcc, PySparseModelBitAcc
from lava.proc.sparse.process import DelaySparse, Sparse
from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights
from scipy.sparse import coo_array, csc_array, issparse

from spandex.deploy.lava_loops import add_columns, add_synapses, compile_loops
from spandex.deploy.neurons import LOIHI_MAX_DELAY

WHOLE_COLUMNS = 1 / 16  # density from which adding whole columns beats adding synapse by synapse

compile_loops()  # here, in the parent of the operating system processes that Lava forks


class _Columns:
    """Weights (targets, inputs) by column: dense int16 where that is faster, else compressed."""

    def __init__(self, weights: csc_array):
        narrow = weights.astype(np.int16)
        if np.array_equal(narrow.data, weights.data):  # as always, unless somebody has set the variable
            weights = narrow
        whole = weights.nnz >= WHOLE_COLUMNS * weights.shape[0] * weights.shape[1]
        self.weights = np.asfortranarray(weights.toarray()) if whole else weights

    def sums(self, messages: np.ndarray) -> np.ndarray:
        """Weights times messages, int64 (targets,).

        Products are as wide as the messages, at least 32 bits, and wrap; their sums have 64 bits.
        """
        weights = self.weights
        if weights.dtype != np.int16 or np.result_type(np.int32, messages.dtype) != np.int32:
            return (weights * messages).sum(axis=1)
        messages = messages.astype(np.int32)
        sums = np.zeros(weights.shape[0], np.int64)
        if isinstance(weights, np.ndarray):
            add_columns(weights.T, messages, sums)
        else:
            add_synapses(weights.indptr, weights.indices, weights.data, messages, sums)
        return sums


class _EventDrivenModel(PyLoihiProcessModel):
    """What the four models have in common. Ports and variables are those of the stock models they derive from."""

    _columns: _Columns | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("weights", "delays"):
            self._columns = None

    def on_var_update(self) -> None:
        """Lava has changed a variable in place."""
        self._columns = None

    def _prepare(self) -> None:
        if not self.weights_set:
            sign_mode = self.proc_params.get("sign_mode") or determine_sign_mode(self.weights)
            weights = clip_weights(self.weights, sign_mode, num_bits=8)
            self.weights = truncate_weights(weights, sign_mode, self.proc_params.get("num_weight_bits", 8))
            self.weights_set = True
            self._check()
        if self._columns is None:
            self._columns = _Columns(self._matrix())

    def _check(self) -> None:
        pass

    def _matrix(self) -> csc_array:
        return csc_array(self.weights)

    @property
    def _graded(self) -> bool:
        return self.num_message_bits.item() > 0

    def _receive(self) -> np.ndarray:
        messages = self.s_in.recv()
        return messages if self._graded else messages.astype(bool)

    def _product(self, messages: np.ndarray) -> np.ndarray:
        """Weights times messages as NumPy's and SciPy's ``dot`` give it: in the type of the factors."""
        return self._columns.sums(messages).astype(np.result_type(self.weights.dtype, messages.dtype))

    def _scale(self, sums: np.ndarray) -> np.ndarray:
        exponent = self.proc_params.get("weight_exp", 0)
        return np.left_shift(sums, exponent) if exponent > 0 else np.right_shift(sums, -exponent)


class _UndelayedModel(_EventDrivenModel):
    def run_spk(self) -> None:
        """One time step: send the sums of the last one, then receive and add up."""
        self._prepare()
        self.a_out.send(self.a_buff)
        messages = self._receive()
        # Stock Lava has ``dot`` for graded messages, and for binary ones ``sum``, which widens to 64 bits.
        self.a_buff = self._scale(self._product(messages) if self._graded else self._columns.sums(messages))


class _DelayedModel(_EventDrivenModel):
    """Synapses of one neuron with one delay are a target; column d of ``a_buff`` is sent in d + 1 steps."""

    def run_spk(self) -> None:
        """One time step: send what is due, then receive and add up into the steps to come."""
        self._prepare()
        self.a_out.send(self.a_buff[:, 0])
        sums = self._scale(self._target_sums(self._receive()))
        self.a_buff = np.ascontiguousarray(self.a_buff)
        self.a_buff[:, 0] = 0
        waiting = self.a_buff.reshape(-1)
        waiting[:-1] = waiting[1:]  # by one step, since the first column has just been cleared
        waiting[-1] = 0
        waiting[self._positions] += sums

    def _check(self) -> None:
        if np.max(self.delays) > LOIHI_MAX_DELAY:
            raise ValueError(
                f"{self.implements_process.__name__} Process 'delays' expects values between 0 and {LOIHI_MAX_DELAY} "
                f"for Loihi, got {self.delays}."
            )

    def _matrix(self) -> csc_array:
        steps = self.a_buff.shape[1]
        synapses = coo_array(self.weights)
        neurons, inputs, weights = synapses.row, synapses.col, synapses.data
        delays = self._delays(neurons, inputs)
        used = np.isin(delays, np.arange(steps)) & (weights != 0)
        positions = neurons[used] * steps + delays[used].astype(int)
        self._positions, targets = np.unique(positions, return_inverse=True)
        shape = len(self._positions), self.weights.shape[1]
        return csc_array((weights[used], (targets.astype(inputs.dtype), inputs[used])), shape=shape)

    def _delays(self, neurons: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        delays = self.delays[neurons, inputs]
        return delays.toarray().ravel() if issparse(delays) else np.asarray(delays).ravel()

    def _target_sums(self, messages: np.ndarray) -> np.ndarray:
        return self._product(messages)


class PySparseModelEvents(_UndelayedModel, PySparseModelBitAcc):
    """``Sparse`` like stock Lava's ``PySparseModelBitAcc``."""


class PyDenseModelEvents(_UndelayedModel, PyDenseModelBitAcc):
    """``Dense`` like stock Lava's ``PyDenseModelBitAcc``."""


class PyDelaySparseModelEvents(_DelayedModel, PyDelaySparseModelBitAcc):
    """``DelaySparse`` like stock Lava's ``PyDelaySparseModelBitAcc``, whose sums wrap before they are scaled."""

    def _delays(self, neurons: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        if self.a_buff.shape[1] == 1:  # then stock Lava does not look at the delays
            return np.zeros(len(neurons), int)
        return super()._delays(neurons, inputs)


class PyDelayDenseModelEvents(_DelayedModel, PyDelayDenseModelBitAcc):
    """``DelayDense`` like stock Lava's ``PyDelayDenseModelBitAcc``, whose sums wrap after they are scaled."""

    def _target_sums(self, messages: np.ndarray) -> np.ndarray:
        return self._columns.sums(messages)


FAST_MODELS: dict[type[AbstractProcess], type[PyLoihiProcessModel]] = {
    Sparse: PySparseModelEvents,
    DelaySparse: PyDelaySparseModelEvents,
    Dense: PyDenseModelEvents,
    DelayDense: PyDelayDenseModelEvents,
}
