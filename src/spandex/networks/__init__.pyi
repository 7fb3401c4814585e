from .factory import from_factory
from .files import export_hdf5, from_hdf5, load_network, load_state, save_state
from .hdf5 import DeployedLayer, deployed_weights
from .pools import pools_as_convolutions
from .sdnn import SDNN, MaskNetwork, denoise
from .spectrum import istft, magnitudes, stft

__all__ = [
    "SDNN",
    "DeployedLayer",
    "MaskNetwork",
    "denoise",
    "deployed_weights",
    "export_hdf5",
    "from_factory",
    "from_hdf5",
    "istft",
    "load_network",
    "load_state",
    "magnitudes",
    "pools_as_convolutions",
    "save_state",
    "stft",
]
