"""Scores of deployed networks against independent ways to the same numbers."""

import itertools

import h5py
import numpy as np
import pytest
import torch
from lava.lib.dl import slayer
from tests.chains import Chain

from denoising import HOP, N_FFT, noisy_pair, real_pair, small_network
from evaluations import double_si_snr, scores_of
from spandex.deploy import Executor, infer
from spandex.deploy.codec import NETWORK_DELAY, OUTPUT_GAIN, encode
from spandex.deploy.denoise import denoiser
from spandex.deploy.execution import processes_forgotten
from spandex.metrics import Dnsmos
from spandex.networks import denoise, export_hdf5, load_network
from spandex.networks.scaling import INPUT_GAIN
from stock_lava import model_spikes, stock_network

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")

NEURON = {"threshold": 0.1, "activation": torch.relu}
SHIFTS = range(-3, 4)
KINDS = ("ovrl", "sig", "bak")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network") / "network.net")


def test_fixed_point_scores_are_those_of_the_lava_chain(network, tmp_path):
    noisy, clean = noisy_pair(1, 477)
    before, scores = scores_of(network, noisy, clean, tmp_path)
    (chain,) = infer(network, [(noisy, clean, "tones")])
    assert scores["si_snr_db"] == double_si_snr(chain.denoised, clean)
    assert before["si_snr_db"] == double_si_snr(noisy, clean)
    assert scores["si_snri_db"] == scores["si_snr_db"] - before["si_snr_db"]
    assert scores["si_snri_enc_dec_db"] == pytest.approx(scores["si_snri_db"], abs=1e-4)  # float32 samples


def test_float_scores_are_those_of_the_float_network(mirror, tmp_path):
    path = mirror / "ndns/prune50/network.net"
    noisy, clean = real_pair(mirror, seconds=2)
    _, scores = scores_of(path, noisy, clean, tmp_path, with_float=True)
    audio = denoise(load_network(path), torch.from_numpy(noisy)[None])[0].numpy()  # lava-dl's own forward
    assert scores["float_si_snr_db"] == pytest.approx(double_si_snr(audio, clean), abs=1e-4)
    assert scores["fixed_minus_float_db"] == scores["si_snr_db"] - scores["float_si_snr_db"]


def test_cost_is_counted_from_the_spikes_of_stock_lava(network, tmp_path):
    noisy, clean = noisy_pair(2, 1500)
    _, scores = scores_of(network, noisy, clean, tmp_path)
    inputs, _ = encode(noisy, N_FFT, HOP)
    with processes_forgotten():
        blocks = [(getattr(layer, "synapse", None), layer.neuron) for layer in stock_network(network).layers]
        spikes = model_spikes(blocks, inputs)
    with h5py.File(network) as file:
        fan_outs = [np.count_nonzero(file[f"layer/{number}/weight"], axis=0) for number in (1, 2, 3)]
    sent = [layer != 0 for layer in spikes[:3]]
    assert all(layer.any() and not layer.all() for layer in sent)
    steps = inputs.shape[1]
    synops = [int((layer * fan_out[:, None]).sum()) for layer, fan_out in zip(sent, fan_outs, strict=True)]
    assert scores["events_per_step"] == [int(layer.sum()) / steps for layer in sent]
    assert scores["deployed_layer_synops_per_step"] == [count / steps for count in synops]
    assert scores["deployed_synops_per_step"] == sum(synops) / steps
    neurons = 17 + 24 + 24  # whose events enter a synapse
    assert scores["neuronops_per_step"] == neurons
    power = (sum(synops) / steps + 10 * neurons) / (HOP / 16_000)
    assert scores["deployed_power_proxy_ops_per_s"] == pytest.approx(power, rel=1e-12)
    latency_s = N_FFT / 16_000 + scores["latency_network_ms"] / 1e3
    assert scores["deployed_pdp_proxy_ops"] == pytest.approx(power * latency_s, rel=1e-12)


def test_opinion_scores_are_those_of_the_denoised_clip(network, tmp_path):
    noisy, clean = noisy_pair(3, 17_020)  # repeated once, it has the eight hops of which the challenge scores seven
    dnsmos = Dnsmos(threads=1)
    before, scores = scores_of(network, noisy, clean, tmp_path, dnsmos)
    hops = dnsmos.hop_scores(denoiser(network).denoise(noisy), "all")
    for suffix, expected in (("", hops[:7].mean(axis=0)), ("_all_hops", hops.mean(axis=0))):
        assert [scores[f"mos_{kind}{suffix}"] for kind in KINDS] == list(expected)
    assert scores["mos_ovrl"] != scores["mos_ovrl_all_hops"]
    challenge = dnsmos.hop_scores(noisy, "all")[:7].mean(axis=0)
    assert [before[f"mos_{kind}"] for kind in KINDS] == list(challenge)


def sdnn_of(layers, inputs=9, width=12):
    """Sigma-delta blocks in the way of the SDNN: all synaptic layers but the last have delays and a shift of a step."""
    block = slayer.block.sigma_delta
    sizes = [inputs] + [width] * (layers - 1)
    dense = [
        block.Dense(NEURON, before, after, delay=True, delay_shift=True) for before, after in itertools.pairwise(sizes)
    ]
    network = Chain(block.Input(NEURON), *dense, block.Output(NEURON, sizes[-1], inputs))
    network.blocks[0].pre_hook_fx = lambda x: slayer.utils.quantize(x, step=1 / INPUT_GAIN)
    with torch.no_grad():
        network(torch.zeros(1, inputs, 1))
        for layer in network.blocks[1:]:
            layer.synapse.weight *= 3
        for layer in dense:
            layer.delay.delay.copy_(torch.rand_like(layer.delay.delay) * 20)
    return network


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [0, 1])
def test_output_is_later_than_in_training_by_the_derived_step_whatever_the_depth(tmp_path, layers, seed):
    torch.manual_seed(10 * layers + seed)
    network = sdnn_of(layers)
    export_hdf5(network, tmp_path / "network.net")
    inputs = torch.randint(-40, 200, (1, 9, 150))
    with torch.no_grad():
        expected = network(inputs / INPUT_GAIN)[0].numpy()
    outputs = Executor(tmp_path / "network.net").run(inputs[0].numpy()).outputs / OUTPUT_GAIN
    assert np.abs(expected).std() > 0.1
    middle = slice(3, -3)
    errors = {shift: np.abs(np.roll(outputs, -shift, axis=1) - expected)[:, middle].mean() for shift in SHIFTS}
    assert min(errors, key=errors.get) == NETWORK_DELAY
    assert errors[NETWORK_DELAY] == 0  # not a single bit is lost on the way
