"""Classes and accuracies of spandex evaluate --data, against stock Lava and on a published network."""

import json

import numpy as np
import pytest

from commands import spandex
from network_files import INTEGRATOR, convolution, dense, shape_of, weights, write_layers
from spandex.companions.images import load
from spandex.deploy.execution import processes_forgotten
from spandex.evaluation.classify import encode_rate
from stock_lava import modelled, stock_network

STEPS = 20


def judged(network, data, *options):
    result = spandex("evaluate", network, "--data", data, *options, "--workers", 1, "--json", "-")
    assert result.exit_code == 0, result.output
    return next(iter(json.loads(result.stdout)["networks"].values()))


@pytest.mark.parametrize("read", ["spikes", "voltage"])
def test_classes_are_those_of_stock_lava(tmp_path, read):
    random = np.random.default_rng(1)
    lively = INTEGRATOR | {"vThMant": 8}
    first = convolution(weights(random, (3, 2, 2, 2)), (6, 5, 2), lively)
    last = dense(weights(random, (4, int(np.prod(shape_of(first))))), lively)
    network = write_layers(tmp_path / "network.net", first, {"type": "flatten"}, last)
    x = random.random((5, 6, 5, 2)) ** random.integers(1, 30, (5, 1, 1, 1))
    np.savez(tmp_path / "data.npz", x=x, y=np.zeros(5, int))
    found = judged(network, tmp_path / "data.npz", "--steps", STEPS, "--read", read)["per_sample"]
    for sample, scores in zip(x, found, strict=True):
        late = [(0, 0)] * 3 + [(0, 2)]
        with processes_forgotten():
            sent, voltages, _ = modelled(
                stock_network(network, input_shape=(6, 5, 2)), np.pad(encode_rate(sample, STEPS), late)
            )
        answer = (sent[-1] if read == "spikes" else voltages)[:, 2:].sum(axis=1)
        assert scores["predicted"] == answer.argmax()
    assert len({scores["predicted"] for scores in found}) > 1


def of_the_tutorial(values, steps):
    """Spikes as lava-dl's MNIST tutorial makes them: a value is summed up; above 1 it fires and starts from 0.

    Source: tutorials/lava/lib/dl/netx/mnist/run.ipynb of lava-nc/lava-dl; its first step comes before the image.
    """
    sums, spikes = np.zeros(values.shape), np.zeros((*values.shape, steps), np.uint8)
    for step in range(1, steps):
        sums += values
        spikes[..., step] = sums > 1
        sums[sums > 1] = 0
    return spikes


def test_the_mnist_network_of_lava_dl_classifies(mirror, tmp_path):
    images = load("mnist", str(mirror), 1, 300, 0)
    values = images.test.transpose(0, 3, 2, 1) / 255
    np.savez(tmp_path / "values.npz", x=values, y=images.test_labels)
    rows = images.test.reshape(300, -1) / 255
    np.savez(tmp_path / "spikes.npz", x=of_the_tutorial(rows, STEPS), y=images.test_labels)
    network = mirror / "lavadl/mnist/network.net"
    rate = judged(network, tmp_path / "values.npz", "--steps", STEPS)
    tutorial = judged(network, tmp_path / "spikes.npz")
    for found in (rate, tutorial):
        assert 0.92 < found["accuracy"] < 0.99  # 95.2 and 95.3 % of all 10,000
    assert tutorial["deployed_synops_per_sample"] < 0.7 * rate["deployed_synops_per_sample"]
