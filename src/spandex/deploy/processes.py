"""Lava processes of the audio chain: source or feed, encoder, delay, decoder, and receiver or outlet.

One time step is one hop of audio. Audio is float in [-1, 1], ``hop`` samples a step; a spectrum is float of
shape (2, bins), real part and imaginary part, with bins = n_fft / 2 + 1. Each process is one Lava process with one
Python model. What encoder and decoder compute is ``spandex.deploy.codec``.
"""

import numpy as np
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort, PyOutPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort, OutPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.process.variable import Var
from lava.magma.core.resources import CPU
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol

from spandex.deploy.codec import count_wrapped, decode_frames, encode_frames, overlap_add


class AudioSource(AbstractProcess):
    """Sends a noisy clip and its clean version hop by hop, then silence.

    Args:
        noisy, clean: audio (samples,).
        hop: samples a step.

    Ports:
        noisy_out, clean_out: audio (hop,).
    """

    def __init__(self, noisy: np.ndarray, clean: np.ndarray, hop: int):
        super().__init__(clips=np.stack([noisy, clean]), hop=hop)
        self.noisy_out = OutPort(shape=(hop,))
        self.clean_out = OutPort(shape=(hop,))


@implements(proc=AudioSource, protocol=LoihiProtocol)
@requires(CPU)
class PyAudioSourceModel(PyLoihiProcessModel):
    noisy_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    clean_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        hop = self.proc_params["hop"]
        start = (self.time_step - 1) * hop
        chunk = np.zeros((2, hop))
        available = self.proc_params["clips"][:, start : start + hop]
        chunk[:, : available.shape[1]] = available
        self.noisy_out.send(chunk[0])
        self.clean_out.send(chunk[1])


class Encoder(AbstractProcess):
    """Short-time spectrum of the last ``n_fft`` samples and the network's fixed-point input made from it.

    The samples before the first are zero. A frame ends with the hop just received, so it is the frame that a
    centred STFT places at the sample n_fft / 2 earlier.

    Args:
        n_fft: samples of a frame.
        hop: samples a step.

    Ports:
        audio_in: audio (hop,).
        encoded_out: int32 (bins,), in steps of 1 / INPUT_GAIN.
        spectrum_out: spectrum (2, bins).
    """

    def __init__(self, n_fft: int, hop: int):
        super().__init__(n_fft=n_fft, hop=hop)
        bins = n_fft // 2 + 1
        self.audio_in = InPort(shape=(hop,))
        self.encoded_out = OutPort(shape=(bins,))
        self.spectrum_out = OutPort(shape=(2, bins))


@implements(proc=Encoder, protocol=LoihiProtocol)
@requires(CPU)
class PyEncoderModel(PyLoihiProcessModel):
    audio_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    encoded_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, np.int32)
    spectrum_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.window = np.zeros(proc_params["n_fft"])

    def run_spk(self) -> None:
        self.window = np.concatenate([self.window, self.audio_in.recv()])[-len(self.window) :]
        encoded, spectrum = encode_frames(self.window)
        self.encoded_out.send(encoded)
        self.spectrum_out.send(np.stack([spectrum.real, spectrum.imag]))


class Delay(AbstractProcess):
    """Delays its input by a number of steps; zeros come out first.

    Args:
        shape: of the data.
        steps: at least 1.

    Ports:
        data_in, data_out: float of the given shape.
    """

    def __init__(self, shape: tuple[int, ...], steps: int):
        super().__init__(shape=shape, steps=steps)
        self.data_in = InPort(shape=shape)
        self.data_out = OutPort(shape=shape)


@implements(proc=Delay, protocol=LoihiProtocol)
@requires(CPU)
class PyDelayModel(PyLoihiProcessModel):
    data_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    data_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.waiting = [np.zeros(proc_params["shape"])] * proc_params["steps"]

    def run_spk(self) -> None:
        self.waiting.append(self.data_in.recv())
        self.data_out.send(self.waiting.pop(0))


class Decoder(AbstractProcess):
    """Masks a spectrum with the network's output and adds the frames back up to audio.

    A hop comes out once all ``n_fft / hop`` frames that hold it are in: ``n_fft / hop - 1`` steps after the
    frame in which it was the newest.

    Args:
        n_fft: samples of a frame.
        hop: samples a step.

    Ports:
        output_in: int32 (bins,), in steps of 1 / OUTPUT_GAIN.
        spectrum_in: spectrum (2, bins), of the same frame as the output.
        audio_out: audio (hop,).

    Variables:
        wrapped_outputs: number of outputs so far that left their 24 bits, (1,).
    """

    def __init__(self, n_fft: int, hop: int):
        super().__init__(n_fft=n_fft, hop=hop)
        bins = n_fft // 2 + 1
        self.wrapped_outputs = Var(shape=(1,), init=0)
        self.output_in = InPort(shape=(bins,))
        self.spectrum_in = InPort(shape=(2, bins))
        self.audio_out = OutPort(shape=(hop,))


