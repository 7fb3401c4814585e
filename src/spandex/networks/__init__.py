"""The sigma-delta denoiser of the Intel Neuromorphic DNS Challenge, networks in its place, their spectra and files.

Modules are loaded when something of theirs is first asked for, as ``__init__.pyi`` says: torch takes seconds, and what
reads an HDF5 network as plain arrays does without.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
