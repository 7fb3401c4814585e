"""Recordings varied at random before they are mixed."""

import numpy as np
import pytest

from spandex.data import MixedSpeech, SynthesisSettings, build_synthetic
from spandex.data.augmentation import SPEEDS, vary


class Draws:
    """Draws that are given, in order."""

    def __init__(self, speed, *coefficients):
        self.speed, self.coefficients = speed, coefficients

    def uniform(self, low, high, count=None):
        return self.speed if count is None else np.array(self.coefficients)


def tone(hertz, samples=32_000):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype("f4")


@pytest.mark.parametrize("speed", [0.7, 0.9, 1.0, 1.37])
def test_speed_moves_the_pitch_and_the_length(speed):
    found = vary(tone(1000), "noise", Draws(speed, 0, 0, 0, 0))
    assert len(found) == pytest.approx(32_000 / speed, abs=1)
    spectrum = np.abs(np.fft.rfft(found[:16_000] * np.hanning(16_000)))
    assert spectrum.argmax() == pytest.approx(1000 * speed, abs=1)
    assert found.dtype == np.float32 and np.abs(found).max() == pytest.approx(0.3, rel=1e-3)


def test_filter_is_the_recursion_of_its_equation():
    r1, r2, r3, r4 = 0.3, -0.2, 0.1, 0.35
    audio = np.random.default_rng(1).normal(0, 0.1, 200).astype("f4")
    wanted = np.zeros(202)
    x = np.concatenate([[0, 0], audio])
    for n in range(2, 202):
        wanted[n] = x[n] + r1 * x[n - 1] + r2 * x[n - 2] - r3 * wanted[n - 1] - r4 * wanted[n - 2]
    wanted = wanted[2:] * np.abs(audio).max() / np.abs(wanted).max()
    np.testing.assert_allclose(vary(audio, "speech", Draws(1.0, r1, r2, r3, r4)), wanted, atol=1e-6)


@pytest.mark.parametrize("kind", SPEEDS)
def test_equal_draws_give_equal_bytes_and_all_speeds_are_in_range(kind):
    low, high = SPEEDS[kind]
    for seed in range(20):
        one, other = (vary(tone(300), kind, np.random.default_rng(seed)) for _ in range(2))
        assert one.tobytes() == other.tobytes() and np.isfinite(one).all()
        assert 32_000 / high - 1 <= len(one) <= 32_000 / low + 1


def test_clips_are_mixed_of_varied_recordings_and_the_same_every_time(tmp_path):
    minutes = {"train": 0.3, "validation": 0.1, "test": 0.1}
    manifest = build_synthetic(tmp_path, minutes, minutes, seed=1)
    arguments = manifest, "train", 4, SynthesisSettings(clip_s=2.0), 4
    plain, varied, again = (MixedSpeech(*arguments, augmentation=on) for on in (False, True, True))
    for index in range(6):
        (noisy, clean), (twice, _) = varied.read(index), again.read(index)
        assert noisy.tobytes() == twice.tobytes() and noisy.shape == (32_000,)
        assert not np.array_equal(clean, plain.read(index)[1])
        noise = noisy - clean
        snr_db = varied._clip(index).snr_db
        assert 10 * np.log10(np.square(clean).mean() / np.square(noise).mean()) == pytest.approx(snr_db, abs=0.05)
