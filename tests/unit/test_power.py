import pytest
import torch
from lava.lib.dl import slayer
from torch.nn.utils import prune

from denoising import random_network
from networks import prune_evaluate
from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.metrics import EventCounter, pdp_proxy, power_proxy
from spandex.networks import SDNN, load_network

NEURON = {"threshold": 0.1, "activation": torch.relu}


class Chain(torch.nn.Module):
    """Blocks one after the other, and what entered each."""

    def __init__(self, *blocks: torch.nn.Module):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)
        self.entered: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.entered = []
        for block in self.blocks:
            self.entered.append(x)
            x = block(x)
        return x


def small_network() -> Chain:
    block = slayer.block.sigma_delta
    torch.manual_seed(0)
    network = Chain(
        block.Input(NEURON),
        block.Dense(NEURON, 7, 5, delay=True, delay_shift=True, weight_scale=4),
        block.Output(NEURON, 5, 3),
    )
    network(torch.zeros(1, 7, 1))
    return network


def synops_by_hand(block: torch.nn.Module, entered: list[torch.Tensor]) -> int:
    """Every event times every synapse behind it, one by one."""
    weights = block.synapse.weight[:, :, 0, 0, 0]
    total = 0
    for events in entered:
        for _, neuron, _ in (events != 0).nonzero().tolist():
            total += sum(1 for weight in weights[:, neuron].tolist() if abs(weight) > 1e-10)
    return total


def test_synops_are_the_fan_out_of_every_event():
    network = small_network()
    with torch.no_grad():
        network.blocks[1].synapse.weight[::2, 1::2] = 0
        network.blocks[1].synapse.weight[0] = 1e-9  # not zero, but it is once quantised to 8 bits
        network.blocks[1].synapse.weight[1] = 1e-11  # zero by definition
    clips = [torch.rand(batch, 7, steps) for batch, steps in ((2, 11), (1, 4))]
    entered = {1: [], 2: []}
    with EventCounter(network) as counter:
        for clip in clips:
            network(clip)
            for i in entered:
                entered[i].append(network.entered[i])
    activity = counter.activity()
    assert activity.steps == 2 * 11 + 4
    assert [layer.name for layer in activity.layers] == ["1", "2"]
    for layer in activity.layers:
        by_hand = synops_by_hand(network.blocks[int(layer.name)], entered[int(layer.name)])
        events = sum(int((x != 0).sum()) for x in entered[int(layer.name)])
        assert by_hand > 0
        assert layer.synops_per_step == by_hand / 26
        assert layer.events_per_step == events / 26
    assert activity.synops_per_step == sum(layer.synops_per_step for layer in activity.layers)


def test_synops_of_a_network_that_torch_pruned_are_those_of_prune_evaluate(tmp_path):
    network = random_network(seed=1, n_fft=64, hop=16)
    pruned = [(block.synapse, "weight") for block in network.blocks[1:]]
    prune.global_unstructured(pruned, prune.L1Unstructured, amount=0.75)
    torch.save(network.state_dict(), tmp_path / "network.pt")
    state = torch.load(tmp_path / "network.pt", weights_only=True)
    weights = [state[f"blocks.{i}.synapse.weight_orig"] * state[f"blocks.{i}.synapse.weight_mask"] for i in (1, 2, 3)]
    loaded, entered = load_network(tmp_path / "network.pt"), []
    for block in loaded.blocks[1:]:
        block.register_forward_pre_hook(lambda block, inputs: entered.append(inputs[0]))
    magnitude = 3 * torch.rand(2, 33, 60)
    with EventCounter(loaded) as counter:
        loaded(magnitude)
    counted = prune_evaluate(weights, entered)
    assert min(counted) > 0
    assert [layer.synops_per_step for layer in counter.activity().layers] == [count / 120 for count in counted]


def test_neuronops_of_the_challenge_network_leave_out_the_last_block():
    network = SDNN()
    with EventCounter(network) as counter:
        network(torch.rand(1, 257, 3))
    activity = counter.activity()
    # prune_evaluate.py of SPANDEX: sum of np.prod(block.neuron.shape) over blocks[:-1]
    assert activity.neuronops_per_step == sum(block.neuron.shape.numel() for block in network.blocks[:-1]) == 1281
    assert len(activity.layers) == 3


def test_accelerated_network_counts_the_same():
    torch.manual_seed(3)
    network = SDNN(hidden=32)
    magnitude = 3 * torch.rand(2, 257, 40)
    with EventCounter(network) as stock:
        network(magnitude)
    accelerate(network)
    with EventCounter(network) as fused:
        network(magnitude)
    for a, b in zip(stock.activity().layers, fused.activity().layers, strict=True):
        assert b.events_per_step == pytest.approx(a.events_per_step, rel=1e-3)
        assert a.events_per_step > 0


def test_nothing_is_counted_outside_the_context():
    network = small_network()
    with EventCounter(network) as counter:
        network(torch.rand(1, 7, 5))
    before = counter.activity()
    network(torch.rand(1, 7, 5))
    assert counter.activity() == before
    with pytest.raises(ValueError, match="no forward pass"):
        EventCounter(network).activity()


def test_convolution_is_refused_by_name():
    block = slayer.block.sigma_delta
    network = Chain(block.Input(NEURON), block.Conv(NEURON, 1, 2, 3))
    with pytest.raises(SpandexError, match="block 1"):
        EventCounter(network)


@pytest.mark.parametrize(
    ("synops", "in_all", "power"),
    [  # a step and layer, of 75 % and 50 % on test set 1: slurm-38550055.out and slurm-38550056.out of SPANDEX
        ([14518.293, 20833.918, 345.95975], 35_698.17, 6_063_521),
        ([26051.139, 34584.707, 1145.5309], 61_781.38, 9_323_922),
    ],
)
def test_published_power_follows_from_the_published_counts(synops, in_all, power):
    assert sum(synops) == pytest.approx(in_all, abs=0.005)
    assert round(power_proxy(sum(synops), 1281, 0.008)) == power


def test_proxies_reproduce_the_published_arithmetic():
    # challenge, baseline SDNN: 14.52 M-Ops/s at a hop of 8 ms with 1281 neurons, 0.46 M-Ops over 32.015 ms
    synops = 14.52e6 * 0.008 - 10 * 1281
    assert power_proxy(synops, 1281, 0.008) == pytest.approx(14.52e6)
    assert pdp_proxy(14.52e6, 0.032015) / 1e6 == pytest.approx(0.46, abs=0.005)
