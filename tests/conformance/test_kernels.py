"""Fused kernels against lava-dl's own forward and backward, and against its equations where it cannot run."""

import copy
import io
import itertools
import math
import os
import select
from signal import SIGKILL

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lava.lib.dl import slayer
from lava.lib.dl.slayer.neuron.dynamics import leaky_integrator

import reference_sdnn
from spandex.errors import SpandexError
from spandex.kernels import accelerate, restore
from spandex.kernels.functions import Leak, Sigma, Synapse
from spandex.networks import SDNN, export_hdf5, load_network, save_state, stft

sigma_delta, cuba = slayer.block.sigma_delta, slayer.block.cuba
NEURON = {"threshold": 0.1, "tau_grad": 0.1, "scale_grad": 0.8, "activation": F.relu}
CUBA = {"threshold": 1.25, "current_decay": 0.25, "voltage_decay": 0.03, "requires_grad": True}


class Blocks(torch.nn.Module):
    """Blocks one after the other; ``events`` keeps what every block sent."""

    def __init__(self, *blocks):
        super().__init__()
        self.blocks = torch.nn.ModuleList(blocks)

    def forward(self, x):
        self.events = []
        for block in self.blocks:
            x = block(x)
            self.events.append(x)
        return x


class Chain(Blocks):
    """Input, Dense blocks and Output of the given widths."""

    def __init__(self, widths, neuron=NEURON, **dense):
        pairs = list(itertools.pairwise(widths))
        super().__init__(
            sigma_delta.Input(neuron),
            *(sigma_delta.Dense(neuron, a, b, weight_scale=3, **dense) for a, b in pairs[:-1]),
            sigma_delta.Output(neuron, *pairs[-1], weight_scale=3),
        )
        with torch.no_grad():
            self(torch.zeros(1, widths[0], 1))


class Stepwise(torch.nn.Module):
    """The blocks of a chain by lava-dl's equations, one step at a time."""

    def __init__(self, chain):
        super().__init__()
        self.blocks = chain.blocks

    def forward(self, x):
        self.events = []
        for block in self.blocks:
            x = reference_sdnn.forward(block, x)
            self.events.append(x)
        return x


def run(network, x, grad):
    """Output of every block, and the gradients for the input and all parameters that have one."""
    network.zero_grad()
    x = x.clone().requires_grad_()
    network(x).backward(grad)
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return [events.detach() for events in network.events], {**gradients, "input": x.grad}


def assert_same(network, x, grad, reference=lambda network: network):
    expected = run(reference(restore(network)), x, grad)
    assert_agree(expected, run(accelerate(network), x, grad))
    restore(network)


def assert_agree(expected, found):
    """Events differ in at most 1e-4 of the steps; where they all agree, so do the gradients."""
    for events, other in zip(expected[0], found[0], strict=True):
        assert events.shape == other.shape
        assert (events != other).float().mean() <= 1e-4
    if not all(torch.equal(events, other) for events, other in zip(expected[0], found[0], strict=True)):
        return
    assert expected[1].keys() == found[1].keys()
    for name, gradient in expected[1].items():
        assert found[1][name].shape == gradient.shape
        assert (found[1][name] - gradient).norm() <= 1e-4 * gradient.norm(), name


