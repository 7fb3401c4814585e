"""A trained network as lava-dl writes it for netx."""

from pathlib import Path

from spandex.files import refuse_overwriting
from spandex.networks import export_hdf5, load_state
from spandex.params import Params
from spandex.sparsify import shrink
from spandex.steps.common import new_network


def export(params: Params, network_file: Path, output: Path, without_idle: bool = False) -> None:
    """Write a network as lava-dl HDF5; ``without_idle``: without the neurons that nothing listens to."""
    refuse_overwriting([output], [network_file])
    network = new_network(params)
    load_state(network, network_file)
    export_hdf5(shrink(network) if without_idle else network, output)
