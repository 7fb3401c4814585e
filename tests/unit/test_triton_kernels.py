"""CUDA kernels without a GPU: run by Triton's interpreter, and compiled ahead of time for two generations."""

import math
import os
import re
import subprocess
import sys

import pytest
import torch
from lava.lib.dl import slayer
from lava.lib.dl.slayer.neuron.dynamics import leaky_integrator

from kernel_calls import MODES, STEP, calls, delayed, sent_before_delay

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from spandex.kernels import frames  # noqa: E402
from spandex.kernels import triton as kernels  # noqa: E402

# The interpreter is chosen when triton is imported, so it gets a process of its own; small chunks make it faster.
CALLS = """
import sys, torch
from spandex.kernels import triton as kernels
kernels.CHUNK = 4
calls = torch.load(sys.argv[1], weights_only=True)
torch.save([getattr(kernels, name)(*arguments) for name, arguments in calls], sys.argv[2])
"""
SHAPES = [(2, 9, 33), (1, 1, 1), (1, 14, 3)]  # batch, steps, neurons


def delta_by_steps(x, threshold, step, cumulative):
    """(sent, change) as lava-dl's documentation of Delta gives them, one step after another."""
    previous = residual = error = torch.zeros_like(x[:, 0])
    sent, changes = [], []
    for now in x.unbind(1):
        change = now - previous + residual
        error = error + change if cumulative else change
        events = torch.where(error.abs() >= threshold, change, 0 * change)
        error = torch.where(events != 0, 0 * error, error)
        previous, residual = now, change - events
        sent.append(torch.floor(events / step) * step)
        changes.append(change)
    return torch.stack(sent, 1), torch.stack(changes, 1)


