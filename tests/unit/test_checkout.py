import os
import shutil
import subprocess
import sys
from pathlib import Path

from spandex import checkout
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


def test_copy_of_the_installed_package_is_not_run_instead_of_it(tmp_path, monkeypatch):
    became = []
    monkeypatch.setattr(checkout.os, "execve", lambda *command: became.append(command))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    shutil.copytree(checkout.PACKAGE, tmp_path / "src/spandex", ignore=shutil.ignore_patterns("__pycache__"))
    checkout.run_code_of(tmp_path)
    assert became == []
    (tmp_path / "src/spandex/report/table.py").write_text("another version")
    checkout.run_code_of(tmp_path)
    assert len(became) == 1
