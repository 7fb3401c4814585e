"""All commands, registered with the application."""

from spandex.cli import builds, networks, pipeline, tracking, training
from spandex.cli.application import Panel, app

app.registered_commands.sort(key=lambda command: list(Panel).index(command.rich_help_panel))

__all__ = ["app", "builds", "networks", "pipeline", "tracking", "training"]
