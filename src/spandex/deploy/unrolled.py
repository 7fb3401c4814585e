"""Convolutions as sparse synapses between neurons, which simulate faster in Lava than its own convolution.

A kernel's weights then lie once for every place at which it meets the input: a way to simulate, which takes more memory
and not less, on Loihi 2 as well.
"""

import math

import numpy as np
from lava.magma.core.decorator import implements, requires, tag
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.conv.utils import conv_to_sparse, output_shape
from lava.proc.sparse.models import AbstractPySparseModelBitAcc
from lava.proc.sparse.process import Sparse
from scipy.sparse import csr_matrix

from spandex.deploy.neurons import ABOVE_24_BITS, INT32_MAX
from spandex.networks.hdf5 import Kernels, Shape


class Unrolled(Sparse):
    """Lava's ``Sparse`` of the synapses that kernels stand for, with the arguments, ports and bits of its ``Conv``.

    Args:
        input_shape: x, y, channels.
        weight: whole numbers (output channels, columns, rows, input channels of a group).
        stride, padding, dilation: along x and y.
        groups: that channels are in.
        num_message_bits: 0 for spikes.

    Attributes:
        kernels: as a network file has them.
    """

    def __init__(
        self,
        *,
        input_shape: Shape,
        weight: np.ndarray,
        stride: np.ndarray,
        padding: np.ndarray,
        dilation: np.ndarray,
        groups: int,
        num_message_bits: int,
    ):
        geometry = [tuple(map(int, pair)) for pair in (stride, padding, dilation)]
        outputs = output_shape(input_shape, len(weight), weight.shape[1:3], *geometry)
        inputs, outputs = (tuple(map(int, shape)) for shape in (input_shape, outputs))
        targets, sources, weights = conv_to_sparse(inputs, outputs, weight, *geometry, groups)
        unrolled = csr_matrix((weights.astype(np.int32), (targets, sources)), (math.prod(outputs), math.prod(inputs)))
        unrolled.eliminate_zeros()
        super().__init__(weights=unrolled, num_message_bits=num_message_bits)
        self.kernels = Kernels(weight[:, ::-1, ::-1], *geometry, groups, inputs, outputs)
        self.output_shape = outputs
        self.s_in, self.a_out = InPort(shape=inputs), OutPort(shape=outputs)
        self.a_buff = Var(shape=outputs, init=0)


@implements(proc=Unrolled, protocol=LoihiProtocol)
@requires(CPU)
@tag("fixed_pt")
class PyUnrolledModel(AbstractPySparseModelBitAcc):
    """As Lava's ``PyConvModelFixed``: whole weights, exact sums of which the low 24 bits count.

    Lava's models of ``Sparse`` cut odd weights of both signs to even ones, and let sums have 32 bits.
    """

    _reach: int | None = None

    def run_spk(self) -> None:
        """One time step: send the sums of the last one, then receive and add up."""
        self.a_out.send(self.a_buff)
        messages = self.s_in.recv().ravel()
        if self.num_message_bits.item() == 0:
            messages = messages != 0
        if self._reach is None:
            self._reach = int(abs(self.weights).sum(axis=1).max())
        narrow = self._reach * int(np.abs(messages.astype(np.int64)).max()) <= INT32_MAX
        sums = self.weights.dot(messages.astype(np.int32 if narrow else np.int64))
        if not narrow and (largest := np.abs(sums).max()) > INT32_MAX:
            raise ValueError(f"sum of magnitude {largest} of unrolled synapses, where Lava's convolution has 32 bits")
        self.a_buff = (sums.astype(np.int32) << ABOVE_24_BITS >> ABOVE_24_BITS).reshape(self.a_buff.shape)
