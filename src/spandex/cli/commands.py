"""All commands, registered with the application."""

from spandex.cli import builds, networks, pipeline, tracking, training
from spandex.cli.application import app

__all__ = ["app", "builds", "networks", "pipeline", "tracking", "training"]
