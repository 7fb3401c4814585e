"""The commands on the published networks and real audio, against stock Lava and the published figures."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

from commands import spandex
from denoising import real_pair
from spandex.data.audio import from_int16, to_int16
from spandex.deploy.denoise import denoiser
from spandex.deploy.execution import processes_forgotten
from stock_lava import stock_network

STEPS = 30
SPANDEX = "from spandex.cli import app; app()"
MAPS = {  # as typed: all layers sparse in stock Lava, or all dense; they differ only when a sum leaves 32 bits
    "sparse": True,
    "dense": False,
    "auto": True,
    "1,0,1": True,
    "true,true,false": True,
    "1:true,3:false": False,
    "2:1": False,
}


@pytest.fixture(scope="module")
def inputs(mirror):
    """X = round((|STFT| - 0.2) * 64) of loud speech in rain, int32 (257, STEPS)."""
    noisy, _ = real_pair(mirror, seconds=1)
    frames = np.lib.stride_tricks.sliding_window_view(noisy[8000:].astype(float), 512)[::128][:STEPS]
    return np.rint((np.abs(np.fft.rfft(frames)).T - 0.2) * 64).astype(np.int32)


@pytest.fixture(scope="module")
def stock(mirror, inputs):
    """What stock Lava gives for a network's name and whether all its layers are sparse: int32 (outputs, STEPS)."""
    return functools.cache(lambda name, sparse: _stock_run(mirror / "ndns" / name / "network.net", sparse, inputs))


def _stock_run(path, sparse, inputs):
    with processes_forgotten():
        network = stock_network(path, sparse_fc_layer=sparse)
        source, sink = Source(data=inputs), Sink(shape=network.out.shape, buffer=STEPS)
        source.s_out.connect(network.in_layer.neuron.a_in)
        network.out.connect(sink.a_in)
        try:
            source.run(condition=RunSteps(STEPS), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
            return sink.data.get().astype(np.int32)
        finally:
            source.stop()


def run(path, inputs, folder, *options):
    """Outputs of ``spandex run``, which says what it wrote, what left its range in each layer (but in Lava itself), and
    that the file's one delay is clamped; nothing else."""
    np.save(folder / "X.npy", inputs)
    result = spandex("run", path, "--input", folder / "X.npy", "--output", folder / "Y.npy", *options)
    written, *layers = result.stdout.splitlines()
    assert (result.exit_code, written) == (0, f"{folder / 'Y.npy'}: 257 outputs, {inputs.shape[1]} steps")
    assert [line.partition(":")[0] for line in layers] == (
        [] if "lava" in options else [f"layer {n}" for n in range(4)]
    )
    assert result.stderr == f"warning: {path}: 1 delay above 62 steps, up to 64, clamped to 62\n"
    return np.load(folder / "Y.npy")


@pytest.mark.slow
def test_every_sparsity_map_gives_what_stock_lava_gives(mirror, inputs, stock, tmp_path):
    path = mirror / "ndns/prune50/network.net"
    for typed, sparse in MAPS.items():
        outputs = run(path, inputs, tmp_path, "--sparsity-map", typed)
        assert outputs.dtype == np.int32
        np.testing.assert_array_equal(outputs, stock("prune50", sparse), err_msg=typed)
    baseline = run(mirror / "ndns/baseline/network.net", inputs, tmp_path)
    np.testing.assert_array_equal(baseline, stock("baseline", True))


@pytest.mark.slow
@pytest.mark.parametrize("typed", MAPS)
def test_every_sparsity_map_gives_the_same_in_lava(mirror, inputs, stock, tmp_path, typed):
    options = "--backend", "lava", "--sparsity-map", typed
    outputs = run(mirror / "ndns/prune50/network.net", inputs, tmp_path, *options)
    np.testing.assert_array_equal(outputs, stock("prune50", MAPS[typed]))


def test_both_backends_give_what_stock_lava_gives(mirror, inputs, stock, tmp_path):
    path = mirror / "ndns/prune50/network.net"
    expected = stock("prune50", True)
    assert np.abs(expected).max() > 10_000
    np.testing.assert_array_equal(run(path, inputs, tmp_path), expected)
    np.testing.assert_array_equal(run(path, inputs.astype(float), tmp_path, "--backend", "lava"), expected)
    for steps in (0, 1, 17):  # what comes later changes nothing
        np.testing.assert_array_equal(run(path, inputs[:, :steps], tmp_path), expected[:, :steps])


def test_info_counts_the_published_parameters(mirror):
    for name, parameters, density in (
        ("prune50", 344_392, 215_125 / 525_312),
        ("baseline", 596_961, 384_498 / 525_312),
    ):
        path = mirror / "ndns" / name / "network.net"
        result = spandex("info", path, "--json", "-")
        found = json.loads(result.stdout)
        assert found["parameters"] == found["nonzero_weights"] + found["nonzero_delays"] == parameters
        assert found["deployed_sparsity"] == pytest.approx(1 - density)
        assert [layer["shape"] for layer in found["layers"]] == [[257], [512], [512], [257]]
        assert result.stderr == f"warning: {path}: 1 delay above 62 steps, up to 64, clamped to 62\n"
        assert f"= {parameters:,} parameters" in spandex("info", path).stdout


@pytest.fixture(scope="module")
def recording(mirror, tmp_path_factory):
    """A second of noisy speech and the silence around it, 16-bit, as raw samples and as WAV."""
    folder = tmp_path_factory.mktemp("recording")
    samples = to_int16(real_pair(mirror, seconds=1)[0])
    (folder / "noisy.raw").write_bytes(samples.tobytes())
    soundfile.write(folder / "noisy.wav", samples, 16_000)
    return folder


def test_denoised_file_is_that_of_the_denoiser(mirror, recording, tmp_path):
    path = mirror / "ndns/prune50/network.net"
    samples, _ = soundfile.read(recording / "noisy.wav", dtype="int16")
    result = spandex("denoise", recording / "noisy.wav", tmp_path / "out.wav", "--network", path)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)
    with pytest.warns(UserWarning, match="clamped"):
        expected = to_int16(denoiser(path).denoise(from_int16(samples)))
    np.testing.assert_array_equal(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], expected)


