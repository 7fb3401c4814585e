import numpy as np
import pytest
import torch

from spandex.networks import SDNN
from spandex.train import Distillation, denoising_loss
from spandex.train.mask_range import WEIGHT, MaskRange
from spandex.train.world import World


def batch(seed=0, clips=3, samples=800):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(clips, samples, generator=generator)
    audio = (clean + 0.3 * torch.randn(clips, samples, generator=generator)).requires_grad_()
    clean_magnitude = torch.rand(clips, 5, 7, generator=generator)
    magnitude = torch.rand(clips, 5, 7, generator=generator).requires_grad_()
    return magnitude, clean_magnitude, audio, clean


def si_snr_db(estimate, target):
    """SI-SNR in dB from the angle between the zero-mean signals."""
    estimate, target = (signal.double().numpy() - signal.double().numpy().mean() for signal in (estimate, target))
    cosine = estimate @ target / np.linalg.norm(estimate) / np.linalg.norm(target)
    return 10 * np.log10(cosine**2 / (1 - cosine**2))


def test_loss_is_the_magnitude_error_and_what_is_missing_to_100_db():
    magnitude, clean_magnitude, audio, clean = batch()
    loss, scores = denoising_loss(magnitude, clean_magnitude, audio, clean, lam=0.001)
    expected = [si_snr_db(a, c) for a, c in zip(audio.detach(), clean, strict=True)]
    error = ((magnitude - clean_magnitude).detach().double().numpy() ** 2).mean()
    np.testing.assert_allclose(scores.numpy(), expected, rtol=1e-4)
    assert loss.item() == pytest.approx(0.001 * error + 100 - np.mean(expected), rel=1e-6)
    assert not scores.requires_grad


@pytest.mark.parametrize("constant", [0.0, 0.25])
def test_a_segment_without_speech_counts_in_the_magnitude_error_alone(constant):
    magnitude, clean_magnitude, audio, clean = batch()
    clean[1] = constant
    loss, scores = denoising_loss(magnitude, clean_magnitude, audio, clean, lam=0.5)
    loss.backward()
    expected = [si_snr_db(audio[i].detach(), clean[i]) for i in (0, 2)]
    error = ((magnitude - clean_magnitude).detach().double().numpy() ** 2).mean()
    assert len(scores) == 2
    assert loss.item() == pytest.approx(0.5 * error + 100 - np.mean(expected), rel=1e-6)
    assert torch.isfinite(audio.grad).all()
    assert (audio.grad[1] == 0).all() and (audio.grad[0] != 0).any()
    assert (magnitude.grad[1] != 0).all()


def test_a_batch_without_speech_still_has_a_finite_loss():
    magnitude, clean_magnitude, audio, clean = batch()
    loss, scores = denoising_loss(magnitude, clean_magnitude, audio, torch.zeros_like(clean), lam=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(2 * ((magnitude - clean_magnitude) ** 2).mean().item(), rel=1e-6)
    assert len(scores) == 0
    assert torch.isfinite(magnitude.grad).all()


def test_a_silent_estimate_has_a_finite_gradient():
    magnitude, clean_magnitude, audio, clean = batch()
    audio = torch.zeros_like(clean).requires_grad_()
    loss, _ = denoising_loss(magnitude, clean_magnitude, audio, clean, lam=0.001)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(audio.grad).all()


ALONE = World(torch.device("cpu"))


def test_distance_to_the_teacher_is_the_squared_error_as_a_share_of_what_the_teacher_gives():
    torch.manual_seed(5)
    start, network, noisy = SDNN(hidden=4), SDNN(hidden=4), torch.rand(3, 257, 9)
    distillation = Distillation(start, weight=50)
    y, t = network(noisy), start(noisy).detach().double().numpy()
    loss = distillation.loss(noisy, y, ALONE)
    loss.backward()
    assert loss.item() == pytest.approx(50 * ((y.detach().double().numpy() - t) ** 2).sum() / (t**2).sum(), rel=1e-6)
    assert network.blocks[1].synapse.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in (*start.parameters(), *distillation.teacher.parameters()))


def test_teacher_is_the_network_as_it_was_in_evaluation_mode():
    network = torch.nn.Sequential(torch.nn.Linear(7, 7), torch.nn.Dropout(0.9))
    distillation, same = Distillation(network, 50.0), Distillation(network, 50.0)
    noisy = torch.rand(3, 5, 7)
    before = network.eval()(noisy).detach()
    with torch.no_grad():
        network.train()[0].weight += 1
    assert distillation.loss(noisy, before, ALONE).item() == 0
    assert repr(distillation) == repr(same) != repr(Distillation(network, 50.0))


def test_silence_is_at_no_distance():
    silence = torch.zeros(1, 257, 4)
    assert Distillation(SDNN(hidden=4), 50.0).loss(silence, silence, ALONE).item() == 0


def test_outputs_beyond_the_limit_are_penalised_by_their_square_and_pulled_back():
    block = torch.nn.Linear(1, 4)
    with MaskRange(block, limit=8.0) as masks:
        block.weight.data[:, 0], block.bias.data[:] = torch.tensor([-10.0, -8.0, 1.0, 11.0]), 0.0
        block(torch.ones(1, 1))
        penalty = masks.penalty()
        penalty.backward()
        assert penalty.item() == pytest.approx(WEIGHT * (2**2 + 3**2) / 4)
        assert block.weight.grad[:, 0].tolist() == pytest.approx([-WEIGHT * 2 * 2 / 4, 0, 0, WEIGHT * 2 * 3 / 4])
        block(torch.zeros(1, 1))
        with torch.no_grad():
            block(torch.ones(1, 1))  # as in validation: no part of the loss
        assert masks.penalty().item() == 0


def test_nothing_is_kept_of_the_outputs_once_training_is_over():
    block = torch.nn.Linear(1, 4)
    with MaskRange(block, limit=8.0):
        pass
    assert not block._forward_hooks
