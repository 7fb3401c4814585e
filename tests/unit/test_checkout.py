import os
import subprocess
import sys
from pathlib import Path

from spandex.checkout import main_checkout

SPANDEX = Path(sys.executable).with_name("spandex")


def test_workspace_of_dvc_belongs_to_the_checkout_around_it(tmp_path):
    assert main_checkout(tmp_path / ".dvc/tmp/exps/tmpabc") == tmp_path.resolve()
    assert main_checkout(tmp_path / ".dvc/tmp/exps/standalone/tmpabc/src") == tmp_path.resolve()
    assert main_checkout(tmp_path) == tmp_path.resolve()
    assert main_checkout(tmp_path / ".dvc/tmp") == (tmp_path / ".dvc/tmp").resolve()


def test_command_runs_the_package_of_the_clone_that_it_is_called_in(tmp_path):
    package = tmp_path / "src/spandex"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cli.py").write_text("import os\ndef app(): print('the clone', os.environ['PYTHONPATH'])\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([SPANDEX, "--help"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == f"the clone {tmp_path / 'src'}"