@pytest.mark.slow
def test_stream_in_a_shell_pipe(mirror, recording, tmp_path):
    net = mirror / "ndns/prune50/network.net"
    stream = f'cat {{}} | "{sys.executable}" -c "{SPANDEX}" denoise --stream --network "{net}"'
    command = f"set -o pipefail; {stream.format('noisy.raw')}"
    done = subprocess.run(["bash", "-c", command], cwd=recording, capture_output=True)
    spandex("denoise", recording / "noisy.wav", tmp_path / "out.wav", "--network", net)
    out = np.frombuffer(done.stdout, np.int16)
    assert len(out) == 32_000 + 512
    np.testing.assert_array_equal(out[512:], soundfile.read(tmp_path / "out.wav", dtype="int16")[0])
    warning, report = done.stderr.decode().splitlines()
    assert warning.endswith("clamped to 62")
    assert report.startswith("2.000 s of audio, 254 steps, real-time factor ")
    assert 0 < float(report.split()[-1]) < 1
    command = f"{stream.format('noisy.raw noisy.raw noisy.raw')} | head -c 1000; echo ${{PIPESTATUS[1]}} >&2"
    done = subprocess.run(["bash", "-c", command], cwd=recording, capture_output=True)
    assert done.stdout == out.tobytes()[:1000]
    _, report, status = done.stderr.decode().splitlines()
    assert ("real-time factor" in report, status) == (True, "0")


@pytest.mark.slow
def test_installed_command_says_no_more_than_it_should(mirror, inputs, tmp_path):
    np.save(tmp_path / "X.npy", inputs)
    net = mirror / "ndns/prune50/network.net"
    executable = Path(sys.executable).with_name("spandex")
    arguments = ["run", net, "--input", "X.npy", "--output", "Y.npy", "--backend", "lava"]
    done = subprocess.run([executable, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"Y.npy: 257 outputs, {STEPS} steps\n")
    assert done.stderr == f"warning: {net}: 1 delay above 62 steps, up to 64, clamped to 62\n"
    done = subprocess.run([executable, "info", "X.npy"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("spandex info: X.npy: not a whole HDF5 file")