def signal(seed, batch, neurons, steps):
    """Slowly changing positive and negative values, as spectra change, in steps of 1/64."""
    noise = torch.randn(batch, neurons, steps, generator=torch.Generator().manual_seed(seed))
    return torch.round(64 * 0.3 * noise.cumsum(-1)) / 64


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**20),
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    batch=st.integers(1, 5),
    steps=st.one_of(st.just(1), st.integers(2, 150)),
    threshold=st.sampled_from([0.0, 0.1, 0.5]),
    max_delay=st.sampled_from([1, 20, 64]),
    delay=st.booleans(),
    shift=st.booleans(),
)
def test_events_and_gradients_are_lava_dl_s(seed, widths, batch, steps, threshold, max_delay, delay, shift):
    torch.manual_seed(seed)
    network = Chain(widths, {**NEURON, "threshold": threshold}, delay=delay, delay_shift=shift)
    if delay:
        for dense in network.blocks[1:-1]:
            dense.delay.max_delay = max_delay
            dense.delay.delay.data = 1.2 * max_delay * torch.rand_like(dense.delay.delay) - 1
    grad = torch.randn(batch, widths[-1], steps)
    assert_same(network, signal(seed, batch, widths[0], steps), grad)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**20),
    widths=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    batch=st.integers(1, 4),
    steps=st.one_of(st.just(1), st.integers(2, 80)),
    threshold=st.sampled_from([0.0, 0.1, 0.5]),
    surrogate=st.sampled_from([(0.1, 0.8), (1, 1), (0.5, 3)]),
    cumulative=st.booleans(),
    shared=st.booleans(),
    bias=st.booleans(),
    delay=st.booleans(),
    shift=st.booleans(),
)
def test_equations_hold_for_every_kind_of_threshold(
    seed, widths, batch, steps, threshold, surrogate, cumulative, shared, bias, delay, shift
):
    torch.manual_seed(seed)
    neuron = {
        "threshold": threshold,
        "tau_grad": surrogate[0],
        "scale_grad": surrogate[1],
        "activation": F.relu,
        "shared_param": shared,
        "requires_grad": True,
    }
    network = Chain(widths, neuron, delay=delay, delay_shift=shift)
    for block in network.blocks:
        block.neuron.delta.cum_error = cumulative
        block.neuron.delta.threshold.data += 0.2 * torch.rand_like(block.neuron.delta.threshold)
    for dense in network.blocks[1:-1]:
        if bias:
            dense.neuron.set_bias(torch.randn(dense.synapse.out_channels))
        if delay:
            dense.delay.delay.data = 62 * torch.rand_like(dense.delay.delay)
            dense.delay.grad_scale = 0.5
    x, grad = signal(seed, batch, widths[0], steps), torch.randn(batch, widths[-1], steps)
    assert_same(network, x, grad, reference=Stepwise)
    if shared and not cumulative:  # lava-dl itself, and so the reference too
        assert_same(network, x, grad)


def test_delays_longer_than_the_clip_silence_their_neurons():
    torch.manual_seed(0)
    network = Chain([6, 40, 40, 5], delay=True, delay_shift=True)
    for dense in network.blocks[1:-1]:
        dense.delay.delay.data = torch.arange(40.0)
    for steps in (1, 2, 7, 39, 40, 41):
        assert_same(network, signal(0, 2, 6, steps), torch.randn(2, 5, steps))
    accelerate(network)(signal(0, 1, 6, 7))
    assert not network.events[1][:, 6:].any()  # one step more by the shift


@pytest.mark.parametrize("dense", [{}, {"delay": True, "delay_shift": True}])
def test_nan_stays_in_the_signal_as_in_lava_dl(dense):
    torch.manual_seed(0)
    network = Chain([6, 5, 4], **dense)
    x = signal(0, 2, 6, 40)
    x[0, 2, 7] = torch.nan
    expected, _ = run(restore(network), x, torch.ones(2, 4, 40))
    found, _ = run(accelerate(network), x, torch.ones(2, 4, 40))
    assert expected[-1].isnan().any() and not expected[-1].isnan().all()
    for events, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, events, equal_nan=True, rtol=0, atol=1e-5)


def test_cumulative_error_starts_anew_with_every_batch():
    torch.manual_seed(0)
    network = accelerate(cumulative(Chain([6, 5, 4], delay=True)))
    x = signal(0, 2, 6, 40)
    assert torch.equal(network(x), network(x))


def test_first_forward_with_cumulative_error_takes_shapes_and_draws_delays():
    def delays(**neuron):
        torch.manual_seed(3)
        block = sigma_delta.Dense({**NEURON, **neuron}, 6, 5, weight_scale=3, delay=True)
        accelerate(torch.nn.ModuleList([block]))[0](signal(0, 2, 6, 40))
        assert block.shape == (5,)
        assert block.neuron.delta.cum_error is neuron.get("cum_error", False)
        return block.delay.delay

    assert torch.equal(delays(cum_error=True), delays())


def cumulative(network):
    for block in network.blocks:
        block.neuron.delta.cum_error = True
    return network


