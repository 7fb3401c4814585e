"""The chain of Lava processes against closed forms, numpy around the bare network, and the float network."""

import importlib
import multiprocessing
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from lava.magma.core.process.process import ProcessServer
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source

from denoising import HOP, N_FFT, noisy_pair, real_pair, small_network
from spandex.deploy import Network, infer
from spandex.deploy.execution import execution
from spandex.deploy.processes import Encoder
from spandex.errors import SpandexError
from spandex.metrics import si_snr

pytestmark = pytest.mark.filterwarnings("ignore:.*clamped")


def decoded_by_numpy(path, noisy, n_fft, hop):
    """The chain's result from the bare network, fed and read by Lava's ring buffers."""
    steps = -(-len(noisy) // hop) + n_fft // hop
    padded = np.zeros((steps - 1) * hop + n_fft)
    padded[n_fft - hop :][: len(noisy)] = noisy
    spectrum = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop], axis=1)
    network = Network(path, True)
    source = Source(data=np.round((np.abs(spectrum) - 0.2) * 64).astype(int).T)
    sink = Sink(shape=network.out.shape, buffer=steps)
    source.s_out.connect(network.in_layer.neuron.a_in)
    network.out.connect(sink.a_in)
    network.run(condition=RunSteps(steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    output = sink.data.get().T
    network.stop()
    mask = np.maximum(output[1:] / 2**18 + 1, 0)  # the mask of a frame comes out one step after the frame
    frames = np.fft.irfft(spectrum[:-1] * mask, n=n_fft, axis=1)
    audio = np.zeros_like(padded)
    for index, frame in enumerate(frames):
        audio[index * hop :][:n_fft] += frame
    return (audio / (n_fft / hop))[n_fft - hop :][: len(noisy)].astype(np.float32)


@pytest.mark.parametrize("samples", [480, 477])
def test_network_that_masks_nothing_returns_the_input_in_place(tmp_path, samples):
    path = small_network(tmp_path / "network.net", output_gain=0)
    noisy, clean = noisy_pair(0, samples)
    (result,) = infer(path, [(noisy, clean, "tones")], hop=HOP)
    np.testing.assert_allclose(result.denoised, noisy, atol=1e-6)
    assert result.denoised.dtype == np.float32
    assert result.delay == N_FFT  # n_fft - hop for the frame to fill, one hop for the network
    assert result.steps == 60 + N_FFT // HOP
    assert result.si_snr_noisy == pytest.approx(si_snr(noisy, clean))
    assert result.si_snr == pytest.approx(result.si_snr_noisy, abs=1e-3)


def test_chain_equals_numpy_around_the_bare_network(tmp_path):
    path = small_network(tmp_path / "network.net")
    noisy, clean = noisy_pair(1)
    (result,) = infer(path, [(noisy, clean, "tones")], hop=HOP)
    np.testing.assert_allclose(result.denoised, decoded_by_numpy(path, noisy, N_FFT, HOP), rtol=0, atol=1e-7)
    assert np.abs(result.denoised - noisy).max() > 0.01


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_clips_do_not_meet(tmp_path):
    path = small_network(tmp_path / "network.net")
    clips = [(*noisy_pair(seed, samples), str(seed)) for seed, samples in ((2, 200), (3, 240))]
    processes = ProcessServer().num_processes
    files = open_files()
    together = infer(path, clips, hop=HOP)
    assert [result.name for result in together] == ["2", "3"]
    (alone,) = infer(path, clips[1:], hop=HOP)
    np.testing.assert_array_equal(together[1].denoised, alone.denoised)
    assert multiprocessing.active_children() == []
    assert ProcessServer().num_processes == processes
    assert open_files() <= files


@pytest.mark.slow
def test_chain_equals_numpy_around_the_published_network(mirror):
    path = mirror / "ndns/prune50/network.net"
    noisy, clean = (audio[6000:20000] for audio in real_pair(mirror, seconds=1))
    (result,) = infer(path, [(noisy, clean, "speech")], sparsity_map=True)
    np.testing.assert_allclose(result.denoised, decoded_by_numpy(path, noisy, 512, 128), rtol=0, atol=1e-7)


def test_loihi_without_its_compiler_is_a_clear_error(tmp_path):
    with pytest.raises(SpandexError, match="lava-loihi"):
        infer(tmp_path / "network.net", [(*noisy_pair(0), "tones")], run_config="loihi2")


def test_unknown_run_configuration_is_named(tmp_path):
    with pytest.raises(SpandexError, match="'gpu'"):
        infer(tmp_path / "network.net", [], run_config="gpu")


@pytest.mark.parametrize(
    ("noisy", "clean", "message"),
    [
        (np.zeros(0), np.zeros(0), "empty"),
        (np.zeros((2, 9)), np.zeros((2, 9)), r"shape \(2, 9\)"),
        (np.zeros(9), np.zeros(8), "9 noisy samples"),
        (np.full(9, np.nan), np.zeros(9), "NaN"),
    ],
)
def test_unusable_clip_is_named(tmp_path, noisy, clean, message):
    with pytest.raises(SpandexError, match=f"clip7: .*{message}"):
        infer(tmp_path / "network.net", [(noisy, clean, "clip7")])


def test_hop_that_does_not_divide_the_frame_is_named(tmp_path):
    path = small_network(tmp_path / "network.net")
    with pytest.raises(SpandexError, match=rf"{path}: frames of 32 samples are no multiple of the hop of 7"):
        infer(path, [(*noisy_pair(0), "tones")], hop=7)


# In a folder of its own: Lava runs every module that lies beside that of a process, to look for models.
MISBEHAVING = """
    import os
    import time

    import numpy as np
    from lava.magma.core.decorator import implements, requires
    from lava.magma.core.model.py.model import PyLoihiProcessModel
    from lava.magma.core.model.py.ports import PyOutPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import OutPort
    from lava.magma.core.process.process import AbstractProcess
    from lava.magma.core.resources import CPU
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

    class Misbehaving(AbstractProcess):
        def __init__(self, misdeed, hanging):
            super().__init__(misdeed=misdeed, hanging=hanging)
            self.audio_out = OutPort(shape=(8,))

    @implements(proc=Misbehaving, protocol=LoihiProtocol)
    @requires(CPU)
    class PyMisbehavingModel(PyLoihiProcessModel):
        audio_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

        def run_spk(self):
            if self.time_step == 3:
                if self.proc_params["misdeed"] == "raise":
                    raise ValueError("bad step")
                if self.proc_params["misdeed"] == "exit":
                    os._exit(3)
                self.proc_params["hanging"].set()
                time.sleep(600)
            self.audio_out.send(np.zeros(8))
"""


@pytest.fixture
def chain(tmp_path, monkeypatch):
    """Start an encoder with a misbehaving source, in an operating system process and session of its own."""
    (tmp_path / "misbehaving.py").write_text(textwrap.dedent(MISBEHAVING))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "misbehaving", raising=False)
    misbehaving = importlib.import_module("misbehaving")
    context = multiprocessing.get_context("fork")
    hanging, result = context.Event(), context.Queue()

    def run(misdeed):
        os.setsid()
        source, encoder = misbehaving.Misbehaving(misdeed, hanging), Encoder(N_FFT, HOP)
        source.audio_out.connect(encoder.audio_in)
        try:
            with execution(source, Loihi2SimCfg(select_tag="fixed_pt")) as started:
                started.steps(10)
        except BaseException as error:
            result.put(f"{type(error).__name__}: {error}")

    def start(misdeed):
        process = context.Process(target=run, args=(misdeed,))
        process.start()
        return process, hanging, result

    return start


def left_over(session):
    """Running processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(owner) == session and state != "Z":
            found.append(int(stat.parent.name))
    return found


def none_left(session, seconds=20):
    deadline = time.monotonic() + seconds
    while left_over(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left_over(session) == []


@pytest.mark.parametrize(("misdeed", "message"), [("raise", "ValueError: bad step"), ("exit", "exit code 3")])
def test_failing_process_ends_the_run(chain, misdeed, message):
    process, _, result = chain(misdeed)
    error = result.get(timeout=120)
    assert error.startswith("SpandexError: a Lava process failed: ")
    assert error.endswith(message)
    process.join(timeout=60)
    assert process.exitcode == 0
    assert none_left(process.pid)


def test_interrupted_run_stops_its_processes(chain):
    process, hanging, result = chain("hang")
    assert hanging.wait(timeout=120)
    assert len(left_over(process.pid)) > 3
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all of them
    assert result.get(timeout=60).startswith("KeyboardInterrupt")
    process.join(timeout=60)
    assert none_left(process.pid)


def test_killed_run_takes_its_processes_along(chain):
    process, hanging, _ = chain("hang")
    assert hanging.wait(timeout=120)
    process.kill()
    process.join(timeout=60)
    assert none_left(process.pid)
