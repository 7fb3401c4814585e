import numpy as np
import pytest
import torch

from spandex.metrics import si_snr


def orthogonal_pair(samples: int = 16000) -> tuple[np.ndarray, np.ndarray]:
    """A target and a noise of equal energy, zero mean and zero inner product: whole periods of sine and cosine."""
    phase = 2 * np.pi * 440 * np.arange(samples) / samples
    return np.sin(phase), np.cos(phase)


@pytest.mark.parametrize("gain, decibels", [(1.0, 0.0), (0.1, 20.0), (10**-0.25, 5.0), (10.0, -20.0)])
def test_orthogonal_noise_gives_the_energy_ratio(gain, decibels):
    target, noise = orthogonal_pair()
    assert si_snr(target + gain * noise, target) == pytest.approx(decibels, abs=1e-5)


def test_scale_and_offset_of_the_estimate_do_not_matter():
    target, noise = orthogonal_pair()
    estimate = target + 0.3 * noise
    expected = si_snr(estimate, target)
    assert si_snr(0.2 * estimate + 0.5, target) == pytest.approx(expected, abs=1e-6)
    assert si_snr(estimate, 3 * target - 0.1) == pytest.approx(expected, abs=1e-6)
    assert si_snr(-estimate, target) == pytest.approx(expected, abs=1e-6)


def test_noise_along_the_target_is_no_noise():
    target, noise = orthogonal_pair()
    # e = s + 0.5 s + 0.5 n: the projection is 1.5 s, so the ratio is 9
    assert si_snr(target + 0.5 * (target + noise), target) == pytest.approx(10 * np.log10(9), abs=1e-6)


def test_unrelated_estimate_is_floored_at_minus_80_db():
    target, noise = orthogonal_pair()
    assert si_snr(noise, target) == pytest.approx(-80, abs=1e-3)


def test_perfect_estimate_is_bounded_by_the_epsilon():
    target, _ = orthogonal_pair()
    assert si_snr(target, target) == pytest.approx(10 * np.log10(8000 / 1e-8), abs=1e-3)


def test_batch_gives_each_clip_its_own_value():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 3, 4000, generator=generator, dtype=torch.float64)
    estimate = target + torch.randn(2, 3, 4000, generator=generator, dtype=torch.float64)
    values = si_snr(estimate, target)
    assert values.shape == (2, 3)
    singly = [[si_snr(estimate[i, j], target[i, j]) for j in range(3)] for i in range(2)]
    torch.testing.assert_close(values, torch.tensor(singly, dtype=torch.float64))


def test_arrays_and_tensors_agree_and_keep_their_kind():
    target, noise = (signal.astype(np.float32) for signal in orthogonal_pair())
    array = si_snr(target + noise / 2, target)
    tensor = si_snr(torch.from_numpy(target + noise / 2), torch.from_numpy(target))
    assert isinstance(array, np.ndarray) and array.dtype == np.float32
    assert torch.is_tensor(tensor)
    assert array == tensor.item()


def test_gradient_is_that_of_finite_differences():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(2, 20, generator=generator, dtype=torch.float64)
    estimate = torch.randn(2, 20, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e: si_snr(e, target), (estimate,))


def test_different_shapes_are_an_error_that_names_them():
    with pytest.raises(ValueError, match=r"\(2, 10\).*\(10,\)"):
        si_snr(torch.zeros(2, 10), torch.zeros(10))
    with pytest.raises(ValueError, match="both"):
        si_snr(torch.zeros(10), np.zeros(10))


def test_gradient_is_that_of_the_definition():
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(2, 3, 50, generator=generator, dtype=torch.float64) + 0.3
    estimate = (0.7 * target + 0.2 * torch.randn(target.shape, generator=generator, dtype=torch.float64)) - 0.1
    assert torch.autograd.gradcheck(lambda e: si_snr(e, target), estimate.requires_grad_())
    with pytest.raises(ValueError, match="for the estimate alone"):
        si_snr(estimate, target.requires_grad_())
