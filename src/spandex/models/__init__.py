"""The sigma-delta denoiser of the Intel Neuromorphic DNS Challenge, networks in its place, their spectra and files."""

from spandex.models.factory import from_factory
from spandex.models.files import export_hdf5, from_hdf5, load_network, load_state, save_state
from spandex.models.sdnn import SDNN, MaskNetwork, denoise
from spandex.models.spectrum import istft, magnitudes, stft

__all__ = [
    "SDNN",
    "MaskNetwork",
    "denoise",
    "export_hdf5",
    "from_factory",
    "from_hdf5",
    "istft",
    "load_network",
    "load_state",
    "magnitudes",
    "save_state",
    "stft",
]
