"""The command line: a subcommand for each step of the workflow, which calls nothing else, and those for one's own work.

Each command imports what it needs when it runs.
"""

from spandex.cli import builds, networks, pipeline, tracking, training
from spandex.cli.app import app

__all__ = ["app", "builds", "networks", "pipeline", "tracking", "training"]
