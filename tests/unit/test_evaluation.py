"""Evaluating networks on many clips: what is summed up, compared, bounded and explained."""

import weakref

import h5py
import numpy as np
import pytest
import torch

from denoising import HOP, N_FFT, noisy_pair, small_network
from evaluations import evaluated, write_clips
from spandex.data.audio import from_int16, to_int16, write_wav
from spandex.data.listing import Listing
from spandex.deploy import Executor
from spandex.deploy.codec import encode
from spandex.evaluation import Pair, evaluate, load_subject, pair_clips
from spandex.evaluation.causes import loss_by_cause
from spandex.evaluation.scores import float_audio
from spandex.files.results import ResultLog
from spandex.metrics import network_size, si_snr
from spandex.metrics.bootstrap import confidence_intervals
from spandex.networks import denoise, from_hdf5, save_state

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")

COSTS = ("synops_per_step", "power_proxy_ops_per_s", "pdp_proxy_ops")
REPORTED = ("si_snr_db", "si_snri_db", *(f"deployed_{cost}" for cost in COSTS))
DIFFERENCE = "fixed_minus_float_"
MOS = tuple(f"mos_{kind}{suffix}" for kind in ("ovrl", "sig", "bak") for suffix in ("", "_all_hops"))


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return [small_network(folder / "weak.net"), small_network(folder / "strong.net", output_gain=1)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 6, 1600)


@pytest.fixture(scope="module")
def result(nets, clips, tmp_path_factory):
    return evaluated(nets, clips, tmp_path_factory.mktemp("result") / "scores.json", with_float=True)[0]


def column(summary, name):
    return [clip[name] for clip in summary["per_clip"]]


def test_every_score_has_mean_interval_and_values(result):
    assert list(result["networks"]) == ["strong", "weak"]  # keys are sorted
    assert result["clips"] == 6 and result["confidence"] == 0.95 and result["failed"] == []
    for summary in result["networks"].values():
        assert summary["clips"] == 6
        for name in (*REPORTED, "float_si_snr_db", "fixed_minus_float_db"):
            values = column(summary, name)
            mean, low, high = confidence_intervals({name: values})[name]
            assert len(set(values)) > 1 and low < mean < high
            assert summary[name] == mean
            assert summary["intervals"][name] == [low, high]


def test_clips_are_named_in_order_of_their_ids(result):
    for summary in (result["noisy"], result["clean"], *result["networks"].values()):
        assert column(summary, "name") == [f"tones_snr5_tl-25_fileid_{i}.wav" for i in range(6)]
        assert set(column(summary, "snr_db")) == {5}
        assert len(set(column(summary, "digest"))) == 6


def test_opinion_scores_are_reported_of_noisy_clean_and_networks(nets, tmp_path):
    folders = write_clips(tmp_path, 2, 9010)  # repeated four times it is one hop
    result, _ = evaluated(nets[:1], folders, tmp_path / "scores.json", mos=True, with_float=True)
    for summary in (result["noisy"], result["clean"], result["networks"]["weak"]):
        for name in MOS:
            low, high = summary["intervals"][name]
            assert 1 <= low <= summary[name] <= high <= 5
            assert len(column(summary, name)) == 2
    for kind in ("ovrl", "sig", "bak"):
        scores = (column(result["networks"]["weak"], f"{which}mos_{kind}") for which in ("", "float_", DIFFERENCE))
        for fixed, in_float, difference in zip(*scores, strict=True):
            assert difference == fixed - in_float
            assert fixed == pytest.approx(in_float, abs=0.05)


def test_networks_are_compared_clip_by_clip(result):
    (difference,) = result["differences"]
    assert (difference["of"], difference["minus"]) == ("strong", "weak")  # the order of the command line
    strong, weak = (result["networks"][name] for name in ("strong", "weak"))
    for name in REPORTED:
        changes = np.subtract(column(strong, name), column(weak, name))
        mean, low, high = confidence_intervals({name: changes})[name]
        assert difference[name] == {"mean": mean, "interval": [low, high]}


