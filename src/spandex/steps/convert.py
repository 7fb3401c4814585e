"""A network file written for stock netx."""

from pathlib import Path

from spandex.files import refuse_overwriting
from spandex.networks.pools import pools_as_convolutions


def convert(network: Path, output: Path) -> None:
    """Write a network file with convolutions in the place of pools, and print which layers were pools."""
    refuse_overwriting([output], [network])
    pools = pools_as_convolutions(network, output)
    print(f"{output}: pools written as convolutions: {', '.join(f'layer {index}' for index in pools) or 'none'}")
