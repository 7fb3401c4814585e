"""Size and sparsity of the published networks, and netx itself as the reference."""

import numpy as np
import pytest

from spandex.metrics import network_size
from stock_lava import stock_network


def test_spandex_half_sparse_network_has_its_published_size(mirror):
    # reports/reference/spandex_paper.csv: 344 thousand parameters, 305 KB
    size = network_size(mirror / "ndns" / "prune50" / "network.net")
    assert size.nonzero_weights == 215_125
    assert size.nonzero_delays == 129_267
    assert size.parameters == 344_392
    assert round(size.size_kb, 2) == 304.76
    assert size.deployed_sparsity == pytest.approx(0.59, abs=0.005)


def test_dense_baseline_deploys_27_percent_sparse(mirror):
    size = network_size(mirror / "ndns" / "baseline" / "network.net")
    assert size.deployed_sparsity == pytest.approx(0.27, abs=0.005)
    # the challenge counts all of its 257 * 512 + 512 * 512 + 512 * 257 weights and 2 * 512 delays
    assert sum(layer.weights for layer in size.layers) + 2 * 512 == 526_336


@pytest.mark.parametrize("name", ["prune50", "baseline"])
def test_counts_equal_those_of_netx_s_sparse_processes(mirror, name):
    path = mirror / "ndns" / name / "network.net"
    network = stock_network(path, sparse_fc_layer=True)
    for counted, layer in zip(network_size(path).layers, network.layers[1:], strict=True):
        weights = layer.synapse.weights.get()
        assert counted.nonzero_weights == np.count_nonzero(weights.toarray())
        assert counted.weight_bits == np.ceil(np.log2(np.abs(weights.toarray()).max()))
        if hasattr(layer.synapse, "delays"):
            delays = layer.synapse.delays.get().toarray()
            assert counted.nonzero_delays == np.count_nonzero(delays)
            assert counted.delay_bits == np.ceil(np.log2(delays.max()))
        else:
            assert counted.nonzero_delays == 0
