"""The command line: a subcommand for each step of the workflow, which calls nothing else, and those for one's own work.

Each command imports what it needs when it runs; of this package, too, only what is asked for is loaded.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