def test_lava_dl_still_refuses_cumulative_error():
    network = cumulative(Chain([6, 5, 4]))
    with pytest.raises(RuntimeError, match="bool"):
        network(signal(0, 2, 6, 40))


def test_lava_dl_still_cannot_train_per_channel_thresholds():
    network = Chain([6, 5, 4], {**NEURON, "shared_param": False})
    with pytest.raises(RuntimeError, match="size"):
        network(signal(0, 2, 6, 40)).sum().backward()


def test_synapse_and_sigma_pass_gradcheck():
    torch.manual_seed(0)
    x = torch.randn(2, 7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: Synapse.apply(x, w, torch.float32), (x, weight))
    assert torch.autograd.gradcheck(lambda x: Sigma.apply(x.clone()), (x,))
    assert torch.autograd.gradcheck(lambda x, w: Sigma.apply(Synapse.apply(x, w, torch.float32)), (x, weight))


def test_float32_synapse_is_the_product_of_matrices():
    torch.manual_seed(0)
    x = torch.randn(3, 41, 300, requires_grad=True)
    weight = torch.randn(257, 300, requires_grad=True)
    grad = torch.randn(3, 41, 257)
    Synapse.apply(x, weight, torch.float32).backward(grad)
    wide_x, wide_weight = (tensor.detach().double().requires_grad_() for tensor in (x, weight))
    expected = wide_x @ wide_weight.T
    expected.backward(grad.double())
    torch.testing.assert_close(Synapse.apply(x, weight, torch.float32), expected.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(x.grad, wide_x.grad.float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weight.grad, wide_weight.grad.float(), rtol=1e-4, atol=1e-4)


def test_bfloat16_rounds_gradients_and_nothing_else():
    torch.manual_seed(0)
    network = Chain([40, 60, 60, 40], delay=True, delay_shift=True)
    x, grad = signal(0, 4, 40, 200), torch.randn(4, 40, 200)
    events, exact = run(accelerate(network), x, grad)
    rounded_events, rounded = run(accelerate(network, torch.bfloat16), x, grad)
    assert all(torch.equal(a, b) for a, b in zip(events, rounded_events, strict=True))
    for name, gradient in exact.items():
        assert rounded[name].dtype == torch.float32
        # A gradient summed over time is rounded and its differences are what the layer below passes on.
        assert 0 < (rounded[name] - gradient).norm() <= 0.1 * gradient.norm(), name
    _, again = run(accelerate(network), x, grad)
    assert all(torch.equal(exact[name], again[name]) for name in exact)


def test_other_precisions_are_refused():
    with pytest.raises(SpandexError, match="float16"):
        accelerate(Chain([6, 5, 4]), torch.float16)


def test_unquantised_input_and_weights_agree_too():
    torch.manual_seed(0)
    network = Chain([30, 40, 40, 20], delay=True, delay_shift=True)
    for block in network.blocks[1:]:
        block.synapse.pre_hook_fx = None
    network.blocks[0].pre_hook_fx = lambda x: x
    x = torch.randn(3, 30, 200).cumsum(-1)
    assert_same(network, x, torch.randn(3, 20, 200))


def test_weight_normalised_synapses_agree_and_are_fused():
    torch.manual_seed(0)
    network = Chain([6, 5, 4], weight_norm=True)
    assert_same(network, signal(0, 2, 6, 50), torch.randn(2, 4, 50))
    assert not accelerate(network).blocks[1](signal(0, 2, 6, 50)).is_contiguous()  # a transposed view


def test_scaled_and_shifted_input_agrees():
    torch.manual_seed(0)
    network = Chain([6, 5, 4])
    network.blocks[0] = sigma_delta.Input(NEURON, weight=0.7, bias=0.3)
    network(torch.zeros(1, 6, 1))
    assert_same(network, signal(0, 2, 6, 50), torch.randn(2, 4, 50))


def test_strided_input_and_gradient_agree():
    torch.manual_seed(0)
    network = Chain([6, 5, 4], delay=True)
    x = signal(0, 50, 6, 3).transpose(0, 2)
    assert_same(network, x, torch.ones(1).expand(3, 4, 50))


def test_two_forwards_may_be_open_at_once():
    torch.manual_seed(0)
    network = accelerate(Chain([6, 5, 4], delay=True))
    a, b = signal(1, 2, 6, 30), signal(2, 2, 6, 30)
    separate = []
    for x in (a, b):
        network.zero_grad()
        network(x).sum().backward()
        separate.append(network.blocks[1].synapse.weight.grad)
    network.zero_grad()
    (network(a).sum() + network(b).sum()).backward()
    torch.testing.assert_close(network.blocks[1].synapse.weight.grad, separate[0] + separate[1])


def test_float64_lies_nearer_to_the_fused_gradient_than_to_stock():
    torch.manual_seed(0)
    network = Chain([40, 60, 60, 40], delay=True, delay_shift=True)
    x, grad = signal(0, 4, 40, 700), torch.rand(4, 40, 700)
    events, stock = run(network, x, grad)
    _, fused = run(accelerate(network), x, grad)
    exact_events, exact = run(restore(network).double(), x.double(), grad.double())
    assert all(torch.equal(a.double(), b) for a, b in zip(events, exact_events, strict=True))
    for name, reference in exact.items():
        error = (fused[name] - reference).norm()
        assert error <= max(1.1 * (stock[name] - reference).norm(), 1e-6 * reference.norm()), name


def test_sdnn_on_a_real_length_agrees():
    torch.manual_seed(0)
    network = SDNN(hidden=64)
    magnitude, _ = stft(0.1 * torch.randn(2, 48000))
    grad = torch.randn_like(magnitude)
    outputs, gradients = [], []
    for prepare in (restore, accelerate):
        prepare(network).zero_grad()
        output = network(magnitude)
        output.backward(grad)
        outputs.append(output.detach())
        gradients.append({name: p.grad for name, p in network.named_parameters() if p.requires_grad})
    assert torch.equal(*outputs)
    for name, stock in gradients[0].items():
        assert (gradients[1][name] - stock).norm() <= 1e-4 * stock.norm(), name


@pytest.mark.slow
def test_published_baseline_sends_the_same_events(mirror):
    network = load_network(mirror / "ndns" / "baseline" / "network.pt")
    magnitude, _ = stft(0.05 * torch.randn(2, 160000))
    with torch.no_grad():
        assert torch.equal(network(magnitude), accelerate(network)(magnitude))


def test_runs_are_bitwise_reproducible():
    torch.manual_seed(0)
    network = accelerate(Chain([40, 60, 40], delay=True))
    x, grad = signal(0, 4, 40, 500), torch.randn(4, 40, 500)
    _, first = run(network, x, grad)
    _, second = run(network, x, grad)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_one_thread_gives_the_same_as_two():
    torch.manual_seed(0)
    network = accelerate(Chain([6, 9, 4], delay=True))
    x, grad = signal(0, 3, 6, 100), torch.randn(3, 4, 100)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 30):
            torch.set_num_threads(count)
            results.append(run(network, x, grad))
    finally:
        torch.set_num_threads(threads)
    for events, gradients in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(events, results[0][0], strict=True))
        for name, value in results[0][1].items():
            torch.testing.assert_close(gradients[name], value)


