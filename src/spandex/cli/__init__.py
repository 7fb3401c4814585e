"""The command line: one subcommand for each step of the workflow, which calls nothing else, and those for a network.

Each command imports what it needs when it runs.
"""

from spandex.cli import networks, pipeline
from spandex.cli.app import app

__all__ = ["app", "networks", "pipeline"]
