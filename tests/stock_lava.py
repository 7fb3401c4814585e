"""Lava's own fixed-point models as the reference of our ways to run a network."""

import warnings

import numpy as np
from lava.lib.dl.netx import hdf5
from lava.lib.dl.netx.blocks.process import ComplexDense, Input, RecurrentDense
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.conv import models as conv_models
from lava.proc.conv.process import Conv
from lava.proc.dense import models as dense_models
from lava.proc.dense.process import DelayDense, Dense
from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel
from lava.proc.io.source import RingBuffer
from lava.proc.lif import models as lif_models
from lava.proc.lif.process import LIF, LIFReset
from lava.proc.rf import models as rf_models
from lava.proc.rf.process import RF
from lava.proc.rf_iz import models as rf_iz_models
from lava.proc.rf_iz.process import RF_IZ
from lava.proc.sdn import models as sdn_models
from lava.proc.sdn.process import Delta, Sigma, SigmaDelta
from lava.proc.sparse import models as sparse_models
from lava.proc.sparse.process import DelaySparse, Sparse

from spandex.deploy.unrolled import PyUnrolledModel, Unrolled

MODELS = {
    Dense: dense_models.PyDenseModelBitAcc,
    DelayDense: dense_models.PyDelayDenseModelBitAcc,
    Sparse: sparse_models.PySparseModelBitAcc,
    DelaySparse: sparse_models.PyDelaySparseModelBitAcc,
    Delta: sdn_models.PyDeltaModelFixed,
    SigmaDelta: sdn_models.PySigmaDeltaModelFixed,
    Sigma: sdn_models.PySigmaModelFixed,
    LIF: lif_models.PyLifModelBitAcc,
    LIFReset: lif_models.PyLifResetModelBitAcc,
    RF: rf_models.PyRFModelFixed,
    RF_IZ: rf_iz_models.PyRF_IZModelFixed,
    Conv: conv_models.PyConvModelFixed,
    Unrolled: PyUnrolledModel,  # ours, held to what the others give
}


def stock_network(path, **options):
    """Stock netx network of a file, without its own remark on clamped delays; the file is closed again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = hdf5.Network(str(path), **options)
    network.net_config.f.close()
    return network


def lava_spikes(network, inputs):
    """What every layer of a netx network sends at every step in Lava's runtime: arrays (..., steps)."""
    steps = inputs.shape[-1]
    source = RingBuffer(data=inputs)
    source.s_out.connect(network.in_layer.neuron.a_in)
    extractors = []
    for layer in network.layers:
        extractor = Extractor(shape=layer.neuron.s_out.shape, buffer_size=steps)
        layer.neuron.s_out.connect(extractor.in_port)
        extractors.append(extractor)
    try:
        untagged = {Extractor: PyLoihiExtractorModel}
        config = Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=untagged)
        source.run(condition=RunSteps(steps), run_cfg=config)
        return [np.stack([extractor.receive() for _ in range(steps)], axis=-1) for extractor in extractors]
    finally:
        source.stop()


def model_spikes(processes, inputs):
    """The same from the stock models alone, called in turn without a runtime, which takes seconds to start.

    Args:
        processes: pairs of synapse (or None, or two) and neurons, as ``Executor.from_processes`` takes them.
        inputs: integers (inputs, steps).
    """
    return _run([ModelledLayer(synapse, neurons) for synapse, neurons in processes], inputs)[0]


class ModelledLayer:
    """Synapses and neurons as their stock models, called in turn."""

    def __init__(self, synapse, neurons, transposed=False):
        synapses = [] if synapse is None else synapse if isinstance(synapse, list) else [synapse]
        self.neurons = _model(neurons)
        self.synapses = list(map(_model, synapses))
        self.recurrent = self.synapses.pop() if len(synapses) == 2 and not isinstance(neurons, RF) else None
        self.shape = (synapses[0].s_in if synapses else neurons.a_in).shape
        self.neurons_shape = neurons.s_out.shape
        self.transposed = transposed

    def step(self, number, signal):
        """What it sends at a step, counted from 0."""
        self.neurons.time_step = number + 1
        signal = (signal.transpose() if self.transposed else signal).reshape(self.shape)
        arrived = [_step(synapse, signal) for synapse in self.synapses] or [signal]
        if self.recurrent:
            due = self.recurrent.a_buff.reshape(arrived[0].size, -1)[:, 0]  # what it is about to send
            arrived[0] = (arrived[0] + due).astype(np.int32)
        ports = ("a_real_in", "a_imag_in") if len(arrived) == 2 else ("a_in",)
        for port, value in zip(ports, arrived, strict=True):
            getattr(self.neurons, port).send(value.reshape(self.neurons_shape))
        self.neurons.run_spk()
        sent = self.neurons.s_out.recv()
        if self.recurrent:
            _step(self.recurrent, sent)
        return sent

    def state(self):
        """The variables of the neurons that change."""
        names = ("u", "v", "real", "imag", "sigma")
        return [np.ravel(getattr(self.neurons, name)) for name in names if hasattr(self.neurons, name)]


def modelled(network, inputs):
    """Spikes of every block of a netx network at every step, (*shape, steps), the voltages of the last, all states."""
    layers = []
    for block in network.layers:
        names = {
            Input: (),
            ComplexDense: ("real_synapse", "imag_synapse"),
            RecurrentDense: ("synapse", "synapse_rec"),
        }.get(type(block), ("synapse",))
        flattens = bool(names) and len(block.inp.shape) == 1
        layers.append(ModelledLayer([getattr(block, name) for name in names], block.neuron, transposed=flattens))
    spikes, voltages = _run(layers, inputs)
    return spikes, voltages, [layer.state() for layer in layers]


def _run(layers, inputs):
    """Spikes of every layer, and voltages of the last."""
    sent, voltages = [[] for _ in layers], []
    with np.errstate(over="ignore"):
        for number in range(inputs.shape[-1]):
            signal = inputs[..., number].astype(np.int32)
            for spikes, layer in zip(sent, layers, strict=True):
                signal = layer.step(number, signal)
                spikes.append(signal)
            voltages.append(np.array(getattr(layers[-1].neurons, "v", 0)))
    return [np.stack(spikes, axis=-1) for spikes in sent], np.stack(voltages, axis=-1)


class Port:
    """In place of a channel between Lava processes, which holds 32 bits."""

    value: np.ndarray

    def send(self, value):
        self.value = np.array(value, np.int64).astype(np.int32)

    def recv(self):
        return self.value.copy()


def _model(process):
    """The stock model of a process with its variables as Lava's builder sets them."""
    kind = MODELS[type(process)]
    model = kind(process.proc_params)
    for variable in process.vars:
        declared = getattr(kind, variable.name)
        value = variable.init
        if declared.cls is np.ndarray:
            value = np.empty(variable.shape, declared.d_type)
            value[:] = variable.init
        setattr(model, variable.name, value)
    for name in ("s_in", "a_in", "a_real_in", "a_imag_in", "s_out", "a_out"):
        if hasattr(process, name):
            setattr(model, name, Port())
    return model


def _step(synapse, signal):
    synapse.s_in.send(signal)
    synapse.run_spk()
    return synapse.a_out.recv()