def test_products_go_through_onednn_on_any_number_of_threads():
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            x, weight = torch.randn(1, 200, 257).requires_grad_(), torch.randn(512, 257).requires_grad_()
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                Synapse.apply(x, weight, torch.float32).sum().backward()
            ran = [event.name for event in profile.events()]
            assert sum("mkldnn_convolution" in name for name in ran) == 2, count
            assert "aten::convolution_backward" in ran and not any("slow_conv" in name for name in ran), count
    finally:
        torch.set_num_threads(threads)


def test_fork_computes_though_it_has_none_of_the_threads():
    def total():
        with torch.no_grad():
            return float(Sigma.apply(torch.ones(2, 3, 5)).sum())

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = total()  # which starts them
        received, sent = os.pipe()
        if not (child := os.fork()):
            try:
                os.write(sent, str(total()).encode())
            finally:
                os._exit(0)
        os.close(sent)
        answered, _, _ = select.select([received], [], [], 60)
        os.kill(child, SIGKILL)
        os.waitpid(child, 0)
        assert answered, "the fork waits for a thread"
        assert float(os.read(received, 100)) == before
    finally:
        torch.set_num_threads(threads)


def test_state_and_export_are_untouched(tmp_path):
    torch.manual_seed(0)
    network = SDNN(hidden=8)
    modules = [id(module) for module in network.modules()]
    keys = list(network.state_dict())
    for name, prepare in (("stock", restore), ("fused", accelerate)):
        prepare(network)
        save_state(network, tmp_path / f"{name}.pt")
        export_hdf5(network, tmp_path / f"{name}.net")
    for kind in ("pt", "net"):
        assert (tmp_path / f"stock.{kind}").read_bytes() == (tmp_path / f"fused.{kind}").read_bytes()
    assert list(network.state_dict()) == keys
    assert [id(module) for module in network.modules()] == modules
    assert all(isinstance(block, stock) for block, stock in zip(network.blocks, STOCK, strict=True))


