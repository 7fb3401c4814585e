"""What a network file holds, as a table or as JSON."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spandex.deploy.sparsity_map import parse_sparsity_map, resolve_sparsity_map, warn_of_clamped_delays
from spandex.deploy.survey import SurveyedLayer, survey
from spandex.errors import prefixed
from spandex.files import refuse_overwriting, write_text
from spandex.files.text import read_text
from spandex.metrics.size import TOTALS, LayerSize, deployed_size
from spandex.networks.hdf5 import DeployedLayer, missing_input_shape, without_message_bits
from spandex.params.section import DENSITY_THRESHOLD

COLUMNS = {  # heading of the table: what describe() calls it
    "layer": "index",
    "type": "type",
    "neuron": "neuron",
    "shape": "shape",
    "inputs": "inputs",
    "threshold": "threshold",
    "weights": "nonzero_weights",
    "zeros": "zero_weights",
    "delays": "nonzero_delays",
    "longest": "max_delay",
    "bits": "weight_bits",
    "exponent": "weight_exponent",
    "unrolled": "unrolled",
    "synapses": "sparse",
    "sum bits": "largest_sum_bits",
}
MESSAGE_BITS = {"SDNN": 16}  # that netx gives the neurons' messages, sign included; all others send 1 or nothing


def info(
    network: Path,
    output: Path | None = None,
    sparsity_map: str = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
) -> None:
    """Print ``describe`` as a table with the totals below, then the network's card, and write ``describe`` as JSON.

    A card is what lies beside a network as ``network.md`` beside ``network.net``.

    Raises:
        SpandexError: as ``describe``, or the network would be overwritten.
    """
    if output is not None:
        refuse_overwriting([output], [network])
    found = describe(network, sparsity_map, density_threshold)
    if output is not None:
        write_text(output, json.dumps(found, indent=2) + "\n")
    print("\n".join(_text(found)))
    if (card := network.with_suffix(".md")).is_file():
        print(f"\n{read_text(card)}", end="")


def describe(network: Path, sparsity_map: str = "auto", density_threshold: float = DENSITY_THRESHOLD) -> dict[str, Any]:
    """Layers and size of a network file, and what runs them, as JSON can hold it; warns of delays that get clamped.

    Args:
        network: HDF5 network as lava-dl exports it, with layers of any type.
        sparsity_map: as typed, see ``parse_sparsity_map``.
        density_threshold: largest density that ``auto`` makes sparse.

    Returns:
        nonzero_weights, nonzero_delays, parameters, size_kb (1024 bytes), deployed_sparsity (0 to 1) of all layers
        together that can be read; sparsity_map {layer: sparse}, clamped_delays, uncounted_layers
        (numbers of those with weights that the totals leave out), input_message_bits_missing (whether
        ``spandex run`` has to be told them), input_shape_missing (what is known of it where it has to be told), and
        layers. A layer has what ``SurveyedLayer`` has, but for its deployed,
        neurons, zero_weights, max_delay in place of longest_delay, and, None unless it is one of the totals,
        deployed_sparsity, weight_bits and weight_exponent of Lava's synapse,
        size_weight_bits and size_delay_bits that a non-zero weight or delay counts for in size_kb, sparse, and the
        largest sum that its weights allow with messages of all their bits: largest_sum, of magnitude, as it reaches a
        neuron, its largest_sum_bits with the sign, fits_24_bits (Loihi 2's neurons) and, before the exponent moves it
        down, fits_32_bits (Lava's simulation).

    Raises:
        SpandexError: the file is no lava-dl network, or the map does not fit it.
    """
    layers = survey(network)
    deployed = [layer.deployed for layer in layers if layer.deployed is not None]
    understood = [layer.deployed for layer in itertools.takewhile(lambda layer: layer.deployed is not None, layers)]
    connected = [layer.synapses for layer in deployed if layer.synapses is not None]
    held = [part for layer in deployed if (part := layer.held) is not None]
    densities = {layer.index: part.density for layer in deployed if (part := layer.connected)}
    with prefixed(f"{network}: "):
        sparse = resolve_sparsity_map(parse_sparsity_map(sparsity_map), densities, density_threshold)
    warn_of_clamped_delays(network, connected)
    size = deployed_size(held)
    sizes = dict(zip((part.index for part in held), size.layers, strict=True))
    return {
        "network": str(network),
        **{total: getattr(size, total) for total in TOTALS},
        "sparsity_map": {str(index): chosen for index, chosen in sparse.items()},
        "clamped_delays": sum(synapses.clamped_delays for synapses in connected),
        "uncounted_layers": [layer.index for layer in layers if layer.weights and layer.index not in sizes],
        "input_message_bits_missing": without_message_bits(understood) is not None,
        "input_shape_missing": missing_input_shape(understood),
        "layers": [
            _layer(layer, sizes.get(layer.index), sparse.get(layer.index))
            | _largest_sum(
                layer.deployed and layer.deployed.held,
                [before.neuron for before in layers[: layer.index] if before.neuron],
            )
            for layer in layers
        ],
    }


def _layer(layer: SurveyedLayer, size: LayerSize | None, sparse: bool | None) -> dict[str, Any]:
    synapses = layer.deployed and layer.deployed.held
    return {
        "index": layer.index,
        "type": layer.type,
        "neuron": layer.neuron,
        "shape": None if layer.shape is None else list(layer.shape),
        "neurons": layer.neurons,
        "threshold": layer.threshold,
        "inputs": layer.inputs,
        "weights": layer.weights,
        "nonzero_weights": layer.nonzero_weights,
        "zero_weights": None if layer.weights is None else layer.weights - layer.nonzero_weights,
        "nonzero_delays": layer.nonzero_delays,
        "max_delay": layer.longest_delay,
        "deployed_sparsity": size and size.deployed_sparsity,
        "weight_bits": synapses and synapses.num_weight_bits,
        "weight_exponent": synapses and synapses.weight_exponent,
        "size_weight_bits": size and size.weight_bits,
        "size_delay_bits": size and size.delay_bits,
        "unrolled": layer.deployed and layer.deployed.unrolled,
        "sparse": sparse,
        "netx": layer.netx,
        "executor": layer.executor,
    }


def _largest_sum(synapses: DeployedLayer | None, senders: list[str]) -> dict[str, int | bool | None]:
    """What neurons of the last of these types can make of the weights."""
    if synapses is None:
        return dict.fromkeys(("largest_sum", "largest_sum_bits", "fits_24_bits", "fits_32_bits"))
    message = 1 << MESSAGE_BITS.get(senders[-1] if senders else "", 1) - 1
    unshifted = int(np.abs(synapses.weights).sum(axis=1).max()) * message
    largest = unshifted >> -synapses.weight_exponent
    bits = largest.bit_length() + 1
    return {
        "largest_sum": largest,
        "largest_sum_bits": bits,
        "fits_24_bits": bits <= 24,
        "fits_32_bits": unshifted.bit_length() < 32,
    }


def _text(found: dict[str, Any]) -> list[str]:
    rows = [list(COLUMNS), *([_cell(key, layer) for key in COLUMNS.values()] for layer in found["layers"])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if cell[:1].isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines.append("")
    lines.append(
        f"{found['nonzero_weights']:,} non-zero weights + {found['nonzero_delays']:,} non-zero delays "
        f"= {found['parameters']:,} parameters, {found['size_kb']:,.2f} KB, "
        f"deployed sparsity {found['deployed_sparsity']:.1%}"
    )
    for width, of in ((24, "Loihi 2's neurons"), (32, "Lava's simulation")):
        wider = [layer["index"] for layer in found["layers"] if layer[f"fits_{width}_bits"] is False]
        if wider:
            lines.append(
                f"sums may leave the {width} bits of {of} in {_numbered(wider)}; spandex run counts those that do"
            )
    if found["uncounted_layers"]:
        lines.append(f"the totals leave out {_numbered(found['uncounted_layers'])}")
    first = found["layers"][0]["shape"]
    if first is not None and len(first) == 3 and found["layers"][0]["type"] == "input":
        channels, height, width = first
        order = f"(x * {height} + y) * {channels} + channel"
        lines.append(f"inputs: images of {width}x{height}x{channels} (x, y, channel), in the order {order}")
    return lines + _what_runs(found)


def _what_runs(found: dict[str, Any]) -> list[str]:
    """A line for each thing that stock netx, or the executor too, lacks for some layers."""
    lines = []
    lacking = [layer for layer in found["layers"] if layer["netx"]]
    for (reason, netx), group in itertools.groupby(lacking, lambda layer: (layer["executor"], layer["netx"])):
        runs = "the executor, not stock netx" if reason is None else "neither the executor nor stock netx"
        lines.append(f"{_numbered([layer['index'] for layer in group])}: {netx}; run by {runs}")
    if found["input_message_bits_missing"]:
        lines.append("sigma-delta neurons without an input layer: spandex run needs --input-message-bits")
    if found["input_shape_missing"]:
        lines.append(f"{found['input_shape_missing']}: spandex run needs --input-shape")
    return lines


def _numbered(layers: Sequence[int]) -> str:
    return f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"


def _cell(key: str, layer: dict[str, Any]) -> str:
    value = layer[key]
    if value is None:
        return ""
    if key == "sparse":
        return "sparse" if value else "dense"
    if key == "zero_weights":
        return f"{value / layer['weights']:.1%}" if layer["weights"] else ""
    if key == "shape":
        return "x".join(map(str, value))
    if isinstance(value, list):
        return f"{min(value):g} to {max(value):g}"
    if isinstance(value, str):
        return value if value.isprintable() else repr(value)
    return f"{value:,}"
