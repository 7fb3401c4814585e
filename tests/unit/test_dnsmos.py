import sys
import types

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

from spandex.metrics.dnsmos import SEGMENT_SAMPLES, Dnsmos, challenge_hops, mean_score, model_path
from spandex.metrics.sparse_convolution import relu_convolve, row_weights


@pytest.fixture(scope="module")
def dnsmos() -> Dnsmos:
    return Dnsmos()


@pytest.fixture(scope="module")
def reference() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])


def bursts(seconds: float, seed: int = 0) -> np.ndarray:
    """Harmonic bursts in noise: something for every score to react to."""
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * time + 3 * np.sin(5 * time)) / k for k in range(1, 20))
    envelope = np.clip(np.sin(2 * np.pi * 1.7 * time), 0, None)
    return (0.05 * voice * envelope + 0.004 * generator.standard_normal(time.size)).astype(np.float32)


def stock_hop(reference: onnxruntime.InferenceSession, audio: np.ndarray, hop: int) -> np.ndarray:
    segment = audio[hop * 16000 : hop * 16000 + SEGMENT_SAMPLES]
    sig, bak, ovrl = reference.run(None, {"input_1": segment[None]})[0][0]
    return np.array(
        [
            np.polyval([-0.06766283, 1.11546468, 0.04602535], ovrl),
            np.polyval([-0.08397278, 1.22083953, 0.00524390], sig),
            np.polyval([-0.13166888, 1.60915514, -0.39604546], bak),
        ]
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 7), (9, 4)])
def test_sparse_convolution_equals_torch_at_any_share_of_pixels_that_are_not_zero(share, height, width):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, height, width, generator=generator)
    x *= torch.rand(x.shape, generator=generator) < share
    weight, bias = torch.randn(6, 5, 3, 3, generator=generator), torch.randn(6, generator=generator)
    images = x.permute(0, 2, 3, 1).contiguous().numpy()
    found = relu_convolve(images, row_weights(weight.numpy()), bias.numpy())
    expected = F.relu(F.conv2d(x, weight, bias, padding=1)).permute(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seconds", [9.01, 11.337])
def test_hops_equal_the_shipped_model_run_hop_by_hop(dnsmos, reference, seconds):
    audio = bursts(seconds)
    scores = dnsmos.hop_scores(audio, "all")
    expected = np.array([stock_hop(reference, audio, hop) for hop in range(len(scores))])
    assert len(scores) == int(int(seconds) - 9.01) + 1
    np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)
    assert dnsmos.score(audio, "all") == pytest.approx(expected.mean(axis=0), abs=1e-5)


def test_thirty_seconds_have_21_hops_of_which_the_challenge_scores_7(dnsmos, reference):
    audio = bursts(30)
    scores = dnsmos.hop_scores(audio, "all")
    assert scores.shape == (21, 3)
    np.testing.assert_allclose(scores[20], stock_hop(reference, audio, 20), atol=1e-5, rtol=0)
    assert mean_score(scores) == pytest.approx(scores[:7].mean(axis=0), abs=1e-12)
    assert mean_score(scores, "all") == pytest.approx(scores.mean(axis=0), abs=1e-12)
    alone = dnsmos.hop_scores(audio)
    assert alone.shape == (7, 3)
    np.testing.assert_allclose(alone, scores[:7], atol=1e-5, rtol=0)


def test_challenge_hops_are_those_that_speechmos_cuts_in_full():
    cut = [int((hop + 9.01) * 16000) - int(hop * 16000) for hop in range(2000)]
    assert challenge_hops(2000).tolist() == [hop for hop, samples in enumerate(cut) if samples >= int(9.01 * 16000)]
    assert challenge_hops(30).tolist() == [0, 1, 2, 3, 4, 5, 6, 24, 25, 26, 27, 28, 29]


@pytest.mark.parametrize("seconds", [4.0, 12.0, 34.0])
def test_challenge_hops_equal_speechmos(dnsmos, monkeypatch, seconds):
    # speechmos needs librosa only for another score, P.808, which is not compared
    melspectrogram = types.SimpleNamespace(melspectrogram=lambda **_: np.zeros((120, 900), np.float32))
    librosa = types.ModuleType("librosa")
    librosa.feature, librosa.power_to_db = melspectrogram, lambda spectrum, ref: spectrum
    monkeypatch.setitem(sys.modules, "librosa", librosa)
    monkeypatch.delitem(sys.modules, "speechmos.dnsmos", raising=False)
    from speechmos import dnsmos as speechmos

    audio = bursts(seconds)
    stock = speechmos.run(audio, 16000)
    expected = [stock["ovrl_mos"], stock["sig_mos"], stock["bak_mos"]]
    assert dnsmos.score(audio) == pytest.approx(expected, abs=1e-5)
    sys.modules.pop("speechmos.dnsmos", None)


def test_short_clips_are_repeated(dnsmos):
    audio = bursts(3)
    assert dnsmos.score(audio) == dnsmos.score(np.tile(audio, 4))


def test_number_of_threads_does_not_change_the_score():
    audio = bursts(10)
    assert np.array_equal(Dnsmos(threads=1).hop_scores(audio), Dnsmos(threads=2).hop_scores(audio))


def test_dense_convolutions_as_on_a_gpu_give_the_same_scores(dnsmos):
    dense = Dnsmos()
    dense._sparse = []
    audio = bursts(12)
    assert np.allclose(dense.hop_scores(audio), dnsmos.hop_scores(audio), atol=1e-5)


def test_torch_keeps_its_number_of_threads(dnsmos):
    before = torch.get_num_threads()
    dnsmos.hop_scores(bursts(10))
    assert torch.get_num_threads() == before


def test_noise_lowers_the_score(dnsmos):
    audio = bursts(10)
    noise = 0.05 * np.random.default_rng(1).standard_normal(audio.size)
    clean, noisy = dnsmos.score(audio), dnsmos.score(audio + noise)
    assert noisy.bak < clean.bak - 0.5
    assert noisy.ovrl < clean.ovrl


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros((2, 16000)), np.array([0.1, np.nan])])
def test_impossible_audio_is_refused(dnsmos, audio):
    with pytest.raises(ValueError, match="DNSMOS needs finite audio"):
        dnsmos.score(audio)