STOCK = (sigma_delta.Input, sigma_delta.Dense, sigma_delta.Dense, sigma_delta.Output)


def test_restore_undoes_accelerate_and_both_may_be_repeated():
    network = SDNN(hidden=8)
    assert accelerate(accelerate(network)) is network
    assert not any(type(block) is stock for block, stock in zip(network.blocks, STOCK, strict=True))
    assert restore(restore(network)) is network
    assert all(type(block) is stock for block, stock in zip(network.blocks, STOCK, strict=True))


def test_accelerated_networks_can_be_copied_and_pickled():
    torch.manual_seed(0)
    network = accelerate(SDNN(hidden=8))
    stream = io.BytesIO()
    torch.save(network, stream)
    stream.seek(0)
    pickled = torch.load(stream, weights_only=False)
    x = 2 * torch.rand(1, 257, 30)
    for other in (copy.deepcopy(network), pickled):
        with torch.no_grad():
            network.blocks[3].synapse.weight.add_(0)
            assert torch.equal(other(x), network(x))
            other.blocks[3].synapse.weight.zero_()
            assert not torch.equal(other(x), network(x))


def test_input_of_the_wrong_width_is_refused():
    network = accelerate(Chain([6, 5, 4]))
    with pytest.raises(Exception, match=r"shape|size"):
        network(torch.zeros(1, 7, 10))


def test_first_forward_draws_the_delays_lava_dl_would_draw():
    def first_events(prepare):
        torch.manual_seed(3)
        block = sigma_delta.Dense(NEURON, 6, 5, weight_scale=3, delay=True)
        block.delay.max_delay = 64
        return prepare(torch.nn.ModuleList([block]))[0](signal(0, 2, 6, 40))

    assert torch.equal(first_events(restore), first_events(accelerate))


class CumulativeMean(torch.nn.Module):
    def forward(self, x):
        return x - 0.1


UNCOVERED = {
    "persistent state": {"persistent_state": True},
    "normalisation": {"norm": CumulativeMean},
    "dropout": {"dropout": torch.nn.Dropout(0.0)},
    "activation": {"activation": torch.tanh},
}


@pytest.mark.parametrize("name", UNCOVERED)
def test_uncovered_neurons_run_stock(name):
    torch.manual_seed(0)
    network = Chain([6, 5, 5, 4], {**NEURON, **UNCOVERED[name]}, delay=True)
    x = signal(0, 2, 6, 40)
    stock, fused = network, accelerate(copy.deepcopy(network))
    for _ in range(2):  # persistent state shows in the second call
        a, b = stock(x), fused(x)
        assert all(torch.equal(e, f) for e, f in zip(stock.events, fused.events, strict=True))
    a.pow(2).sum().backward()
    b.pow(2).sum().backward()
    gradients = {n: p.grad for n, p in stock.named_parameters() if p.grad is not None}
    for n, p in fused.named_parameters():
        if n in gradients:
            assert (p.grad - gradients[n]).norm() <= 1e-4 * gradients[n].norm(), n


