"""Networks in Lava: sparse conversion, exact execution, the audio chain of Lava processes and its inference.

Modules are loaded when something of theirs is first asked for, as ``__init__.pyi`` says: Lava and torch take seconds
and most of a GB.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