@implements(proc=Decoder, protocol=LoihiProtocol)
@requires(CPU)
class PyDecoderModel(PyLoihiProcessModel):
    output_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    spectrum_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    audio_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)
    wrapped_outputs: np.ndarray = LavaPyType(np.ndarray, np.int64)

    def __init__(self, proc_params: dict) -> None:
        super().__init__(proc_params)
        self.overlap = np.zeros(proc_params["n_fft"] - proc_params["hop"])

    def run_spk(self) -> None:
        real, imaginary = self.spectrum_in.recv()
        outputs = self.output_in.recv().astype(np.int32)
        self.wrapped_outputs += count_wrapped(outputs)
        frame = decode_frames(outputs, real + 1j * imaginary)
        audio, self.overlap = overlap_add(frame[np.newaxis], self.overlap, self.proc_params["hop"])
        self.audio_out.send(audio)


class AudioReceiver(AbstractProcess):
    """Collects denoised audio and the clean audio of the same time.

    A channel from the process to the caller holds all steps of a run; reading a Lava variable of the same size
    would take tens of microseconds a sample.

    Args:
        hop: samples a step.
        steps: steps of the run.

    Ports:
        denoised_in, clean_in: audio (hop,).
    """

    def __init__(self, hop: int, steps: int):
        super().__init__()
        self.steps = steps
        self.denoised_in = InPort(shape=(hop,))
        self.clean_in = InPort(shape=(hop,))
        self.audio_out = OutPort(shape=(2, hop))
        self.audio_out.flag_external_pipe(buffer_size=steps)

    def collect(self) -> tuple[np.ndarray, np.ndarray]:
        """Denoised and clean audio, each float64 (steps * hop,), once all steps are run."""
        channel = self.audio_out.external_pipe_csp_recv_port
        denoised, clean = np.concatenate([channel.recv() for _ in range(self.steps)], axis=1)
        return denoised, clean


@implements(proc=AudioReceiver, protocol=LoihiProtocol)
@requires(CPU)
class PyAudioReceiverModel(PyLoihiProcessModel):
    denoised_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    clean_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    audio_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        self.audio_out.send(np.stack([self.denoised_in.recv(), self.clean_in.recv()]))


class Feed(AbstractProcess):
    """Sends audio that the caller gives it while the chain runs.

    Args:
        hop: samples a step.
        hops: that may wait to be sent.

    Ports:
        audio_out: audio (hop,).
    """

    def __init__(self, hop: int, hops: int):
        super().__init__()
        self.audio_in = InPort(shape=(hop,))
        self.audio_in.flag_external_pipe(buffer_size=hops)
        self.audio_out = OutPort(shape=(hop,))

    def send(self, audio: np.ndarray) -> None:
        """Give audio (hops, hop) for the next steps."""
        for hop in audio:
            self.audio_in.external_pipe_csp_send_port.send(hop.astype(float))


class _Relay(PyLoihiProcessModel):
    """Sends what it gets."""

    audio_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, float)
    audio_out: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, float)

    def run_spk(self) -> None:
        self.audio_out.send(self.audio_in.recv())


@implements(proc=Feed, protocol=LoihiProtocol)
@requires(CPU)
class PyFeedModel(_Relay):
    """Sends what it gets from the caller."""


class Outlet(AbstractProcess):
    """Hands audio to the caller while the chain runs.

    Args:
        hop: samples a step.
        hops: that may wait to be received.

    Ports:
        audio_in: audio (hop,).
    """

    def __init__(self, hop: int, hops: int):
        super().__init__()
        self.audio_in = InPort(shape=(hop,))
        self.audio_out = OutPort(shape=(hop,))
        self.audio_out.flag_external_pipe(buffer_size=hops)

    def receive(self, hops: int) -> np.ndarray:
        """Audio of the last steps, float64 (hops * hop,)."""
        return np.concatenate([self.audio_out.external_pipe_csp_recv_port.recv() for _ in range(hops)])


@implements(proc=Outlet, protocol=LoihiProtocol)
@requires(CPU)
class PyOutletModel(_Relay):
    """Sends what it gets to the caller."""
