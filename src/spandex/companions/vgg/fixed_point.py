"""The exported network in fixed point: every image in the executor, a few in Lava itself."""

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spandex.companions.vgg.network import encode
from spandex.deploy.execution import processes_forgotten
from spandex.deploy.executor import Executor
from spandex.deploy.lava_run import run_in_lava
from spandex.deploy.netx import Network
from spandex.errors import SpandexError
from spandex.evaluation.classify import latency_steps


@dataclass(frozen=True)
class FixedPoint:
    """What the network of a file does for images, in the arithmetic of Loihi 2.

    Attributes:
        outputs: spikes of the output neurons, 0.0 or 1.0, (images, neurons, steps).
        spikes: into each layer with synapses, mean over the images.
        operations: synaptic operations of these spikes, likewise.
    """

    outputs: torch.Tensor
    spikes: list[float]
    operations: list[float]


def run_images(path: str | Path, images: torch.Tensor, steps: int, in_lava: Container[int] = ()) -> FixedPoint:
    """Run the network of a file, dense layers with sparse synapses, on one image after the other.

    Every synapse hands on what it received one step later, so the output is that of lava-dl after as many steps as
    there are layers with synapses; these are left out here. After that nothing arrives, and no spike is left to count.

    Args:
        path: HDF5 network.
        images: standardised (images, channels, height, width).
        steps: for which an image is shown.
        in_lava: numbers of the images that Lava's simulation of Loihi 2 runs, too.

    Raises:
        SpandexError: the file is none that Lava can run, Lava failed, or it sends what the executor does not.
    """
    executor = Executor(path, sparsity_map=True)
    late = latency_steps(executor)
    outputs, spikes, operations = [], 0, 0
    for number, image in enumerate(images.cpu()):
        trains = encode(image[None], steps)[0].numpy().astype(np.int32)
        inputs = np.pad(trains.transpose(2, 1, 0, 3), [(0, 0)] * 3 + [(0, late)])
        run = executor.run(inputs)
        if number in in_lava and (differing := np.count_nonzero(_lava_outputs(path, inputs) != run.outputs)):
            raise SpandexError(
                f"{path}: image {number}: {differing} of {run.outputs.size} outputs of Lava are not the executor's"
            )
        outputs.append(run.outputs[:, late:])
        spikes, operations = spikes + run.events.sum(axis=1), operations + run.synops.sum(axis=1)
    return FixedPoint(
        outputs=torch.from_numpy(np.stack(outputs)).float(),
        spikes=(spikes / len(images)).tolist(),
        operations=(operations / len(images)).tolist(),
    )


def _lava_outputs(path: str | Path, inputs: np.ndarray) -> np.ndarray:
    with processes_forgotten():
        return run_in_lava(Network(path, sparsity_map=True), inputs)