def test_every_two_networks_are_compared(nets, clips, tmp_path):
    subjects = [load_subject(nets[0], name) for name in ("a", "b", "c")]
    differences = evaluate(subjects, pair_clips(*clips)[0], None, ResultLog(tmp_path / "log")).differences
    assert [(entry["of"], entry["minus"]) for entry in differences] == [("b", "a"), ("c", "a"), ("c", "b")]
    assert all(entry["si_snr_db"] == {"mean": 0, "interval": [0, 0]} for entry in differences)


def test_size_and_latency_are_those_of_the_deployed_network(result, nets):
    summary, size = result["networks"]["weak"], network_size(nets[0])
    for name in ("nonzero_weights", "nonzero_delays", "parameters", "size_kb"):
        assert summary[name] == getattr(size, name)
    assert summary["deployed_sparsity"] == size.deployed_sparsity
    assert summary["latency_buffer_ms"] == 1e3 * N_FFT / 16_000


def test_lookahead_is_judged_in_fixed_point_and_float_and_costs_a_hop_of_latency(result, nets, clips, tmp_path):
    ahead = evaluated(nets[1:], clips, tmp_path / "scores.json", with_float=True, lookahead=1)[0]
    assert ahead["settings"]["lookahead"] == 1 and "lookahead" not in result["settings"]
    before, after = (scores["networks"]["strong"] for scores in (result, ahead))
    for old, new in zip(before["per_clip"], after["per_clip"], strict=True):
        assert new["latency_network_ms"] == pytest.approx(old["latency_network_ms"] + 1e3 * HOP / 16_000)
        assert all(new[name] != pytest.approx(old[name], abs=1e-3) for name in ("si_snr_db", "float_si_snr_db"))
        assert new["fixed_minus_float_db"] == pytest.approx(old["fixed_minus_float_db"], abs=0.1)


def test_float_weights_come_from_the_state_dict_where_one_is_given(nets, clips, tmp_path):
    network = from_hdf5(nets[1])
    with torch.no_grad():
        network.blocks[3].synapse.weight *= 0.5
    save_state(network, tmp_path / "network.pt")
    results = (
        evaluated(nets[1:], clips, tmp_path / "scores.json", with_float=True, float_networks=states)[0]
        for states in (None, [tmp_path / "network.pt"])
    )
    own, given = (result["networks"]["strong"] for result in results)
    assert given["si_snr_db"] == own["si_snr_db"]
    for pair, score in zip(pair_clips(*clips)[0], column(given, "float_si_snr_db"), strict=True):
        clip = pair.read()
        audio = denoise(network, torch.from_numpy(clip.noisy)[None])[0].double().numpy()
        assert score == pytest.approx(float(si_snr(audio, clip.clean.astype(float))), abs=1e-4)
    assert given["float_si_snr_db"] != pytest.approx(own["float_si_snr_db"], abs=0.1)


def test_operations_are_named_by_the_weights_that_were_counted(nets, clips, tmp_path):
    network = from_hdf5(nets[1])
    with torch.no_grad():
        for block in network.blocks[1:]:
            block.synapse.weight[block.synapse.weight == 0] = 1e-3  # that a network.pt has and its HDF5 has not
    save_state(network, tmp_path / "network.pt")
    alone, quantised, counted = (
        evaluated(nets[1:], clips, tmp_path / "scores.json", **options)[0]["networks"]["strong"]
        for options in ({}, {"with_float": True}, {"with_float": True, "float_networks": [tmp_path / "network.pt"]})
    )
    for cost in COSTS:
        assert len({scores[f"deployed_{cost}"] for scores in (alone, quantised, counted)}) == 1
        assert [f"quantised_{cost}" in scores for scores in (alone, quantised, counted)] == [False, True, False]
        assert [f"float_{cost}" in scores for scores in (alone, quantised, counted)] == [False, False, True]
        assert quantised[f"quantised_{cost}"] < counted[f"float_{cost}"]
        assert quantised[f"quantised_{cost}"] == pytest.approx(alone[f"deployed_{cost}"], rel=0.05)
    for name, scores in (("quantised", quantised), ("float", counted)):
        for clip in scores["per_clip"]:
            power = (clip[f"{name}_synops_per_step"] + 10 * clip["neuronops_per_step"]) / (HOP / 16_000)
            latency_s = N_FFT / 16_000 + clip["latency_network_ms"] / 1e3
            assert clip[f"{name}_power_proxy_ops_per_s"] == pytest.approx(power, rel=1e-12)
            assert clip[f"{name}_pdp_proxy_ops"] == pytest.approx(power * latency_s, rel=1e-12)


