import numpy as np
import pytest
import soundfile
import soxr
import torch
from lava.lib.dl import slayer

from networks import hdf5_content
from spandex.networks import denoise, export_hdf5, from_hdf5, load_network, save_state, stft


def si_snr(estimate, target):
    """SI-SNR in dB of zero-mean signals (Le Roux et al. 2019)."""
    estimate, target = (x - x.mean(-1, keepdim=True) for x in (estimate, target))
    projected = (estimate * target).sum(-1, keepdim=True) / target.pow(2).sum(-1, keepdim=True) * target
    return 10 * torch.log10(projected.pow(2).sum(-1) / (estimate - projected).pow(2).sum(-1))


@pytest.fixture(scope="module")
def clips(mirror):
    """Four clips of 10 s of unseen speakers in unseen noise at 5 dB: noisy and clean, (4, 160000)."""
    speech = sorted((mirror / "speech" / "test").glob("*.flac"))
    noises = [sorted((mirror / "noise" / kind).glob("4-*.ogg"))[0] for kind in ("rain", "sea_waves", "helicopter")]
    noises.append(sorted((mirror / "noise" / "chainsaw").glob("4-*.ogg"))[0])
    clean, noisy = [], []
    for voice, noise in zip(speech[::6], noises, strict=False):
        voice, noise = (_at_16_khz(path) for path in (voice, noise))
        voice = np.resize(voice, 160000)
        voice *= 10 ** (-25 / 20) / np.sqrt(np.mean(voice**2))
        noise = np.resize(noise, 160000)
        noise *= np.sqrt(np.mean(voice**2) / np.mean(noise**2)) * 10 ** (-5 / 20)
        clean.append(voice)
        noisy.append(voice + noise)
    assert len(clean) == 4
    return torch.from_numpy(np.stack(noisy)), torch.from_numpy(np.stack(clean))


def _at_16_khz(path):
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(audio.mean(1), rate, 16000)


def test_published_state_dict_exports_exactly_the_published_hdf5(mirror, tmp_path):
    network = load_network(mirror / "ndns" / "baseline" / "network.pt")
    export_hdf5(network, tmp_path / "network.net")
    assert hdf5_content(tmp_path / "network.net") == hdf5_content(mirror / "ndns" / "baseline" / "network.net")


def test_published_state_dict_returns_without_loss(mirror, tmp_path):
    path = mirror / "ndns" / "baseline" / "network.pt"
    save_state(load_network(path), tmp_path / "network.pt")
    published, mine = (torch.load(p, map_location="cpu", weights_only=True) for p in (path, tmp_path / "network.pt"))
    assert published.keys() == mine.keys()
    assert all(torch.equal(published[key], mine[key]) for key in published)


@pytest.mark.parametrize("name", ["baseline", "prune50"])
def test_published_hdf5_returns_without_loss(mirror, tmp_path, name):
    path = mirror / "ndns" / name / "network.net"
    network = from_hdf5(path)
    export_hdf5(network, tmp_path / "network.net")
    assert hdf5_content(tmp_path / "network.net") == hdf5_content(path)


def test_hdf5_and_state_dict_of_the_baseline_compute_the_same(mirror, clips):
    magnitude, _ = stft(clips[0][:, :32000])
    with torch.no_grad():
        a, b = (load_network(mirror / "ndns" / "baseline" / f"network.{kind}")(magnitude) for kind in ("pt", "net"))
    assert torch.equal(a, b)


def test_published_baseline_improves_real_noisy_speech(mirror, clips):
    noisy, clean = clips
    before = si_snr(noisy, clean)
    torch.testing.assert_close(before, torch.full((4,), 5.0), rtol=0, atol=0.3)
    network = load_network(mirror / "ndns" / "baseline" / "network.pt")
    gain = si_snr(denoise(network, noisy), clean) - before
    assert gain.mean() > 1.5


def test_pruned_network_improves_real_noisy_speech(mirror, clips):
    noisy, clean = clips
    gain = si_snr(denoise(from_hdf5(mirror / "ndns" / "prune50" / "network.net"), noisy), clean) - si_snr(noisy, clean)
    assert gain.mean() > 1.5


def test_forward_is_that_of_a_network_written_with_lava_dl_alone(mirror, clips):
    """The challenge's network, spelled out in lava-dl, with the published weights."""
    state = torch.load(mirror / "ndns" / "baseline" / "network.pt", map_location="cpu", weights_only=True)
    neuron = {"threshold": 0.1, "activation": torch.nn.functional.relu}
    kind = slayer.block.sigma_delta
    blocks = torch.nn.ModuleList(
        [
            kind.Input(neuron),
            kind.Dense(neuron, 257, 512, delay=True, delay_shift=True),
            kind.Dense(neuron, 512, 512, delay=True, delay_shift=True),
            kind.Output(neuron, 512, 257),
        ]
    )
    blocks[0].pre_hook_fx = lambda x: slayer.utils.quantize(x, step=1 / 64)
    for block in blocks[1:3]:
        block.delay.max_delay = 64
        block.delay.delay.data = torch.zeros(512)
        block.delay.init = True
    blocks.load_state_dict({key.removeprefix("blocks."): value for key, value in state.items()})
    noisy = torch.stft(clips[0][:, :32000], 512, window=torch.ones(512), return_complex=True).abs()
    with torch.no_grad():
        x = noisy - 0.2
        for block in blocks:
            x = block(x)
        expected = noisy * torch.relu(x + 1)
        network = load_network(mirror / "ndns" / "baseline" / "network.pt")
        assert torch.equal(network(stft(clips[0][:, :32000])[0]), expected)
