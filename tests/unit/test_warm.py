"""Commands whose work a server does that has the libraries loaded."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from denoising import N_FFT, small_network
from spandex.cli.warm import ADDRESS, HERE, handed_over

BUILD = """
import subprocess, sys
from spandex.cli import warm
warm.start()
print(__import__("os").environ.get(warm.ADDRESS), flush=True)
sys.stdin.read()
"""
# the installed command, whatever PYTHONPATH says
SOURCE = Path(__file__).parents[2] / "src"
COMMAND = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from spandex.cli import app; app()"
START_S = 120  # on a busy machine


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def build() -> Iterator[subprocess.Popen]:
    """A process that has started a server, whose address it prints."""
    process = subprocess.Popen([sys.executable, "-c", BUILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def server(build) -> dict[str, str]:
    """The variables of a command that hands itself over."""
    address = build.stdout.readline().strip()
    assert folder_of(address).exists()
    return os.environ | {ADDRESS: address}


def folder_of(address: str) -> Path:
    return Path(address.rpartition(os.pathsep)[2]).parent


def started(server: dict[str, str], *arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-c", COMMAND, *arguments]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, env=server, text=True, start_new_session=True, **pipes, **options)


def test_streams_folder_arguments_and_status_are_those_of_the_command(server, tmp_path):
    process = started(server, "info", "there is none.net", cwd=tmp_path)
    assert process.communicate() == ("", "spandex info: there is none.net: no such file\n")
    assert process.returncode == 1
    (tmp_path / "params.yaml").write_text("seed: 1\nseed: 2\n")
    process = started(server, "networks", cwd=tmp_path)
    assert "params.yaml: not YAML (line 2" in process.communicate()[1] and process.returncode == 1
    assert started(server, "--nothing").wait() == 2


def test_variables_and_code_are_those_of_the_command(server, tmp_path):
    package = tmp_path / "src/spandex/cli"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(
        "import os\ndef app():\n    print(os.environ['COLOUR'])\n    raise SystemExit(7)"
    )
    process = started(server | {"COLOUR": "green", "PYTHONPATH": str(tmp_path / "src")})
    assert (*process.communicate(), process.returncode) == ("green\n", "", 7)


@pytest.fixture
def streaming(server, tmp_path) -> Iterator[subprocess.Popen]:
    """A command that waits for more at its standard input, having said something."""
    network = small_network(tmp_path / "network.net")
    process = started(server, "denoise", "--stream", "--network", str(network))
    process.stdin.write("\0" * 2 * N_FFT * 100)
    process.stdin.flush()
    assert process.stdout.read(1)
    yield process
    process.kill()
    process.communicate()


def jobs_of(process: subprocess.Popen) -> list[Path]:
    """Other processes that read the standard input of this one."""
    pipe = Path(f"/proc/{process.pid}/fd/0").readlink()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name != str(process.pid) and (folder / "fd/0").readlink() == pipe:
                found.append(folder)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_reach_the_job(self, streaming, number):
        streaming.send_signal(number)
        said = streaming.communicate()[1]
        name = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
        assert (streaming.returncode, said) == (130, f"spandex denoise: {name}\n")

    def test_job_ends_with_a_command_that_is_killed(self, streaming):
        jobs = jobs_of(streaming)
        streaming.kill()
        streaming.wait()
        assert jobs
        wait_until(lambda: not any(job.exists() for job in jobs))


def test_sidecar_is_that_of_a_command_that_loads_all_itself(server, tmp_path):
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    recipe = json.dumps({"keys": ["seed"], "without": [], "inputs": ["params.yaml"], "outputs": ["latency.json"]})
    clips = tmp_path / "clips.json"
    clips.write_text("[]")
    found = []
    for variables in (server, os.environ):
        command = ("--recipe", recipe, "networks")
        (tmp_path / "latency.json").write_text("{}")
        process = started(dict(variables), *command, cwd=tmp_path)
        assert process.communicate()[1].startswith("used ") and process.returncode == 0
        found.append((tmp_path / "latency.json.recipe.json").read_text())
    assert found[0] == found[1]


def test_without_a_server_the_command_does_its_work(tmp_path):
    process = started(os.environ | {ADDRESS: os.pathsep.join([HERE, str(tmp_path)])}, "info", "none.net", cwd=tmp_path)
    assert process.communicate() == ("", "spandex info: none.net: no such file\n")


def test_server_of_another_environment_is_left_alone(server):
    assert handed_over(server[ADDRESS].replace(HERE, "/other")) is None


def test_server_ends_with_the_build_and_leaves_no_folder(build, server):
    build.stdin.close()
    build.stdin = None
    wait_until(lambda: not folder_of(server[ADDRESS]).exists())
