"""What a denoiser is judged by: SI-SNR, DNSMOS, events and power proxy, latency, size.

Modules are loaded when something of theirs is first asked for, as ``__init__.pyi`` says.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