def test_networks_are_compared_by_what_both_have(nets, clips, tmp_path):
    save_state(from_hdf5(nets[0]), tmp_path / "network.pt")
    subjects = [
        load_subject(nets[0], "with", with_float=True, float_path=tmp_path / "network.pt"),
        load_subject(nets[0], "without"),
    ]
    (difference,) = evaluate(subjects, pair_clips(*clips)[0], None, ResultLog(tmp_path / "log")).differences
    assert "deployed_synops_per_step" in difference and "float_synops_per_step" not in difference


def test_workers_do_not_change_a_byte(nets, clips, tmp_path):
    one, two, five = (
        evaluated(nets, clips, tmp_path / f"{workers}.json", workers=workers, with_float=True)[1]
        for workers in (1, 2, 5)
    )
    assert one == two == five


def test_torch_keeps_its_threads(nets, clips, tmp_path):
    before = torch.get_num_threads()
    evaluated(nets[:1], clips, tmp_path / "scores.json", with_float=True)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_clips_that_are_done_are_let_go(nets, tmp_path, workers):
    most, read = [0], []

    class Watched(Pair):
        def read(self):
            clip = super().read()
            read.append(weakref.ref(clip))
            most[0] = max(most[0], sum(other() is not None for other in read))
            return clip

    pairs = [Watched(pair.noisy, pair.clean, pair.listing) for pair in pair_clips(*write_clips(tmp_path, 40))[0]]
    subjects = [load_subject(net, with_float=True) for net in nets]
    done = []
    evaluate(subjects, pairs, None, ResultLog(tmp_path / "log"), workers=workers, progress=done.append)
    assert done == [1] * 40
    assert len(read) >= 40 and most[0] <= workers
    assert not any(clip() is not None for clip in read)