def run_interpreted(program, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """By key: arguments of the call, and what the interpreted kernel returned."""
    folder = tmp_path_factory.mktemp("interpreter")
    made = calls(SHAPES)
    torch.save([(name, arguments) for name, arguments in made.values()], folder / "calls.pt")
    run_interpreted(CALLS, folder / "calls.pt", folder / "results.pt")
    returned = torch.load(folder / "results.pt", weights_only=True)
    return {key: (made[key][1], result) for key, result in zip(made, returned, strict=True)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cumulative", "per_neuron"), MODES)
def test_delta_sends_what_the_equations_send(results, shape, cumulative, per_neuron):
    (x, threshold, step, *_), (sent, change) = results["delta", shape, cumulative, per_neuron]
    expected_sent, expected_change = delta_by_steps(x, threshold, step, cumulative)
    assert torch.equal(sent, expected_sent)
    assert torch.equal(change, expected_change)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cumulative", "per_neuron"), MODES)
def test_neuron_sums_rectifies_sends_and_delays(results, shape, cumulative, per_neuron):
    (z, bias, delays, threshold, step, _, keep), (out, active, change) = results[
        "neuron", shape, cumulative, per_neuron
    ]
    x = torch.relu(z.double().cumsum(1).float() + (0 if bias is None else bias))
    sent, expected_change = delta_by_steps(x, threshold, step, cumulative)
    assert torch.equal(out, delayed(sent, delays))
    assert torch.equal(active, (x > 0).to(torch.uint8))
    assert torch.equal(change, expected_change) if keep else change is None


def lava_delay(delays, steps):
    """lava-dl's module, which cannot delay by more than the clip."""
    delay = slayer.axon.Delay()
    delay.delay.data, delay.init = delays.clamp(max=steps).float(), True
    return delay


@pytest.mark.parametrize("shape", SHAPES)
def test_neuron_sends_the_events_of_lava_dl(results, shape):
    (z, _, delays, threshold, *_), (out, _, _) = results["neuron", shape, False, False]
    neuron = slayer.neuron.sigma_delta.Neuron(0.1, torch.relu)
    neuron.delta.threshold.data = threshold
    expected = lava_delay(delays, z.shape[1])(neuron(z.mT))
    assert (out.mT != expected).float().mean() <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_lava_dl(results, shape):
    (grad, _, active, delays, _), (grad_z, grad_delay) = results["backward", shape, True]
    z = torch.zeros_like(grad).requires_grad_()
    x = torch.where(active.bool(), z.cumsum(1), 0)
    lava_delay(delays, shape[1])(slayer.axon.Delta(threshold=0.1)(x.mT)).backward(grad.mT)
    torch.testing.assert_close(grad_z, z.grad, rtol=1e-5, atol=1e-5)
    delay = lava_delay(delays, shape[1])
    delay(sent_before_delay(shape).mT).backward(grad.mT)
    torch.testing.assert_close(grad_delay, delay.delay.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_for_delays_is_left_out_if_not_wanted(results, shape):
    (_, with_delay), (_, without) = results["backward", shape, True], results["backward", shape, False]
    assert without[1] is None
    assert torch.equal(without[0], with_delay[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reverse", [False, True])
def test_cumulative_sum_from_either_end(results, shape, reverse):
    (z, _), total = results["sum", shape, reverse]
    expected = z.double().flip(1).cumsum(1).flip(1) if reverse else z.double().cumsum(1)
    assert torch.equal(total, expected.float())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reset", [0.3 * 3200, math.inf])
def test_leaky_integration_is_lava_dl_s_bit_for_bit(results, shape, reset):
    (x, keep, scale, _), out = results["leak", shape, reset]
    threshold = None if reset == math.inf else 0.3
    expected = leaky_integrator.dynamics(x.mT, 4096 * (1 - keep), torch.zeros(1), scale, threshold)
    assert torch.equal(out.mT, expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_leaky_integration_is_lava_dl_s(results, shape):
    (grad, keep), grad_x = results["leak backward", shape]
    x = torch.zeros_like(grad).requires_grad_()
    leaky_integrator.dynamics(x.mT, 4096 * (1 - keep), torch.zeros(1), 4096).backward(grad.mT)
    assert torch.equal(grad_x, x.grad)


def test_sum_of_many_steps_is_rounded_once(results):
    (z, _), total = results["long sum"]
    expected = z.double().cumsum(1).float()
    assert torch.equal(total, expected)
    _, (out, _, _) = results["long neuron"]
    assert torch.equal(out, delta_by_steps(expected, torch.tensor([0.1]), STEP, False)[0])


def test_steps_that_are_no_power_of_two_are_divided_by(results):
    (x, threshold, step, *_), (sent, _) = results["decimal step"]
    assert torch.equal(sent, delta_by_steps(x, threshold, step, False)[0])
    assert sent.any()


def test_nan_stays_in_the_signal(results):
    _, (out, _, _) = results["nan"]
    assert out[0, 3:, 0].isnan().all()
    assert not out[0, :3].isnan().any()
    assert not out[..., 1].isnan().any()


POINTERS = {"active_ptr": "*u8", "delay_ptr": "*i32", "grad_delay_ptr": "*fp64"}
KERNELS = [
    kernels._delta,
    kernels._sigma_relu_delta,
    kernels._sigma_relu_delta_backward,
    kernels._cumulative_sum,
    kernels._leak,
    kernels._leak_backward,
]


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("flags", [False, True])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_kernel_compiles_for_a_gpu(kernel, flags, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    constants = {name: flags for name in kernel.arg_names if name.isupper()}
    constants |= {"BLOCK": kernels.BLOCK, "CHUNK": kernels.CHUNK}
    if not flags:
        constants |= dict.fromkeys({"bias_ptr", "change_ptr"} & set(kernel.arg_names))
    signature = {}
    for name in kernel.arg_names:
        kind = "fp32" if name in ("step", "inverse", "scale", "reset") else "i32"
        signature[name] = POINTERS.get(name, "*fp32") if name.endswith("_ptr") else kind
    signature |= dict.fromkeys(constants, "constexpr")
    compiled = triton.compile(
        ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32), options=kernels.OPTIONS
    )
    assert f".target sm_{capability}" in compiled.asm["ptx"]
    assert compiled.asm["cubin"].startswith(b"\x7fELF")
    memory = re.findall(r"\s(ld\.global|st\.global|atom|red)\.", compiled.asm["ptx"])
    assert "ld.global " * kernels.CHUNK in " ".join(memory)  # a chunk is on its way before any of it is used
    assert not {"atom", "red"} & set(memory)


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(
    "kernel", [frames._reflected, frames._spread, frames._averaged, frames._along], ids=lambda kernel: kernel.__name__
)
def test_pass_over_frames_compiles_for_a_gpu(kernel, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    sizes = {"N_FFT": 512, "HOP": 128, "WIDTH": 512, "BLOCK": frames.BLOCK}
    constants = {name: sizes[name] for name in kernel.arg_names if name.isupper()}
    signature = {name: "*fp32" if name.endswith("_ptr") else "i32" for name in kernel.arg_names}
    signature |= dict.fromkeys(constants, "constexpr")
    compiled = triton.compile(
        ASTSource(kernel, signature, constants), target=GPUTarget("cuda", capability, 32), options=frames.OPTIONS
    )
    assert f".target sm_{capability}" in compiled.asm["ptx"]
    assert not re.search(r"\s(atom|red)\.", compiled.asm["ptx"])


NETWORK = """
import sys, torch
from lava.lib.dl.slayer.block import cuba
from spandex.kernels import accelerate, cpu, functions
from spandex.kernels import triton as kernels
from spandex.networks import SDNN
kernels.CHUNK = 4
functions.kernels = lambda device: kernels
for name in ("delta", "sigma_relu_delta", "sigma_relu_delta_backward", "cumulative_sum", "leak", "leak_backward"):
    delattr(cpu, name)
torch.manual_seed(0)
neuron = {"threshold": 0.5, "current_decay": 0.2, "voltage_decay": 0.1, "requires_grad": True}
spiking = torch.nn.Sequential(
    cuba.Conv(neuron, 2, 3, 3, weight_scale=4, delay=True), cuba.Flatten(), cuba.Dense(neuron, 18, 4, weight_scale=4)
)
image = (torch.rand(2, 2, 4, 5, 9) < 0.4).float()
spiking(image)
pairs = (SDNN(n_fft=16, hop=4, hidden=12, max_delay=6), 2 * torch.rand(2, 9, 15)), (spiking, image)
found = []
for network, x in pairs:
    for prepare in (lambda network: network, accelerate):
        prepare(network).zero_grad()
        out = network(x)
        out.square().sum().backward()
        found.append((out.detach(), {name: p.grad for name, p in network.named_parameters() if p.requires_grad}))
torch.save((found[:2], found[2:]), sys.argv[1])
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    path = tmp_path_factory.mktemp("networks") / "sides.pt"
    run_interpreted(NETWORK, path)
    return dict(zip(("sigma-delta", "CUBA"), torch.load(path, weights_only=True), strict=True))


@pytest.mark.parametrize("kind", ["sigma-delta", "CUBA"])
def test_accelerated_network_gives_the_output_and_gradients_of_lava_dl(networks, kind):
    (stock, stock_gradients), (ours, our_gradients) = networks[kind]
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-5)
    assert our_gradients.keys() == stock_gradients.keys() and stock_gradients
    for name, gradient in stock_gradients.items():
        assert gradient.norm() > 0
        assert (our_gradients[name] - gradient).norm() <= 1e-4 * gradient.norm(), name
