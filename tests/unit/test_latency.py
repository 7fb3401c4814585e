import time

import numpy as np
import pytest
import torch

from spandex.metrics import codec_latency_s
from spandex.metrics.latency import buffer_latency_s, network_latency_s
from spandex.networks import istft, stft


def test_buffer_latency_is_one_frame():
    assert buffer_latency_s(512, 16000) == 0.032


@pytest.mark.parametrize("lag", [0, 1, 128, 1024, -37])
def test_network_latency_is_the_lag_of_the_output(lag):
    generator = np.random.default_rng(0)
    noisy = generator.standard_normal(80_000).astype(np.float32)
    denoised = 0.5 * np.roll(noisy, lag) + 0.3 * generator.standard_normal(noisy.size).astype(np.float32)
    assert network_latency_s(noisy, denoised, 16000) == lag / 16000
    assert network_latency_s(noisy, denoised, 16000, waited_samples=128) == (lag + 128) / 16000


def test_network_latency_equals_direct_correlation_on_the_challenge_s_samples():
    generator = np.random.default_rng(1)
    noisy = generator.standard_normal(3000)
    denoised = np.roll(noisy, 5) + generator.standard_normal(3000)
    # the challenge correlates the noisy with the denoised, which turns the sign
    direct = np.argmax(np.correlate(noisy, denoised, "full")) - 3000 + 1
    assert network_latency_s(noisy, denoised, 16000) * 16000 == pytest.approx(-direct)


def test_only_the_first_50000_samples_count():
    generator = np.random.default_rng(2)
    noisy = generator.standard_normal(200_000)
    denoised = noisy.copy()
    denoised[50_000:] = 10 * np.roll(noisy, 64)[50_000:]
    assert network_latency_s(noisy, denoised, 16000) == 0


def test_codec_latency_is_wall_time_per_hop():
    audio = np.zeros(12_800, np.float32)
    measured = codec_latency_s(lambda _: time.sleep(0.05), audio, hop=128, repetitions=2)
    assert 0.05 / 100 <= measured < 0.2 / 100


def test_stft_and_istft_take_far_less_than_a_hop():
    def encode_and_decode(audio: np.ndarray) -> torch.Tensor:
        return istft(*stft(torch.from_numpy(audio)[None]), len(audio))

    audio = np.random.default_rng(0).standard_normal(160_000).astype(np.float32)
    assert 0 < codec_latency_s(encode_and_decode, audio, hop=128) < 128 / 16000
