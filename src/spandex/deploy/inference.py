"""Denoise clips with a network deployed in Lava, through the whole chain of Lava processes.

::

    source -noisy-> encoder -----encoded----> network -----> decoder -denoised-> receiver
      |                |                                        |                   |
      |                `-----spectrum-----> delay (1 step) -----'                   |
      `--------------clean--------------> delay (all of it) -----------------------'
"""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lava.lib.dl.netx.blocks.process import Input
from lava.magma.core.run_configs import Loihi2HwCfg, Loihi2SimCfg, RunConfig
from lava.utils import loihi

from spandex.deploy.codec import check_audio, clip_steps, delay_steps, mask_steps
from spandex.deploy.execution import execution, processes_forgotten
from spandex.deploy.lava_models import FAST_MODELS
from spandex.deploy.netx import Network
from spandex.deploy.processes import AudioReceiver, AudioSource, Decoder, Delay, Encoder
from spandex.deploy.sparsity_map import SparsityMap
from spandex.errors import SpandexError
from spandex.metrics import si_snr
from spandex.networks.hdf5 import check_encoding
from spandex.networks.scaling import framing
from spandex.params.section import DENSITY_THRESHOLD


@dataclass(frozen=True)
class Inference:
    """A clip through the Lava chain.

    Attributes:
        name: of the clip.
        denoised: audio (samples,), float32, sample by sample the denoised version of the noisy input.
        si_snr_noisy: SI-SNR of the input against the clean audio, dB.
        si_snr: SI-SNR of the output against the clean audio, dB.
        delay: samples that the output came later than the input: the framing of the STFT and one network
            step. ``denoised`` is already shifted back by it.
        steps: network steps run.
        wrapped_outputs: number of the network's outputs that left their 24 bits and wrapped.
    """

    name: str
    denoised: np.ndarray
    si_snr_noisy: float
    si_snr: float
    delay: int
    steps: int
    wrapped_outputs: int


def infer(
    network_path: str | os.PathLike,
    clips: Sequence[tuple[np.ndarray, np.ndarray, str]],
    sparsity_map: SparsityMap = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    run_config: Literal["sim", "loihi2"] = "sim",
    hop: int | None = None,
    fast: bool = False,
    lookahead: int = 0,
) -> list[Inference]:
    """Run clips through the Lava chain in fixed point, each in a chain of its own so that no state crosses clips.

    Args:
        network_path: HDF5 network as lava-dl exports it.
        clips: (noisy, clean, name) each, with audio (samples,) in [-1, 1].
        sparsity_map, density_threshold: which layers get sparse synapses, see ``Network``.
        run_config: ``"sim"`` simulates Loihi 2 bit for bit on the CPU, ``"loihi2"`` runs on the chip.
        hop: samples a network step; a quarter of a frame if None.
        fast: simulate synapses with ``spandex.deploy.lava_models`` in place of Lava's own models, with the same result.
        lookahead: see ``denoiser``.

    Raises:
        SpandexError: the network or a clip cannot be used, Loihi 2 is not reachable, or a Lava process failed.
    """
    config = _lava_run_config(run_config, fast)
    results = []
    for noisy, clean, name in clips:
        _check_clip(noisy, clean, name)
        with processes_forgotten():
            network = Network(network_path, sparsity_map, density_threshold)
            results.append(_run_clip(network, noisy, clean, name, hop, config, lookahead))
    return results


def _run_clip(
    network: Network,
    noisy: np.ndarray,
    clean: np.ndarray,
    name: str,
    hop: int | None,
    config: RunConfig,
    lookahead: int,
) -> Inference:
    n_fft, hop = network_framing(network, hop)
    delay = delay_steps(n_fft, hop, lookahead)
    steps = clip_steps(len(noisy), n_fft, hop, lookahead)

    source = AudioSource(noisy, clean, hop)
    encoder = Encoder(n_fft, hop)
    spectrum_delay = Delay(encoder.spectrum_out.shape, mask_steps(lookahead))
    clean_delay = Delay(source.clean_out.shape, delay)
    decoder = Decoder(n_fft, hop)
    receiver = AudioReceiver(hop, steps)

    source.noisy_out.connect(encoder.audio_in)
    source.clean_out.connect(clean_delay.data_in)
    encoder.spectrum_out.connect(spectrum_delay.data_in)
    spectrum_delay.data_out.connect(decoder.spectrum_in)
    decoder.audio_out.connect(receiver.denoised_in)
    clean_delay.data_out.connect(receiver.clean_in)
    _connect_network(encoder, network, decoder, on_chip=isinstance(config, Loihi2HwCfg))

    with execution(source, config) as run:
        run.steps(steps)
        wrapped_outputs = int(decoder.wrapped_outputs.get()[0])
        denoised, received_clean = (
            audio[delay * hop :][: len(noisy)].astype(np.float32) for audio in receiver.collect()
        )
    return Inference(
        name=name,
        denoised=denoised,
        si_snr_noisy=float(si_snr(noisy, clean)),
        si_snr=float(si_snr(denoised, received_clean)),
        delay=delay * hop,
        steps=steps,
        wrapped_outputs=wrapped_outputs,
    )


def network_framing(network: Network, hop: int | None = None) -> tuple[int, int]:
    """Samples of a frame and of a hop that a netx network was made for; see ``spandex.networks.scaling.framing``."""
    inputs, outputs = ([int(size) for size in shape] for shape in (network.in_layer.shape, network.out.shape))
    if not isinstance(network.in_layer, Input):
        raise SpandexError(f"{network.filename}: no mask network; it has no input layer")
    check_encoding(network.filename)
    if len(inputs) != 1 or len(outputs) != 1:
        raise SpandexError(f"{network.filename}: no mask network; it maps values of shape {inputs} to {outputs}")
    return framing(*inputs, *outputs, network.filename, hop)


def _connect_network(encoder: Encoder, network: Network, decoder: Decoder, on_chip: bool) -> None:
    neurons = network.in_layer.neuron.a_in
    if not on_chip:
        encoder.encoded_out.connect(neurons)
        network.out.connect(decoder.output_in)
        return
    from lava.proc.embedded_io.spike import NxToPyAdapter, PyToNxAdapter  # part of Intel's Loihi extension

    to_chip = PyToNxAdapter(shape=neurons.shape, num_message_bits=16)
    from_chip = NxToPyAdapter(shape=network.out.shape, num_message_bits=32)
    encoder.encoded_out.connect(to_chip.inp)
    to_chip.out.connect(neurons)
    network.out.connect(from_chip.inp)
    from_chip.out.connect(decoder.output_in)


def _lava_run_config(name: str, fast: bool) -> RunConfig:
    if name == "sim":
        return Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=FAST_MODELS if fast else None)
    if name != "loihi2":
        raise SpandexError(f'run configuration {name!r} is neither "sim" nor "loihi2"')
    if not loihi.is_installed() or importlib.util.find_spec("lava.proc.embedded_io") is None:
        raise SpandexError(
            'Loihi 2 needs Intel\'s Lava extension for Loihi (lava-loihi), which is not installed; "sim" runs without'
        )
    return Loihi2HwCfg(select_tag="fixed_pt")


def _check_clip(noisy: np.ndarray, clean: np.ndarray, name: str) -> None:
    check_audio(noisy, f"{name}: noisy audio")
    if clean.shape != noisy.shape:
        raise SpandexError(f"{name}: {len(noisy)} noisy samples but clean audio of shape {clean.shape}")
    check_audio(clean, f"{name}: clean audio")
