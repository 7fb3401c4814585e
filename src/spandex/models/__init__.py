"""The sigma-delta denoiser of the Intel Neuromorphic DNS Challenge, its spectra and its files."""

from spandex.models.files import export_hdf5, from_hdf5, load_published, load_state, save_state
from spandex.models.sdnn import SDNN, denoise
from spandex.models.spectrum import istft, stft

__all__ = [
    "SDNN",
    "denoise",
    "export_hdf5",
    "from_hdf5",
    "istft",
    "load_published",
    "load_state",
    "save_state",
    "stft",
]
