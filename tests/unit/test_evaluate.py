import json
from typing import NamedTuple

import numpy as np
import pytest
import torch

from spandex.errors import SpandexError
from spandex.metrics import Dnsmos, evaluate_network, evaluate_noisy, network_size, power_proxy, si_snr
from spandex.metrics.dnsmos import mean_score
from spandex.models import SDNN, denoise, export_hdf5


class Clip(NamedTuple):
    noisy: np.ndarray
    clean: np.ndarray
    file_id: int
    snr_db: float


def make_clip(file_id: int, samples: int = 16000) -> Clip:
    generator = np.random.default_rng(file_id)
    clean = 0.1 * np.sin(0.05 * np.arange(samples)) * np.sin(0.0004 * np.arange(samples))
    noise = 0.02 * generator.standard_normal(samples)
    return Clip((clean + noise).astype(np.float32), clean.astype(np.float32), file_id, 5)


@pytest.fixture(scope="module")
def network() -> SDNN:
    torch.manual_seed(0)
    network = SDNN(hidden=24)
    with torch.no_grad():
        network.blocks[1].synapse.weight[:12] = 0
    return network


@pytest.fixture(scope="module")
def hdf5(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "network.net"
    export_hdf5(network, path)
    return path


CLIPS = [make_clip(i) for i in range(3)] + [make_clip(3, samples=12000)]


def test_scores_are_those_of_every_clip_on_its_own(network, hdf5):
    noisy = evaluate_noisy(CLIPS)
    result = evaluate_network("half", network, hdf5, CLIPS, noisy, batch_size=2)
    assert [clip["file_id"] for clip in result["per_clip"]] == [0, 1, 2, 3]
    for clip, scores in zip(CLIPS, result["per_clip"], strict=True):
        denoised = denoise(network, torch.from_numpy(clip.noisy)[None])[0].numpy()
        before = si_snr(clip.noisy.astype(float), clip.clean.astype(float))
        assert scores["si_snr_db"] == pytest.approx(si_snr(denoised.astype(float), clip.clean.astype(float)), abs=1e-3)
        assert scores["si_snri_data_db"] == pytest.approx(scores["si_snr_db"] - before, abs=1e-9)
        assert scores["si_snri_enc_dec_db"] == pytest.approx(scores["si_snri_data_db"], abs=1e-4)
    assert result["si_snr_db"] == pytest.approx(np.mean([clip["si_snr_db"] for clip in result["per_clip"]]))
    assert result["si_snri_data_db"] == pytest.approx(result["si_snr_db"] - noisy["si_snr_db"])
    assert result["mos_ovrl"] is None


def test_cost_and_size_follow_from_network_and_events(network, hdf5):
    result = evaluate_network("half", network, hdf5, CLIPS, evaluate_noisy(CLIPS))
    size = network_size(hdf5)
    assert result["parameters"] == size.parameters and result["size_kb"] == size.size_kb
    assert result["sparsity"] == pytest.approx(12 * 257 / (24 * 257 + 24 * 24 + 257 * 24))
    assert result["deployed_sparsity"] == size.sparsity > result["sparsity"]
    assert result["neuronops_per_step"] == 257 + 24 + 24
    assert set(result["synops_per_step"]) == {"1", "2", "3"}
    power = power_proxy(sum(result["synops_per_step"].values()), 305, 128 / 16000)
    assert result["power_proxy_ops_per_s"] == pytest.approx(power)
    latency_s = (result["latency_buffer_ms"] + result["latency_network_ms"]) / 1000
    assert result["latency_buffer_ms"] == 32
    assert result["pdp_proxy_ops"] == pytest.approx(power * latency_s)


def test_result_is_json_that_does_not_depend_on_the_order_of_the_clips(network, hdf5):
    texts = []
    for clips in (CLIPS[:3], CLIPS[2::-1]):
        noisy = json.loads(json.dumps(evaluate_noisy(clips)))
        result = evaluate_network("half", network, hdf5, clips, noisy, batch_size=1)
        texts.append(json.dumps([noisy, result], sort_keys=True, allow_nan=False))
    assert texts[0] == texts[1]


def test_clips_are_read_one_batch_at_a_time_and_counted(network, hdf5):
    noisy = evaluate_noisy(CLIPS)
    read, done = [], []

    def stream():
        for clip in CLIPS:
            assert len(read) - sum(done) <= 2
            read.append(clip.file_id)
            yield clip

    evaluate_network("half", network, hdf5, stream(), noisy, batch_size=2, progress=done.append)
    assert done == [2, 1, 1]  # the last clip is shorter


def test_opinion_scores_are_of_the_denoised_clip(network, hdf5):
    dnsmos = Dnsmos()
    noisy = evaluate_noisy(CLIPS[:1], dnsmos)
    result = evaluate_network("half", network, hdf5, CLIPS[:1], noisy, dnsmos)
    denoised = denoise(network, torch.from_numpy(CLIPS[0].noisy)[None])[0].numpy()
    for scores, audio in ((noisy, CLIPS[0].noisy), (result, denoised)):
        hops = dnsmos.hop_scores(audio)
        assert (scores["mos_ovrl"], scores["mos_sig"], scores["mos_bak"]) == mean_score(hops)
        assert scores["mos_ovrl_library"] == mean_score(hops, "library").ovrl


def test_clips_and_noisy_scores_must_belong_together(network, hdf5):
    with pytest.raises(SpandexError, match="no clip"):
        evaluate_noisy([])
    noisy = evaluate_noisy(CLIPS[:2])
    with pytest.raises(SpandexError, match="clip 2: no scores"):
        evaluate_network("half", network, hdf5, CLIPS[:3], noisy)
    with pytest.raises(SpandexError, match="1 clips, but scores of 2"):
        evaluate_network("half", network, hdf5, CLIPS[:1], noisy)
