"""A network on recorded inputs."""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from spandex.deploy.executor import Executor, LayerActivity, input_numbers
from spandex.deploy.layers import DEFAULTS, NetxOptions
from spandex.deploy.sparsity_map import parse_sparsity_map
from spandex.errors import SpandexError, prefixed
from spandex.files import atomic_path, refuse_overwriting
from spandex.files.arrays import read_array
from spandex.params.section import DENSITY_THRESHOLD


def run(
    net: Path,
    inputs: Path,
    output: Path,
    backend: str = "events",
    sparsity_map: str = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    options: NetxOptions = DEFAULTS,
    read: str = "spikes",
    layers: Path | None = None,
    unroll: bool = False,
) -> None:
    """Run ``net`` on a NumPy file of whole numbers (inputs, steps) and write int32 (outputs, steps).

    Images have x, y and channels in the place of inputs or outputs.

    Args:
        net: HDF5 network.
        inputs, output: files.
        backend: ``"events"``, the executor, which also tells what left its range, or ``"lava"``; both give the same.
        sparsity_map: as typed, see ``parse_sparsity_map``.
        density_threshold: largest density that ``auto`` makes sparse.
        options: of the network.
        read: of the last layer, ``"spikes"`` or ``"voltage"``.
        layers: NumPy archive to write, of what each layer sent (LAYER.spikes) and its state after the last step.
        unroll: with Lava, convolutions as ``Unrolled`` synapses, whose numbers are told.

    Raises:
        SpandexError: a file cannot be used.
    """
    written = [output] if layers is None else [output, layers]
    refuse_overwriting(written, [net, inputs])
    if layers is not None and layers.resolve() == output.resolve():
        raise SpandexError(f"{output}: is to hold the outputs and the layers; choose another file for one of them")
    everything = {
        "sparsity_map": parse_sparsity_map(sparsity_map),
        "density_threshold": density_threshold,
        **asdict(options),
    }
    if backend == "events":
        if unroll:
            raise SpandexError("--unroll is for the backend lava; the executor sums kernels as they are")
        outputs, told = _run_events(net, everything, inputs, read == "voltage", layers)
    elif read == "voltage" or layers is not None:
        raise SpandexError("voltages and layers are read with the backend events")
    else:
        outputs, told = _run_lava(net, everything | {"unroll": unroll}, inputs)
    with atomic_path(output) as temporary, temporary.open("wb") as file:  # a name without .npy stays as it is
        np.save(file, np.ascontiguousarray(outputs))
    *shape, steps = outputs.shape
    print("\n".join([f"{output}: {'x'.join(map(str, shape))} outputs, {steps} steps", *told]))


def _run_events(
    net: Path, options: dict[str, Any], inputs: Path, voltage: bool, layers: Path | None
) -> tuple[np.ndarray, list[str]]:
    """The outputs, and a line for each layer on what left its range."""
    data = read_array(inputs)
    executor = Executor(net, **options)
    if voltage:
        with prefixed(f"{net}: "):
            executor.check_voltage()
    with prefixed(f"{inputs}: "):
        result = executor.run(input_numbers(data, executor.takes_spikes), record=layers is not None, voltage=voltage)
    if layers is not None:
        parts = {
            f"{layer.name}.{name}": part
            for layer, spikes, state in zip(executor.layers, result.spikes, result.state.layers, strict=True)
            for name, part in {"spikes": spikes, **state.neurons._asdict()}.items()
        }
        with atomic_path(layers) as temporary, temporary.open("wb") as file:
            np.savez(file, **parts)
    for layer in result.activity:
        if layer.sums_beyond_32_bits:
            warnings.warn(
                f"layer {layer.name}: {layer.sums_beyond_32_bits} sums left 32 bits; sparse and dense synapses with "
                "delays differ there",
                stacklevel=2,
            )
    return result.voltage if voltage else result.outputs, [_beyond(layer) for layer in result.activity]


def _run_lava(net: Path, options: dict[str, Any], inputs: Path) -> tuple[np.ndarray, list[str]]:
    """The outputs, and a line for each convolution that is unrolled; Lava does not tell what left its range."""
    from lava.lib.dl.netx.blocks.process import Input

    from spandex.deploy.execution import processes_forgotten
    from spandex.deploy.lava_run import run_in_lava
    from spandex.deploy.netx import Network

    data = read_array(inputs)
    with processes_forgotten():
        network = Network(net, **options)
        spikes = not isinstance(network.in_layer, Input) and not network.in_layer.input_message_bits
        with prefixed(f"{inputs}: "):
            outputs = run_in_lava(network, input_numbers(data, spikes))
        unrolled = network.unrolled_layers.items()
    return outputs, [f"layer {index}: simulated as {synapses:,} unrolled synapses" for index, synapses in unrolled]


def _beyond(layer: LayerActivity) -> str:
    on_chip = f"{layer.sums_beyond_24_bits:,} sums and {layer.states_beyond_24_bits:,} states left Loihi 2's 24 bits"
    in_lava = f"{layer.sums_beyond_32_bits:,} and {layer.states_beyond_32_bits:,} the 32 bits of Lava's simulation"
    return f"layer {layer.name}: {on_chip}, {in_lava}"