def test_synapse_mask_runs_stock():
    torch.manual_seed(0)
    mask = torch.arange(30).view(5, 6) % 2
    stock = Chain([6, 5, 4], mask=mask)
    fused = accelerate(copy.deepcopy(stock))
    fused.blocks[1].synapse.weight.data.fill_(1)
    stock.blocks[1].synapse.weight.data.fill_(1)
    x = signal(0, 2, 6, 40)
    assert torch.equal(stock(x), fused(x))
    assert torch.equal(fused.blocks[1].synapse.weight.flatten(1), mask.float())


def test_images_and_float64_run_stock():
    torch.manual_seed(0)
    dense = sigma_delta.Dense(NEURON, (3, 2, 4), 5, weight_scale=3)
    image = signal(0, 2, 24, 30).view(2, 4, 2, 3, 30)
    expected = dense(image), dense(image)
    network = accelerate(torch.nn.ModuleList([dense]))
    assert torch.equal(network[0](image), expected[1])
    wide = Chain([6, 5, 4], delay=True).double()
    x = signal(0, 2, 6, 40).double()
    assert torch.equal(wide(x), accelerate(wide)(x))


def test_hooks_of_inner_modules_are_called():
    network = accelerate(Chain([6, 5, 4]))
    seen = []
    network.blocks[1].neuron.register_forward_hook(lambda module, inputs, output: seen.append(output))
    network(signal(0, 2, 6, 40))
    assert len(seen) == 1
    assert torch.equal(seen[0], network.events[1])


def spikes(seed, *shape):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def assert_cuba_same(make, x):
    """Equal spikes and gradients after the first forward, which draws decays and delays.

    Gradients agree within 1e-5 of their norm; where their terms cancel, within 1e-6 of the largest of the network.
    """
    sides = []
    for prepare in (restore, accelerate):
        torch.manual_seed(0)
        network = prepare(make())
        sides.append((network, *run(network, x, torch.randn(network(x).shape))))
    (stock, events, gradients), (fused, other_events, other_gradients) = sides
    assert all(torch.equal(a, b) for a, b in zip(events, other_events, strict=True))
    assert gradients.keys() == other_gradients.keys()
    rounding = 1e-6 * max(gradient.norm() for gradient in gradients.values())
    for name, gradient in gradients.items():
        assert other_gradients[name].shape == gradient.shape
        assert (other_gradients[name] - gradient).norm() <= 1e-5 * gradient.norm() + rounding, name
    for name, buffer in stock.state_dict().items():
        assert torch.equal(fused.state_dict()[name], buffer), name


cuba_neurons = st.fixed_dictionaries(
    {
        "threshold": st.sampled_from([0.5, 1.25, 3]),
        "current_decay": st.sampled_from([0, 0.25, 1]),
        "voltage_decay": st.sampled_from([0, 0.03, 0.7, 1]),
        "tau_grad": st.sampled_from([0.01, 0.03]),  # which keep gradients in the order of 1 through the layers
        "scale_grad": st.sampled_from([20, 60]),
        "scale": st.sampled_from([1 << 6, 1 << 4]),
        "requires_grad": st.booleans(),
    }
)
block_options = st.fixed_dictionaries(
    {"delay": st.booleans(), "delay_shift": st.booleans(), "weight_norm": st.booleans()}
)
cuba_runs = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cuba_runs
@given(
    seed=st.integers(0, 2**20),
    widths=st.lists(st.integers(1, 30), min_size=3, max_size=4),
    batch=st.integers(1, 4),
    steps=st.one_of(st.just(1), st.integers(2, 80)),
    neuron=cuba_neurons,
    shared=st.booleans(),
    last=st.sampled_from(["spikes", "graded spikes", "voltage"]),
    options=block_options,
)
def test_spikes_and_gradients_of_dense_cuba_blocks_are_lava_dl_s(
    seed, widths, batch, steps, neuron, shared, last, options
):
    pairs = list(itertools.pairwise(widths))
    neuron |= {"shared_param": shared}
    graded = neuron | {"graded_spike": last == "graded spikes"}  # whose sums of another order the next would round

    def make():
        blocks = [cuba.Dense(neuron, a, b, weight_scale=4, **options) for a, b in pairs[:-1]]
        if last == "voltage":
            return Blocks(*blocks, cuba.Affine(neuron, *pairs[-1], 4, options["weight_norm"]))
        return Blocks(*blocks, cuba.Dense(graded, *pairs[-1], weight_scale=4, **options))

    assert_cuba_same(make, spikes(seed, batch, widths[0], steps))


