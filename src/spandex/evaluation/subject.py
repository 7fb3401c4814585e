"""A network that is evaluated: as deployed, and, where asked for, as trained."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spandex.deploy.codec import executor_framing
from spandex.deploy.executor import Executor
from spandex.deploy.sparsity_map import SparsityMap
from spandex.errors import SpandexError
from spandex.files import sha256
from spandex.kernels import accelerate
from spandex.metrics import NetworkSize, network_size
from spandex.networks import MaskNetwork, from_hdf5, load_state
from spandex.params.section import DENSITY_THRESHOLD


@dataclass(frozen=True)
class Subject:
    """A network file, ready to be evaluated.

    Attributes:
        name: in tables and JSON.
        digest: of everything that its scores depend on.
        executor: the deployed network.
        n_fft, hop: samples of a frame and of a step.
        lookahead: steps later than its own of which a frame gets the mask.
        size: parameters as deployed.
        float_network: the same network in floating point; None if that is not wanted.
        float_weights: what that one's weights are, as names of scores say it: ``float`` as trained, or ``quantised``
            where only the HDF5 tells them.
    """

    name: str
    digest: str
    executor: Executor
    n_fft: int
    hop: int
    lookahead: int
    size: NetworkSize
    float_network: MaskNetwork | None
    float_weights: Literal["float", "quantised"]


def load_subject(
    path: str | os.PathLike,
    name: str | None = None,
    *,
    with_float: bool = False,
    float_network: MaskNetwork | None = None,
    float_path: str | os.PathLike | None = None,
    sparsity_map: SparsityMap = "auto",
    density_threshold: float = DENSITY_THRESHOLD,
    hop: int | None = None,
    lookahead: int = 0,
) -> Subject:
    """Load a network.

    Args:
        path: HDF5 network as lava-dl exports it, whose outputs mask the spectrum that its inputs see.
        name: by default the file's, or its folder's where the file is called network.net.
        with_float: load the float network too.
        float_network: a network to load the float version into; the SDNN of ``path`` if None.
        float_path: state dict of the float network; its weights are taken from ``path``, rounded to 8 bits as they
            are in training, if None. A ``float_network`` that is given needs it.
        sparsity_map, density_threshold: see ``spandex.deploy.Network``.
        hop: samples a step; a quarter of a frame if None.
        lookahead: see ``spandex.deploy.denoiser``.

    Raises:
        SpandexError: a file cannot be used.
    """
    path = Path(path)
    executor = Executor(path, sparsity_map, density_threshold)
    n_fft, hop = executor_framing(executor, path, hop)
    digest = f"{sha256(path)} {hop} {lookahead} {sparsity_map} {density_threshold}"
    network = None
    if with_float:
        digest += " float"
        network = from_hdf5(path, hop) if float_network is None else float_network
        network.hop, network.lookahead = hop, lookahead
        if float_path is not None:
            load_state(network, float_path)
            digest += f" {sha256(float_path)}"
        accelerate(network.eval())
    weights = "quantised" if float_path is None else "float"
    name, size = name or network_name(path), network_size(path)
    return Subject(name, digest, executor, n_fft, hop, lookahead, size, network, weights)


def network_name(path: Path) -> str:
    """What a network is called that is given no name: as its file, or as its folder where that is network.net."""
    return path.parent.name if path.stem == "network" and path.parent.name else path.stem


def check_distinct(names: Sequence[str]) -> None:
    """Raise SpandexError if two networks have one name."""
    for name in names:
        if names.count(name) > 1:
            raise SpandexError(f"two networks are called {name!r}; give each a name of its own")
