"""Where a command of the shell begins."""

import os
import sys
from multiprocessing import parent_process

from spandex.cli.warm import ADDRESS, handed_over


def app() -> None:
    """Run the command line in a process that a build keeps with all libraries loaded; here, where this is one."""
    status = None
    if ADDRESS in os.environ and parent_process() is None:
        status = handed_over(os.environ[ADDRESS])
    if status is None:
        from spandex.cli.commands import app

        app()
    sys.exit(status)