@cuba_runs
@given(
    seed=st.integers(0, 2**20),
    steps=st.integers(1, 20),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    neuron=cuba_neurons,
    options=block_options,
)
def test_spikes_and_gradients_of_cuba_blocks_of_images_are_lava_dl_s(
    seed, steps, stride, dilation, groups, neuron, options
):
    how = {"stride": stride, "dilation": dilation, "groups": groups, "padding": 2}
    height, width = (-(-((size - 2 * dilation + 3) // stride + 1) // 2) for size in (9, 8))

    def make():
        return Blocks(
            cuba.Conv(neuron, 2, 6, 3, weight_scale=4, **how, **options),
            cuba.Pool(dict(neuron), 2, delay_shift=options["delay_shift"]),  # it changes its argument
            cuba.Conv(neuron, 6, 4, 1, weight_scale=4, **options),
            cuba.Flatten(),
            cuba.Dense(neuron, 4 * height * width, 5, weight_scale=4, **options),
        )

    assert_cuba_same(make, spikes(seed, 3, 2, 9, 8, steps))


@pytest.mark.parametrize("norm", [slayer.neuron.norm.MeanOnlyBatchNorm, slayer.neuron.norm.WgtScaleBatchNorm])
def test_currents_of_cuba_blocks_are_normalised_as_in_lava_dl(norm):
    neuron = CUBA | {"norm": norm, "tau_grad": 0.03, "scale_grad": 20}

    def make():
        return Blocks(cuba.Conv(neuron, 2, 6, 3, weight_scale=4), cuba.Flatten(), cuba.Dense(neuron, 252, 5))

    assert_cuba_same(make, spikes(0, 3, 2, 9, 8, 30))


def test_dense_cuba_neurons_may_see_a_whole_image():
    assert_cuba_same(lambda: Blocks(cuba.Dense(CUBA, (8, 9, 4), 7, weight_scale=3)), spikes(0, 3, 4, 9, 8, 20))


@pytest.mark.parametrize("threshold", [None, 0.3])
@pytest.mark.parametrize("scale", [4096, 3200])
def test_leaky_integration_is_lava_dl_s_bit_for_bit(threshold, scale):
    torch.manual_seed(0)
    x, decay = torch.randn(3, 40, 50, requires_grad=True), torch.randint(0, 4097, (40,)).float().requires_grad_()
    expected = leaky_integrator.dynamics(x, decay, torch.zeros(1), scale, threshold)
    found = Leak.apply(x.mT.contiguous(), decay, scale, threshold or math.inf).mT
    assert torch.equal(found, expected)
    grad = torch.randn(expected.shape)
    pairs = [torch.autograd.grad(out, (x, decay), grad) for out in (found, expected)]
    assert torch.equal(pairs[0][0], pairs[1][0])
    torch.testing.assert_close(pairs[0][1], pairs[1][1])


def test_spikes_are_those_of_the_fixed_point_beyond_32_bits():
    torch.manual_seed(0)
    network = Blocks(cuba.Affine(CUBA | {"voltage_decay": 0}, 12, 8, weight_scale=500))
    network.blocks[0].synapse.pre_hook_fx = torch.round
    x = 100 * spikes(0, 2, 12, 3000)
    with torch.no_grad():
        stock = network(x)
        assert stock.abs().max() * 4096 > 2**31
        assert torch.equal(accelerate(network)(x), stock)


def test_cuba_decays_of_channels_of_images_belong_to_their_channels():
    """Each channel runs alone, with its own decays: lava-dl lines decays up with the columns of images."""
    torch.manual_seed(0)
    network = Blocks(cuba.Conv(CUBA | {"shared_param": False, "current_decay": (0.1, 0.9)}, 2, 3, 3, weight_scale=4))
    x = spikes(0, 2, 2, 6, 9, 20)
    with pytest.raises(RuntimeError, match="size"):
        network(x)
    out = accelerate(network)(x)
    block = network.blocks[0]
    out.sum().backward()
    assert block.neuron.current_decay.unique().numel() == 3
    for channel in range(3):
        alone = cuba.Conv(CUBA, 2, 1, 3)
        alone.synapse.weight.data = block.synapse.weight.data[channel : channel + 1]
        for name in ("current_decay", "voltage_decay"):
            getattr(alone.neuron, name).data = getattr(block.neuron, name).data[channel : channel + 1]
        expected = alone(x)
        expected.sum().backward()
        assert torch.equal(out[:, channel : channel + 1], expected)
        torch.testing.assert_close(block.neuron.current_decay.grad[channel], alone.neuron.current_decay.grad[0])
        torch.testing.assert_close(block.synapse.weight.grad[channel], alone.synapse.weight.grad[0])


def test_lava_dl_s_cuba_neurons_compute_the_first_batch_only(monkeypatch):
    options = {"delay": True, "weight_norm": True}
    network = Blocks(
        cuba.Conv(CUBA, 2, 3, 3, **options),
        cuba.Pool(dict(CUBA), 2),
        cuba.Flatten(),
        cuba.Dense(CUBA | {"norm": slayer.neuron.norm.MeanOnlyBatchNorm}, 18, 5, **options),
        cuba.Affine(CUBA, 5, 4),
    )
    x = spikes(0, 2, 2, 6, 8, 10)
    accelerate(network)(x)
    monkeypatch.delattr(slayer.neuron.cuba.Neuron, "dynamics")
    network(x).sum().backward()
    with pytest.raises(AttributeError, match="dynamics"):
        restore(network)(x)


def cuba_chain(neuron=CUBA, **options):
    torch.manual_seed(0)
    return Blocks(*(cuba.Dense(neuron, a, b, weight_scale=4, **options) for a, b in ((6, 5), (5, 4))))


UNCOVERED_CUBA = {
    "persistent state": lambda: cuba_chain(CUBA | {"persistent_state": True}, delay_shift=False),
    "dropout": lambda: cuba_chain(CUBA | {"dropout": torch.nn.Dropout(0.0)}),
    "mask": lambda: cuba_chain(mask=torch.ones(1, 1)),
    "float64": lambda: cuba_chain().double(),
    "no dynamics": lambda: Blocks(cuba.Affine(CUBA, 6, 5, dynamics=False)),
}


@pytest.mark.parametrize("name", UNCOVERED_CUBA)
def test_uncovered_cuba_blocks_run_stock(name):
    network = UNCOVERED_CUBA[name]()
    x = spikes(0, 2, 6, 40).to(next(network.parameters()).dtype)
    fused = accelerate(copy.deepcopy(network))
    for _ in range(3):  # persistent state shows from the second call on
        network(x)
        fused(x)
        assert all(torch.equal(a, b) for a, b in zip(network.events, fused.events, strict=True))
    assert fused.events[-1].is_contiguous()  # what the kernels give is transposed


def test_hooks_of_cuba_neurons_are_called():
    network = accelerate(cuba_chain())
    seen = []
    network.blocks[0].neuron.register_forward_hook(lambda module, inputs, output: seen.append(output))
    for _ in range(2):
        network(spikes(0, 2, 6, 40))
    assert len(seen) == 2


def test_cuba_images_of_another_size_are_refused_as_lava_dl_refuses_them():
    network = accelerate(Blocks(cuba.Conv(CUBA, 2, 3, 3)))
    network(spikes(0, 1, 2, 6, 9, 4))
    with pytest.raises(AssertionError, match="does not match"):
        network(spikes(0, 1, 2, 9, 6, 4))


def test_restored_cuba_blocks_are_lava_dl_s():
    network = Blocks(cuba.Conv(CUBA, 2, 3, 3), cuba.Pool(CUBA, 2), cuba.Dense(CUBA, 6, 5), cuba.Affine(CUBA, 5, 4))
    kinds = [type(block) for block in network.blocks]
    assert not set(kinds) & {type(block) for block in accelerate(network).blocks}
    assert [type(block) for block in restore(network).blocks] == kinds
