import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lava.lib.dl import slayer

from spandex.networks import SDNN, denoise, istft, magnitudes, stft


def lively_network():
    """A network whose masks are not all 1; random numbers go on from seed 0."""
    torch.manual_seed(0)
    network = SDNN(hidden=16, n_fft=64)
    with torch.no_grad():
        for block in network.blocks[1:]:
            block.synapse.weight.mul_(4)
    return network


def test_same_seed_builds_the_same_network_and_another_seed_another():
    def build(seed):
        torch.manual_seed(seed)
        return SDNN(hidden=8).state_dict()

    first, second, third = build(1), build(1), build(2)
    assert all(torch.equal(first[key], second[key]) for key in first)
    for key in ("blocks.1.delay.delay", "blocks.2.delay.delay", "blocks.1.synapse.weight"):
        assert not torch.equal(first[key], third[key])


def test_first_forward_draws_no_new_delays():
    network = SDNN(hidden=8)
    before = [block.delay.delay.clone() for block in network.blocks[1:3]]
    network(torch.rand(2, 257, 5))
    assert all(torch.equal(a, block.delay.delay) for a, block in zip(before, network.blocks[1:3], strict=True))
    assert [block.delay.delay.shape for block in network.blocks[1:3]] == [(8,), (8,)]


def test_threshold_is_rounded_down_to_64ths_and_not_trained():
    network = SDNN(hidden=8, threshold=0.1)
    thresholds = [block.neuron.delta.threshold for block in network.blocks]
    assert all(threshold.item() == 6 / 64 and not threshold.requires_grad for threshold in thresholds)
    assert [block.neuron.v_th_mant for block in network.blocks] == [6, 6, 6, 6]


def test_output_is_the_noisy_magnitude_times_the_mask_of_the_blocks():
    network = lively_network()
    noisy = 3 * torch.rand(2, 33, 40)
    events = slayer.utils.quantize(noisy - 0.2, step=1 / 64)
    events = network.blocks[0].neuron.delta(events)
    for dense in network.blocks[1:3]:
        current = torch.einsum("oi,bit->bot", dense.neuron.quantize_8bit(dense.synapse.weight)[..., 0, 0, 0], events)
        sent = dense.neuron.delta(torch.relu(current.cumsum(-1)))
        events = torch.zeros_like(sent)
        for neuron, delay in enumerate(dense.delay.delay.floor().int() + 1):  # and one step of shift
            events[:, neuron, delay:] = sent[:, neuron, :-delay]
    readout = network.blocks[3]
    weight = readout.neuron.quantize_8bit(readout.synapse.weight)[..., 0, 0, 0]
    mask = torch.relu(torch.einsum("oi,bit->bot", weight, events).cumsum(-1) + 1)
    assert (mask != 1).any()
    torch.testing.assert_close(network(noisy), noisy * mask)


def test_frames_take_the_mask_of_the_next_step_with_a_lookahead_and_silence_follows():
    network = lively_network()
    noisy = 3 * torch.rand(2, 33, 40) + 0.1
    followed = torch.cat([noisy, torch.zeros(2, 33, 1)], -1)
    mask = torch.cat([(network(noisy) / noisy)[..., 1:], network.mask(followed)[..., -1:]], -1)
    assert (mask.diff() != 0).any()
    network.lookahead = 1
    torch.testing.assert_close(network(noisy), noisy * mask)


def test_weights_are_used_in_steps_of_two_64ths_within_8_bits():
    network = SDNN(hidden=8)
    weight = torch.tensor([-9.0, -4.01, 0.015, 0.017, 3.99, 9.0])
    used = network.blocks[1].neuron.quantize_8bit(weight)
    assert (used * 64).tolist() == [-256, -256, 0, 2, 254, 254]


def test_delays_are_kept_between_zero_and_the_longest():
    network = SDNN(hidden=8, max_delay=10)
    delay = network.blocks[1].delay.delay
    delay.data = torch.tensor([-3.0, 0.0, 5.5, 10.0, 10.5, 64.0, 1.0, 2.0])
    network(torch.rand(1, 257, 3))
    assert delay.tolist() == [0.0, 0.0, 5.5, 10.0, 10.0, 10.0, 1.0, 2.0]


