"""Denoising by the event-driven executor against the chain of stock Lava processes, bit for bit."""

import itertools
import threading

import h5py
import numpy as np
import pytest
import torch

from denoising import HOP, N_FFT, noisy_pair, real_pair, small_network, wrapping_network
from spandex.deploy import infer
from spandex.deploy.codec import decode, encode
from spandex.deploy.denoise import EventDenoiser, denoiser
from spandex.deploy.executor import Executor
from spandex.errors import SpandexError
from spandex.metrics import si_snr
from spandex.networks import SDNN, denoise, from_hdf5, save_state

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")

LENGTHS = (1, HOP - 1, HOP, N_FFT - 1, N_FFT + 1, 477)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network") / "network.net")


@pytest.mark.parametrize(("samples", "fast"), [(477, False), (477, True), (1, True)])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_events_give_the_bits_of_the_lava_chain(network, samples, fast, lookahead):
    noisy, clean = noisy_pair(1, samples)
    if fast:
        chain = denoiser(network, "lava", lookahead=lookahead).denoise(noisy)
    else:
        chain = infer(network, [(noisy, clean, "tones")], lookahead=lookahead)[0].denoised
    inputs, spectrum = encode(noisy, N_FFT, HOP, lookahead)
    whole = decode(Executor(network).run(inputs).outputs, spectrum, N_FFT, HOP, lookahead)[:samples]
    assert np.array_equal(whole, chain)
    assert np.array_equal(denoiser(network, lookahead=lookahead).denoise(noisy), chain)
    assert samples == 1 or np.abs(whole - noisy).max() > 0.01


@pytest.mark.parametrize("backend", ["events", "lava", "torch"])
@pytest.mark.parametrize(
    ("key", "value", "found"), [("weight", 128, "weight 128 and bias 0"), ("bias", -3, "weight 64 and bias -3")]
)
def test_input_that_the_encoder_does_not_compute_is_refused(tmp_path, backend, key, value, found):
    path = small_network(tmp_path / "network.net")
    with h5py.File(path, "r+") as file:
        file[f"layer/0/{key}"] = {"weight": 64, "bias": 0}[key]
    denoiser(path, backend)  # written out, the ordinary one is taken
    with h5py.File(path, "r+") as file:
        file[f"layer/0/{key}"][()] = value
    with pytest.raises(SpandexError, match=rf"network\.net: no mask network: layer/0 has {found}; .* with 64 and 0$"):
        denoiser(path, backend)


@pytest.mark.parametrize("backend", ["events", "lava"])
def test_both_backends_warn_of_wrapped_masks(tmp_path, backend):
    noisy, _ = noisy_pair(1)
    network = denoiser(wrapping_network(tmp_path / "network.net"), backend)
    with pytest.warns(UserWarning, match="tones: masks left the 24 bits"):
        network.denoise(3 * noisy, "tones")


def test_chain_counts_the_outputs_that_wrapped(tmp_path):
    path, (noisy, _) = wrapping_network(tmp_path / "network.net"), noisy_pair(1)
    (result,) = infer(path, [(3 * noisy, noisy, "tones")], fast=True)
    outputs = Executor(path).run(encode(3 * noisy, N_FFT, HOP)[0]).outputs
    assert result.wrapped_outputs == np.count_nonzero((outputs >= 2**23) | (outputs < -(2**23))) > 0


@pytest.mark.parametrize("lookahead", [0, 1])
def test_speech_is_denoised_as_by_the_float_network(mirror, lookahead):
    path = mirror / "ndns/prune50/network.net"
    noisy, clean = real_pair(mirror, seconds=4)
    fixed, in_float = (denoiser(path, kind, lookahead=lookahead).denoise(noisy) for kind in ("events", "torch"))
    assert si_snr(in_float, clean) > si_snr(noisy, clean) + 1
    assert si_snr(fixed, clean) == pytest.approx(si_snr(in_float, clean), abs=0.1)
    assert si_snr(fixed, in_float) > 40  # dB; a mask one step late leaves about 25


@pytest.mark.parametrize("lookahead", [0, 1])
def test_pieces_give_the_bits_of_the_whole(network, lookahead):
    noisy, _ = noisy_pair(2, 3000)
    denoiser = EventDenoiser(network, lookahead=lookahead)
    whole = denoiser.denoise(noisy)
    random = np.random.default_rng(0)
    padded = np.pad(noisy, (0, denoiser.delay))
    state, pieces, start = denoiser.start(), [], 0
    while start < len(padded):
        stop = start + HOP * int(random.integers(1, 40))
        piece, state = denoiser.process(padded[start:stop], state)
        pieces.append(piece)
        start = stop
    assert np.array_equal(np.concatenate(pieces)[denoiser.delay :], whole)


def cut(audio, seed, largest):
    """Audio in blocks of random lengths, 0 among them."""
    random, start = np.random.default_rng(seed), 0
    while start < len(audio):
        stop = start + int(random.integers(0, largest))
        yield audio[start:stop]
        start = stop


