"""Commands for the runs that builds logged to MLflow."""

from typing import Annotated

import typer

from spandex.cli.application import Panel, command
from spandex.errors import SpandexError

runs = command(Panel.RUNS)


@runs
def ui(port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 5000) -> None:
    """Browse the runs of this checkout in MLflow, on this machine only, at the address printed; charts come first.

    \b
    Examples:
      spandex ui
      spandex ui --port 5001
    """
    from spandex.steps import tracking

    tracking.browse(port)


@runs
def sync_runs() -> None:
    """Log what builds could not; copy builds that were logged here, while their server was away, to that server.

    MLFLOW_TRACKING_URI names the server. The next build copies to it by itself.
    """
    from spandex.steps import tracking
    from spandex.tracking import default_uri, is_server

    logged, problems = tracking.log_unlogged()
    if logged:
        print(f"{logged} report(s) logged")
    server = default_uri()
    if is_server(server):
        copied, lost = tracking.sync_runs(server)
        print(f"{copied} build(s) copied to {server}")
        problems += lost
    elif not logged and not problems:
        raise SpandexError("nothing to log, and MLFLOW_TRACKING_URI names no tracking server to copy to")
    if problems:
        raise SpandexError("; ".join(problems))