def test_every_weight_and_delay_receives_a_gradient():
    torch.manual_seed(0)
    network = SDNN(hidden=32)
    network(3 * torch.rand(2, 257, 60)).pow(2).sum().backward()
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    assert len(trained) == 5
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values())


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(257, 3000), extra=st.sampled_from([None, -100, 0, 1, 700]), batch=st.integers(1, 3))
def test_spectrum_agrees_with_torch(samples, extra, batch):
    audio = torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))
    window = torch.ones(512)
    spectrum = torch.stft(audio, 512, 128, window=window, return_complex=True)
    magnitude, phase = stft(audio)
    torch.testing.assert_close(torch.polar(magnitude, phase.angle()), spectrum)
    assert torch.equal(magnitudes(audio), magnitude)
    torch.testing.assert_close(magnitude, spectrum.abs())
    changed = magnitude * torch.linspace(0, 2, 257)[:, None]
    length = None if extra is None else samples + extra
    known = samples if length is None else min(length, samples)
    expected = torch.istft(torch.polar(changed, spectrum.angle()), 512, 128, window=window, length=known)
    if length is None:
        expected = expected[:, : samples // 128 * 128]
    mine = istft(changed, phase, length)
    assert mine.shape == (batch, expected.shape[1] if length is None else length)
    torch.testing.assert_close(mine[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-5)


def test_istft_returns_the_audio():
    audio = torch.randn(2, 1000, dtype=torch.float64)
    magnitude, phase = stft(audio, 64, 16)
    torch.testing.assert_close(istft(magnitude, phase, 1000, 64, 16), audio)


@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (48, 16), (45, 15), (16, 16), (3, 1)])
@pytest.mark.parametrize("extra", [None, -20, 0, 33])
def test_gradients_of_the_istft(n_fft, hop, extra):
    magnitude, phase = stft(torch.randn(2, 4 * hop + n_fft, dtype=torch.float64), n_fft, hop)
    length = None if extra is None else max(magnitude.shape[2] * hop + extra, 1)
    inputs = magnitude.requires_grad_(), phase.requires_grad_()
    assert torch.autograd.gradcheck(lambda m, p: istft(m, p, length, n_fft, hop), inputs)


def test_phase_of_silence_is_finite():
    magnitude, phase = stft(torch.zeros(1, 1000))
    assert torch.equal(istft(magnitude, phase, 1000), torch.zeros(1, 1000))


def test_istft_refuses_a_hop_that_does_not_divide_the_frame():
    with pytest.raises(ValueError, match="512 and 100"):
        istft(torch.ones(1, 257, 3), torch.ones(1, 257, 3), 200, 512, 100)


def test_what_has_no_spectrum_is_refused():
    with pytest.raises(ValueError, match="256 samples"):
        stft(torch.ones(2, 256))
    with pytest.raises(ValueError, match=r"\(2, 257, 3\) but phase \(1, 257, 3\)"):
        istft(torch.ones(2, 257, 3), torch.ones(1, 257, 3))


def test_denoise_keeps_shape_and_builds_no_graph():
    network = SDNN(hidden=8)
    audio = torch.randn(2, 1234)
    denoised = denoise(network, audio)
    assert denoised.shape == audio.shape
    assert not denoised.requires_grad
    assert not torch.equal(denoised, audio)


@pytest.mark.parametrize("samples", [1, 32, 63])
def test_what_is_shorter_than_a_frame_is_denoised_as_if_silence_followed(samples):
    network = lively_network()
    network.hop = 16
    audio = 3 * torch.randn(2, samples)
    denoised = denoise(network, audio)
    followed = torch.cat([audio, torch.zeros(2, 64 - samples)], 1)
    assert torch.equal(denoised, denoise(network, followed)[:, :samples])
    assert not torch.allclose(denoised, audio)


def test_a_network_that_sends_nothing_returns_its_input():
    network = SDNN(hidden=8)
    with torch.no_grad():
        network.blocks[3].synapse.weight.zero_()
    audio = torch.randn(1, 1280)
    torch.testing.assert_close(denoise(network, audio), audio)
