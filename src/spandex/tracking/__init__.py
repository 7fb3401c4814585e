"""MLflow tracking: one parent run a build, one child run a model, and the networks as registered models.

The store is the one that MLFLOW_TRACKING_URI names, or else an sqlite file with a folder of artifacts beside it.
Everything can be logged again: points, params, models and tags that are there already are left as they are. That is
why a server may go away at any time: the build goes on in a local store, which is copied to the server later.
"""

from spandex.tracking import environment
from spandex.tracking.build import Build, default_uri, is_server, local_uri, notice, sqlite_file

__all__ = ["Build", "default_uri", "environment", "is_server", "local_uri", "notice", "sqlite_file"]
