"""A network alone in Lava, on recorded inputs."""

import numpy as np
from lava.lib.dl.netx.blocks.process import Input
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel
from lava.proc.io.source import RingBuffer

from spandex.deploy.execution import execution
from spandex.deploy.executor import check_inputs
from spandex.deploy.lava_models import FAST_MODELS
from spandex.deploy.netx import Network


def run_in_lava(network: Network, inputs: np.ndarray) -> np.ndarray:
    """What a network of Lava processes sends for recorded inputs, in fixed point.

    The inputs go to the neurons of the input layer; to the first layer's synapses if the network has no input layer.

    Args:
        network: built within ``processes_forgotten``; it can be run once.
        inputs: int32 (inputs, steps) or (x, y, channels, steps).

    Returns:
        int32 (*shape of the last layer, steps).

    Raises:
        SpandexError: inputs of another size, or a Lava process failed.
    """
    entry = network.in_layer.neuron.a_in if isinstance(network.in_layer, Input) else network.in_layer.inp
    check_inputs(inputs.shape, entry.shape)
    steps = inputs.shape[-1]
    outputs = np.zeros((*map(int, network.out.shape), steps), np.int32)
    if not steps:
        return outputs
    source = RingBuffer(data=inputs.reshape(*entry.shape, steps))
    extractor = Extractor(shape=network.out.shape, buffer_size=steps)
    source.s_out.connect(entry)
    network.out.connect(extractor.in_port)
    models = {**FAST_MODELS, Extractor: PyLoihiExtractorModel}  # the extractor's model has no tag to be selected by
    with execution(source, Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=models)) as run:
        run.steps(steps)
        for step in range(steps):
            outputs[..., step] = extractor.receive()
    return outputs
