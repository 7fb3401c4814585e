"""A small mask network and noisy clips, as the tests of denoising need them."""

import h5py
import numpy as np
import soundfile
import soxr
import torch

from spandex.deploy.codec import encode
from spandex.networks import SDNN, export_hdf5

N_FFT, HOP = 32, 8


def random_network(seed, gains=(3, 3, 3), longest_delay=60, n_fft=N_FFT, hop=HOP, hidden=24):
    """A network of the published shape but few neurons: random delays, and weights times the gains of their layers."""
    torch.manual_seed(seed)
    network = SDNN(n_fft=n_fft, hop=hop, hidden=hidden)
    with torch.no_grad():
        for block, gain in zip(network.blocks[1:], gains, strict=True):
            block.synapse.weight *= gain
        for block in network.blocks[1:3]:
            block.delay.delay.copy_(torch.rand_like(block.delay.delay) * longest_delay)
    return network


def small_network(path, output_gain=0.3):
    """A random network's file; with output gain 0 its mask is 1 everywhere."""
    export_hdf5(random_network(5, (2, 2, output_gain), longest_delay=20), path)
    return path


def wrapping_network(path):
    """A small network whose masks leave their 24 bits on loud audio."""
    small_network(path, output_gain=1)
    with h5py.File(path, "r+") as file:
        file["layer/2/weight"][...] = 60
        file["layer/3/weight"][...] = -120
    return path


def noisy_pair(seed, samples=480):
    """Tones in white noise, and the tones: audio of the small network's few bins."""
    random = np.random.default_rng(seed)
    time = np.arange(samples)
    clean = sum(0.2 * np.sin(2 * np.pi * frequency * time) for frequency in random.uniform(0.02, 0.4, 3))
    clean = clean * np.clip(np.sin(2 * np.pi * time / 240), 0, 1)
    return (clean + 0.1 * random.standard_normal(samples)).astype(np.float32), clean.astype(np.float32)


def real_pair(mirror, seconds):
    """Speech in rain at 6 dB, with half a second of silence around it."""
    samples = int(16_000 * seconds)
    speech, _ = soundfile.read(sorted((mirror / "speech/test").glob("*.flac"))[0], dtype="float32")
    noise, rate = soundfile.read(sorted((mirror / "noise/rain").glob("4-*.ogg"))[0], dtype="float32")
    noise = soxr.resample(noise, rate, 16_000)
    speech, noise = speech[8000 : 8000 + samples], noise[:samples]
    clean, noise = (np.pad(0.05 * part / part.std(), 8000) for part in (speech, noise))
    return (clean + 0.5 * noise).astype(np.float32), clean.astype(np.float32)


def encoded_speech(mirror, steps):
    """Speech in rain as the published networks get it, int32 (257, steps)."""
    noisy, _ = real_pair(mirror, seconds=3)
    inputs, _ = encode(noisy[8000:], 512, 128)
    return inputs[:, :steps]
