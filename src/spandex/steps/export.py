"""A trained network as lava-dl writes it for netx."""

from pathlib import Path

from spandex.files import refuse_overwriting
from spandex.networks import export_hdf5
from spandex.params import Params
from spandex.sparsify import shrink
from spandex.steps.common import stored_network


def export(params: Params, name: str, network_file: Path, output: Path) -> None:
    """Write a network as lava-dl HDF5, without the neurons that nothing listens to if the parameters say so."""
    refuse_overwriting([output], [network_file])
    network = stored_network(params, name, network_file)
    export_hdf5(shrink(network) if params.network(name).shrink else network, output)
