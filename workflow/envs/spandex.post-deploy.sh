#!/usr/bin/env bash
# conda cannot ignore lava's upper bound on Python; uv does, and installs what the lock file pins
set -euo pipefail
uv pip sync --python "$CONDA_PREFIX/bin/python" --require-hashes requirements.lock
uv pip install --python "$CONDA_PREFIX/bin/python" --no-deps --no-build-isolation --editable .