@pytest.mark.parametrize(("backend", "samples"), [("events", 9001), ("torch", 9001), ("lava", 1200)])
def test_blocks_of_any_length_give_the_bits_of_the_whole(network, backend, samples):
    ready = denoiser(network, backend)
    noisy, _ = noisy_pair(6, samples)
    whole = ready.denoise(noisy)
    assert not np.array_equal(whole, noisy)
    for largest in (3, samples) if backend != "lava" else (samples,):
        assert np.array_equal(np.concatenate(list(ready.blocks(cut(noisy, 1, largest)))), whole)


@pytest.mark.parametrize("backend", ["events", "torch", "lava"])
def test_audio_is_taken_as_it_is_needed(network, backend):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 160
            yield noisy_pair(taken, 160)[0]

    given = 0
    for block in itertools.islice(denoiser(network, backend).blocks(endless()), 2):
        given += len(block)
        assert taken - given < 40_000


@pytest.mark.parametrize("blocks", [1, None], ids=["given up", "to the end"])
def test_lava_leaves_no_thread_behind(network, blocks):
    noisy, _ = noisy_pair(1, 40 * HOP)
    before = set(threading.enumerate())
    for _ in itertools.islice(denoiser(network, "lava").blocks(iter(np.split(noisy, 40))), blocks):
        pass
    assert all(not thread.is_alive() for thread in joined(set(threading.enumerate()) - before))


def joined(threads: set[threading.Thread]) -> set[threading.Thread]:
    for thread in threads:
        thread.join(5)
    return threads


@pytest.mark.parametrize("clip", ["quiet", "loud"])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_float_blocks_give_what_the_float_network_gives_on_the_whole(tmp_path, clip, lookahead):
    torch.manual_seed(1)
    network = SDNN(hidden=24)
    network.lookahead = lookahead
    with torch.no_grad():
        for block in network.blocks[1:3]:
            block.delay.delay.copy_(torch.rand_like(block.delay.delay) * 63)
    save_state(network, tmp_path / "network.pt")
    noisy = noisy_pair(7, 20_011)[0] * (50 if clip == "loud" else 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # torch rounds phases otherwise at the border of two threads' shares
    try:
        expected = denoise(network, torch.from_numpy(noisy)[None])[0].numpy()
        blocks = denoiser(tmp_path / "network.pt", "torch", lookahead=lookahead).blocks(cut(noisy, 2, 5000))
        assert np.array_equal(np.concatenate(list(blocks)), expected)
    finally:
        torch.set_num_threads(threads)


def test_state_is_not_changed_by_going_on_from_it(network):
    noisy, _ = noisy_pair(3, 400)
    denoiser = EventDenoiser(network)
    _, state = denoiser.process(noisy[:160], denoiser.start())
    first, _ = denoiser.process(noisy[160:], state)
    again, _ = denoiser.process(noisy[160:], state)
    assert np.array_equal(first, again)


@pytest.mark.parametrize("backend", ["events", "torch"])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_clip_of_any_length_keeps_its_length(network, backend, lookahead):
    ready = denoiser(network, backend, lookahead=lookahead)
    for samples in LENGTHS:
        denoised = ready.denoise(noisy_pair(4, samples)[0])
        assert denoised.shape == (samples,)
        assert denoised.dtype == np.float32
        assert np.isfinite(denoised).all()


@pytest.mark.parametrize("n_fft", [512, 48])
def test_state_dict_is_denoised_in_float(tmp_path, n_fft):
    torch.manual_seed(0)
    network = SDNN(n_fft, n_fft // 4, hidden=16)
    save_state(network, tmp_path / "network.pt")
    audio = noisy_pair(5, 2000)[0]
    expected = denoise(network, torch.from_numpy(audio)[None])[0].numpy()
    assert np.array_equal(denoiser(tmp_path / "network.pt", "torch").denoise(audio), expected)


def test_float_backend_reads_the_deployed_network(network):
    audio = noisy_pair(5, 2000)[0]
    expected = denoise(from_hdf5(network), torch.from_numpy(audio)[None])[0].numpy()
    assert np.array_equal(denoiser(network, "torch").denoise(audio), expected)


@pytest.mark.parametrize("backend", ["events", "lava", "torch"])
@pytest.mark.parametrize(("audio", "reason"), [(np.zeros(0), "empty"), (np.array([0.1, np.nan]), "NaN")])
def test_unusable_audio_is_named(network, backend, audio, reason):
    with pytest.raises(SpandexError, match=f"^clip7.*: .*{reason}"):
        denoiser(network, backend).denoise(audio, "clip7")


@pytest.mark.parametrize("backend", ["events", "lava", "torch"])
def test_missing_network_is_named_before_any_audio(tmp_path, backend):
    with pytest.raises(SpandexError, match=r"nowhere\.net"):
        denoiser(tmp_path / "nowhere.net", backend)


def test_unknown_backend_is_named(network):
    with pytest.raises(SpandexError, match="'gpu' is none of events, lava, torch"):
        denoiser(network, "gpu")


@pytest.mark.parametrize("lookahead", [-1, 2])
def test_other_lookahead_is_refused(network, lookahead):
    with pytest.raises(SpandexError, match=f"lookahead {lookahead} is not from 0 to 1"):
        denoiser(network, lookahead=lookahead)