def test_clips_shorter_than_a_frame_are_scored(nets, tmp_path):
    for samples in (2, N_FFT // 2, N_FFT - 1):
        noisy, clean = np.random.default_rng(samples).normal(0, 0.1, (2, samples))
        write_wav(tmp_path / "noisy" / f"{samples}.wav", noisy)
        write_wav(tmp_path / "clean" / f"{samples}.wav", clean)
    result, _ = evaluated(nets[:1], (tmp_path / "noisy", tmp_path / "clean"), tmp_path / "s.json", with_float=True)
    assert np.isfinite(column(result["networks"]["weak"], "fixed_minus_float_db")).all()
    assert result["clips"] == 3


def test_silence_is_scored_where_only_the_clean_audio_must_not_be_silent(nets, tmp_path):
    write_wav(tmp_path / "noisy/a.wav", np.zeros(480))
    write_wav(tmp_path / "clean/a.wav", noisy_pair(0)[1])
    result, _ = evaluated(nets[:1], (tmp_path / "noisy", tmp_path / "clean"), tmp_path / "s.json", with_float=True)
    assert result["noisy"]["si_snr_db"] == pytest.approx(-80)  # the floor of the definition


def test_noisy_and_clean_audio_are_scored_without_any_network(clips, tmp_path):
    result, _ = evaluated([], clips, tmp_path / "scores.json")
    assert result["networks"] == {} and result["differences"] == []
    assert len(result["noisy"]["per_clip"]) == 6


def delayed_network(path, delay):
    """The small network with one delay everywhere."""
    small_network(path, output_gain=1)
    with h5py.File(path, "r+") as file:
        for layer in (1, 2):
            file[f"layer/{layer}/delay"][...] = delay
    return path


def explained(folder, delay):
    """Evaluation of a network on what its own float version makes of noise, 30 dB of noise apart."""
    net = delayed_network(folder / "delayed.net", delay)
    float_network = from_hdf5(net)
    random = np.random.default_rng(0)
    for seed in range(3):
        noisy = from_int16(to_int16(np.pad(noisy_pair(seed, 4000)[0], N_FFT)))  # silence around it: no reflections
        target = float_audio(float_network, noisy)
        write_wav(folder / f"noisy/{seed}.wav", noisy)
        write_wav(folder / f"clean/{seed}.wav", target + 10**-1.5 * target.std() * random.standard_normal(len(target)))
    folders = folder / "noisy", folder / "clean"
    return evaluated([net], folders, folder / "scores.json", with_float=True)[0]["networks"]["delayed"]


def test_loss_by_clamped_delays_is_named_and_adds_up(tmp_path):
    summary = explained(tmp_path, delay=64)
    by_cause = summary["fixed_minus_float_db_by_cause"]
    assert summary["fixed_minus_float_db"] < -3
    assert sum(by_cause.values()) == pytest.approx(summary["fixed_minus_float_db"], abs=1e-9)
    assert by_cause["delay_clamp"] < 0.99 * summary["fixed_minus_float_db"]
    assert all(abs(by_cause[cause]) < 1e-3 for cause in ("rounding", "exponents"))


def test_loss_by_outputs_beyond_24_bits_is_named(tmp_path):
    net = small_network(tmp_path / "loud.net", output_gain=1)
    with h5py.File(net, "r+") as file:
        file["layer/2/weight"][...] = 60
        file["layer/3/weight"][...] = -120  # masks far below zero, which wrap to large ones
    noisy, clean = noisy_pair(0, 4000)
    write_wav(tmp_path / "noisy/a.wav", noisy)
    write_wav(tmp_path / "clean/a.wav", clean)
    assert Executor(net).run(encode(noisy, N_FFT, HOP)[0]).outputs.min() < -(2**23)
    clip = Pair(tmp_path / "noisy/a.wav", tmp_path / "clean/a.wav", Listing(tmp_path)).read()
    changes = loss_by_cause(load_subject(net, with_float=True))(clip)
    assert abs(changes["output_wrap"]) > 1
    folders = tmp_path / "noisy", tmp_path / "clean"
    summary = evaluated([net], folders, tmp_path / "scores.json")[0]["networks"]["loud"]
    assert summary["wrapped_outputs"] == summary["states_beyond_24_bits"][-1] > 0
    assert summary["wrapped_clips"] == 1
    assert summary["output_wrap_db"] == pytest.approx(changes["output_wrap"], abs=1e-9)
    assert all(abs(changes[cause]) < 0.01 for cause in ("delay_clamp", "rounding", "exponents"))


def test_small_loss_is_not_explained(tmp_path):
    summary = explained(tmp_path, delay=62)
    assert abs(summary["fixed_minus_float_db"]) < 0.05
    assert "fixed_minus_float_db_by_cause" not in summary


def test_explanation_goes_on_where_it_was(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ResultLog, "remove", ResultLog.close)
        whole = explained(tmp_path, delay=64)
    monkeypatch.setattr(Executor, "run", None)  # nothing is left to be run
    folders = tmp_path / "noisy", tmp_path / "clean"
    again, _ = evaluated([tmp_path / "delayed.net"], folders, tmp_path / "scores.json", with_float=True)
    assert again["networks"]["delayed"] == whole
