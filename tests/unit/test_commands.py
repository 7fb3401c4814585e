"""The commands for a network as a user meets them: streams, exit status, files left behind."""

import io
import json
import os
import pickle
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from typer.main import get_command

from commands import refusal, spandex
from denoising import HOP, N_FFT, noisy_pair, small_network
from network_files import INTEGRATOR, dense, write_layers
from spandex.cli.application import Panel
from spandex.cli.commands import app
from spandex.data.audio import to_int16
from spandex.deploy import Executor
from spandex.errors import SpandexError
from spandex.steps.denoise import denoise_stream

BINS = N_FFT // 2 + 1
TOTALS = {"nonzero_weights", "nonzero_delays", "parameters", "size_kb", "deployed_sparsity", "layers"}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return small_network(tmp_path_factory.mktemp("network") / "network.net")


@pytest.fixture
def long_delays(tmp_path, network):
    """A copy of the network with three delays longer than 62 steps."""
    path = tmp_path / "long.net"
    shutil.copy(network, path)
    with h5py.File(path, "r+") as file:
        file["layer/1/delay"][:2] = 70
        file["layer/2/delay"][0] = 63
    return path


@pytest.fixture
def folder(tmp_path, network, monkeypatch):
    """The current directory, with everything that the examples of the help name."""
    monkeypatch.chdir(tmp_path)
    for name in ("network", "a", "b"):
        shutil.copy(network, f"{name}.net")
    np.save("X.npy", recorded_inputs())
    write_layers("classifier.net", dense(np.eye(3, dtype=int), INTEGRATOR))
    np.savez("images.npz", x=np.eye(3), y=np.arange(3))
    for index in (1, 2):
        noisy, clean = noisy_pair(index, 4000)
        for name, audio in (("noisy", noisy), ("clean", clean), ("recordings", noisy)):
            Path(name).mkdir(exist_ok=True)
            soundfile.write(f"{name}/{index}.wav", to_int16(audio), 16_000)
    shutil.copy("noisy/1.wav", "noisy.wav")
    return tmp_path


def recorded_inputs(steps=40):
    return np.random.default_rng(0).integers(-12, 200, (BINS, steps), dtype=np.int32)


def examples(command):
    """The lines of a command's help that begin with spandex, pipes apart, as a terminal of 80 columns shows them."""
    lines = map(str.strip, spandex(command, "--help").stdout.splitlines())
    return [line for line in lines if line.startswith("spandex ") and "|" not in line]


@pytest.mark.parametrize(("command", "count"), [("info", 2), ("run", 4), ("denoise", 2), ("evaluate", 4)])
def test_examples_of_the_help_run_as_typed(folder, command, count):
    typed = examples(command)
    assert len(typed) == count
    for line in typed:
        no_mos = ["--no-mos"] if "--noisy" in line else []  # DNSMOS takes its time
        result = spandex(*shlex.split(line)[1:], *no_mos)
        assert result.exit_code == 0, f"{line}: {result.output}"
    outputs = {
        "info": [],
        "run": ["Y.npy"],
        "denoise": ["denoised.wav", "denoised/2.wav"],
        "evaluate": ["a.json", "b.json"],
    }
    assert all(Path(output).is_file() for output in outputs[command])


def test_nothing_typed_shows_the_help():
    assert spandex().exit_code == 0
    assert spandex().stdout == spandex("--help").stdout
    assert all(command in spandex().stdout for command in ("info", "run", "denoise", "evaluate", "bench"))


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("spandex.cli", {"torch", "lava", "scipy", "numba", "numpy", "requests"}),
        (
            "spandex.cli, spandex.pipeline.build, spandex.data.shards, spandex.steps.check",
            {"torch", "lava", "scipy", "numba", "requests", "mlflow"},
        ),
        ("spandex.cli, spandex.steps.run", {"torch", "lava", "requests", "mlflow"}),
        ("spandex.cli, spandex.steps.info", {"torch", "lava", "numba", "requests", "mlflow"}),
        ("spandex.cli, spandex.steps.export", {"lava.lib.dl.netx", "requests", "mlflow"}),
    ],
    ids=["help", "rebuild, record", "run with the executor", "info", "export"],
)
def test_light_commands_do_not_wait_for_heavy_imports(modules, heavy):
    code = f"import sys, {modules}; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "\n")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("nosuch", "spandex: No such command 'nosuch'; see spandex --help"),
        ("--nosuch", "spandex: No such option: --nosuch; see spandex --help"),
        ("info", "spandex info: Missing argument 'NETWORK'; see spandex info --help"),
        ("info a.net --nosuch", "spandex info: No such option: --nosuch; see spandex info --help"),
        ("run a.net --output Y.npy", "spandex run: Missing option '--input'; see spandex run --help"),
        ("run a.net --input X.npy --output Y.npy --backend torch", "'torch' is not one of 'events', 'lava'"),
        ("denoise a.wav --network a.net", "IN and OUT are needed, or --stream; see spandex denoise --help"),
        ("denoise a.wav b.wav --network a.net --stream", "--stream reads standard input"),
        ("denoise --stream --backend lava --network a.net", "uses the backend events"),
        ("denoise a.wav b.wav --network a.net --workers 0", "'--workers'"),
        ("denoise a.wav b.wav --network a.net --lookahead 2", "'--lookahead': 2 is not from 0 to 1"),
        ("evaluate a.net --noisy a --clean b --json c --lookahead -1", "'--lookahead': -1 is not from 0 to 1"),
        ("bench nosuch", "'nosuch' is not one of 'inference'"),
    ],
)
def test_wrong_usage_is_one_line(arguments, expected):
    assert expected in refusal(*arguments.split(), status=2)


def test_commands_are_grouped_by_who_uses_them():
    commands = list(get_command(app).commands)
    assert (commands[0], commands[-1]) == ("info", "companion-report")
    shown = spandex("--help").stdout
    titles = [shown.index(f" {panel} ") for panel in Panel]
    assert titles == sorted(titles)
    assert shown.index(" prune ") < shown.index(" rebuild ") < shown.index(" sync-runs ") < shown.index(" corpus ")


def test_info_prints_json_alone_and_one_warning(long_delays):
    result = spandex("info", long_delays, "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout).keys() >= TOTALS
    assert result.stderr == f"warning: {long_delays}: 3 delays above 62 steps, up to 70, clamped to 62\n"


@pytest.mark.parametrize("backend", ["events", "lava"])
def test_clamped_delays_are_warned_of_once(tmp_path, long_delays, backend):
    noisy, _ = noisy_pair(1)
    soundfile.write(tmp_path / "a.wav", noisy[:40], 16_000)
    result = spandex("denoise", tmp_path / "a.wav", tmp_path / "b.wav", "--network", long_delays, "--backend", backend)
    assert result.exit_code == 0
    assert result.stderr == f"warning: {long_delays}: 3 delays above 62 steps, up to 70, clamped to 62\n"


def test_warnings_of_libraries_do_not_reach_the_user(network):
    with warnings.catch_warnings():
        spandex("info", network)
        for module, shown in (("scipy.sparse", False), ("spandex.deploy.netx", True), ("spandexlike", False)):
            errors = io.StringIO()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "stderr", errors)
                warnings.warn_explicit(f"by {module}", UserWarning, "file.py", 1, module=module)
            assert errors.getvalue() == (f"warning: by {module}\n" if shown else "")


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("command", ["info", "run", "denoise", "evaluate"])
def test_broken_network_is_named(folder, command, content):
    Path("bad.net").write_bytes(content)
    more = {
        "info": [],
        "run": ["--input", "X.npy", "--output", "Y.npy"],
        "denoise": ["noisy.wav", "out.wav"],
        "evaluate": ["--noisy", "noisy", "--clean", "clean", "--json", "out.json", "--no-mos"],
    }[command]
    net = ["--network", "bad.net"] if command == "denoise" else ["bad.net"]
    before = sorted(folder.rglob("*"))
    assert refusal(command, *net, *more).startswith(f"spandex {command}: bad.net: not a whole HDF5 file")
    net[-1] = "nosuch.net"
    assert refusal(command, *net, *more) == f"spandex {command}: nosuch.net: no such file"
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int16, np.float64, np.float32, ">i4"])
def test_whole_numbers_of_any_type_are_run(folder, network, kind):
    inputs = np.abs(recorded_inputs())
    np.save("X.npy", np.asfortranarray(inputs.astype(kind)))
    result = spandex("run", network, "--input", "X.npy", "--output", "new/Y.npy")
    assert (result.exit_code, result.stderr) == (0, "")
    outputs = np.load("new/Y.npy")
    assert (outputs.dtype, outputs.shape) == (np.int32, (BINS, 40))
    np.testing.assert_array_equal(outputs, Executor(network).run(inputs).outputs)
    assert outputs.any()


def test_what_left_its_range_is_told_by_layer(folder, network):
    inputs = recorded_inputs()
    inputs[0, 0] = 2**20  # moved up by 12 bits it does not fit 32
    np.save("X.npy", inputs)
    told = spandex("run", network, "--input", "X.npy", "--output", "Y.npy").stdout.splitlines()[1:]
    activity = Executor(network).run(inputs).activity
    assert activity[0].states_beyond_32_bits == 1
    assert len(told) == len(activity) == 4
    for line, layer in zip(told, activity, strict=True):
        sums, states, wide_sums, wide_states = (f"{count:,}" for count in layer.beyond.values())
        assert line.startswith(f"layer {layer.name}: {sums} sums and {states} states left Loihi 2's 24 bits")
        assert line.endswith(f", {wide_sums} and {wide_states} the 32 bits of Lava's simulation")


def test_no_steps_and_one_step(folder, network):
    for backend in ("events", "lava"):
        for steps in (0, 1):
            np.save("X.npy", np.full((BINS, steps), 200, np.int32))
            arguments = ("--input", "X.npy", "--output", "Y.npy", "--backend", backend)
            assert spandex("run", network, *arguments).exit_code == 0
            outputs = np.load("Y.npy")
            assert (outputs.dtype, outputs.shape) == (np.int32, (BINS, steps))
            assert not outputs.any()  # what goes in is not out before the layers' latency has passed


class Payload:
    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(array):
    file = io.BytesIO()
    np.savez(file, array)
    return file.getvalue()


def objects():
    array = np.empty((BINS, 2), object)
    array[:] = Payload()
    return npy(array, allow_pickle=True)


def claiming(shape):
    """An .npy file whose header promises more than it holds."""
    return npy(recorded_inputs()).replace(f"({BINS}, 40), }}".encode().ljust(40), f"{shape}, }}".encode().ljust(40))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(recorded_inputs()[1:]), f"inputs have shape ({BINS - 1}, 40); the network takes ({BINS}, steps)"),
        (npy(recorded_inputs()[:, 0]), f"inputs have shape ({BINS},)"),
        (npy(np.array(3)), "inputs have shape ()"),
        (npy(recorded_inputs() + 0.5), "inputs (float64) are not whole numbers"),
        (npy(np.full((BINS, 3), np.nan)), "inputs (float64) are not whole numbers"),
        (npy(np.full((BINS, 3), np.inf)), "do not fit 32 bits"),
        (npy(np.full((BINS, 3), 2**31)), "inputs from 2147483648 to 2147483648 do not fit 32 bits"),
        (npy(np.full((BINS, 3), 2**63, np.uint64)), "do not fit 32 bits"),
        (npy(recorded_inputs() > 0), "inputs (bool) are not whole numbers"),
        (npy(recorded_inputs().astype(complex)), "inputs (complex128) are not whole numbers"),
        (npy(recorded_inputs().astype(str)), "are not whole numbers"),
        (objects(), "not a whole .npy file of numbers"),
        (pickle.dumps(Payload()), "not a whole .npy file of numbers"),
        (npz(recorded_inputs()), "not a whole .npy file of numbers"),
        (npz(recorded_inputs())[:500], "not a whole .npy file of numbers"),
        (npy(recorded_inputs())[:500], "not a whole .npy file of numbers"),
        (npy(recorded_inputs())[:50], "not a whole .npy file of numbers"),
        (npy(recorded_inputs()).replace(b"}", b"("), "not a whole .npy file of numbers"),
        (claiming((BINS, 10**13)), "not a whole .npy file of numbers"),
        (claiming((BINS, 10**25)), "not a whole .npy file of numbers"),
        (b"1,2,3\n", "not a whole .npy file of numbers"),
        (b"", "not a whole .npy file of numbers"),
    ],
)
def test_inputs_that_cannot_be_run_are_named_and_leave_nothing(folder, network, content, reason):
    Path("X.npy").write_bytes(content)
    before = sorted(folder.rglob("*"))
    line = refusal("run", network, "--input", "X.npy", "--output", "new/Y.npy")
    assert line.startswith("spandex run: X.npy: ")
    assert reason in line
    assert sorted(folder.rglob("*")) == before


def test_missing_inputs_and_unusable_outputs_are_named(folder, network):
    before = sorted(folder.rglob("*"))
    for path in ("nosuch.npy", "recordings"):
        line = refusal("run", network, "--input", path, "--output", "Y.npy")
        assert line.startswith(f"spandex run: {path}: ")
    line = refusal("run", network, "--input", "X.npy", "--output", "recordings")
    assert line.startswith("spandex run: recordings: is a folder; name a file to write")
    for path in ("noisy.wav/Y.npy", "noisy.wav/deeper/Y.npy"):
        line = refusal("run", network, "--input", "X.npy", "--output", path)
        assert line.startswith(f"spandex run: {path}: cannot be written")
    line = refusal("denoise", "noisy.wav", "X.npy/out.wav", "--network", network)
    assert line.startswith("spandex denoise: X.npy/out.wav: cannot be written")
    assert sorted(folder.rglob("*")) == before


def test_wrong_sparsity_maps_are_one_line(folder, network):
    for text, reason in (("1,0", "2 entries for the 3"), ("maybe", "'maybe'"), ("7:1", "names layer 7")):
        assert reason in refusal("run", network, "--input", "X.npy", "--output", "Y.npy", "--sparsity-map", text)
        assert reason in refusal("info", network, "--sparsity-map", text)
    assert "3.0 is not between 0 and 1" in refusal("info", network, "--density-threshold", 3)


@pytest.mark.parametrize("backend", ["events", "torch"])
def test_a_broken_file_fails_the_folder_and_the_others_are_done(folder, network, backend):
    Path("recordings/1.5.wav").write_bytes(Path("noisy.wav").read_bytes()[:30])
    soundfile.write("recordings/3.flac", np.tile(noisy_pair(3, 441)[0], (2, 1)).T, 44_100)
    result = spandex("denoise", "recordings", "out", "--network", network, "--backend", backend)
    assert (result.exit_code, result.stdout) == (1, "")
    broken, summary = result.stderr.splitlines()
    assert broken.startswith("recordings/1.5.wav: ")
    assert summary == "spandex denoise: 1 of 4 files failed"
    assert sorted(path.name for path in Path("out").iterdir()) == ["1.wav", "2.wav", "3.flac"]
    after = soundfile.info("out/3.flac")
    assert (after.samplerate, after.channels, after.frames) == (44_100, 2, 441)


def through_pipes(monkeypatch, raw, *arguments, listening=True):
    """Run a command between two real pipes, which must hold all there is; its exit status, output and errors."""
    (source, feed), (drain, sink) = os.pipe(), os.pipe()
    os.write(feed, raw)
    os.close(feed)
    if not listening:
        os.close(drain)
    errors = io.StringIO()
    with os.fdopen(source) as stdin, os.fdopen(sink, "w") as stdout, monkeypatch.context() as patch:
        for name, stream in (("stdin", stdin), ("stdout", stdout), ("stderr", errors)):
            patch.setattr(sys, name, stream)
        with pytest.raises(SystemExit) as status:
            app([str(argument) for argument in arguments])
    out = b""
    if listening:
        with os.fdopen(drain, "rb") as file:
            out = file.read()
    return status.value.code or 0, out, errors.getvalue()


@pytest.mark.parametrize("lookahead", [0, 1])
def test_stream_is_the_denoised_file_one_frame_and_the_lookahead_late(folder, network, monkeypatch, lookahead):
    options = "--network", network, "--lookahead", lookahead
    spandex("denoise", "noisy.wav", "denoised.wav", *options)
    samples, _ = soundfile.read("noisy.wav", dtype="int16")
    status, out, errors = through_pipes(monkeypatch, samples.tobytes(), "denoise", "--stream", *options)
    assert status == 0
    denoised, late = np.frombuffer(out, np.int16), N_FFT + lookahead * HOP
    assert len(denoised) == len(samples) + late
    np.testing.assert_array_equal(denoised[late:], soundfile.read("denoised.wav", dtype="int16")[0])
    (line,) = errors.splitlines()
    assert line.startswith(f"0.250 s of audio, {504 + lookahead} steps, real-time factor ")


@pytest.mark.parametrize(("raw", "reason"), [(b"", "empty"), (b"\0" * 5, "ends within a sample")])
def test_stream_of_no_whole_samples_fails(network, monkeypatch, raw, reason):
    status, _, errors = through_pipes(monkeypatch, raw, "denoise", "--stream", "--network", network)
    (line,) = errors.splitlines()
    assert (status, line.startswith(f"spandex denoise: standard input: {reason}")) == (1, True)


def test_stream_ends_in_peace_when_nobody_listens(network, monkeypatch):
    raw = bytes(4000)
    status, _, errors = through_pipes(monkeypatch, raw, "denoise", "--stream", "--network", network, listening=False)
    (line,) = errors.splitlines()
    assert (status, "real-time factor" in line) == (0, True)


@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_stream_needs_both_ends(network, monkeypatch, capsys, closed):
    monkeypatch.setattr(sys, closed, None)
    with pytest.raises(SpandexError, match=f"standard {closed[3:]}.* is closed"):
        denoise_stream(network)


def test_evaluate_takes_networks_anywhere_and_prints_json_alone_on_request(folder):
    common = ("--noisy", "noisy", "--clean", "clean", "--no-mos", "--json")
    assert spandex("evaluate", "a.net", *common, "a.json", "b.net").exit_code == 0
    printed = spandex("evaluate", "a.net", "b.net", *common, "-")
    assert printed.exit_code == 0 and not Path("-").exists()
    first, second = json.loads(Path("a.json").read_text()), json.loads(printed.stdout)
    assert first["networks"].keys() == {"a", "b"}
    assert first["networks"] == second["networks"]
    assert first["clips"] == 2


def test_evaluate_prints_the_json_of_what_it_could_score(folder, network):
    Path("noisy/broken.wav").write_bytes(b"")
    printed = spandex("evaluate", network, "--noisy", "noisy", "--clean", "clean", "--no-mos", "--json", "-")
    assert printed.exit_code == 1 and "1 file failed; noisy/broken.wav" in printed.stderr
    assert json.loads(printed.stdout)["clips"] == 2


def test_what_the_system_refuses_is_one_line(folder, network):
    line = refusal(
        "evaluate", network, "--noisy", "noisy", "--clean", "clean", "--no-mos", "--json", "noisy.wav/a.json"
    )
    assert line.startswith("spandex evaluate: noisy.wav")


def test_benchmarks_are_those_of_the_current_directory(folder):
    assert "benchmarks/inference.py: no such file" in refusal("bench", "inference")
    Path("benchmarks").mkdir()
    Path("benchmarks/inference.py").write_text("def main(argv):\n    print(argv)\n")
    result = spandex("bench", "inference", "--clips", "3", "--json", "out.json")
    assert (result.exit_code, result.stdout) == (0, "['--clips', '3', '--json', 'out.json']\n")
    write = "def main(argv):\n    print(argv)\n    open(argv[-1], 'w').write('{}')\n"
    Path("benchmarks/inference.py").write_text(write)
    result = spandex("bench", "inference", "--json", "-")
    assert (result.exit_code, result.stdout) == (0, "{}")


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "stopped by SIGTERM")], ids=["INT", "TERM"]
)
def test_a_signal_is_one_line(folder, network, monkeypatch, number, said):
    monkeypatch.setattr("spandex.deploy.executor.Executor.run", lambda *_, **__: signal.raise_signal(number))
    line = refusal("run", network, "--input", "X.npy", "--output", "Y.npy", status=130)
    assert line == f"spandex run: {said}"
    assert not Path("Y.npy").exists()
    Path("benchmarks").mkdir()
    Path("benchmarks/loader.py").write_text(f"import signal\ndef main(argv): signal.raise_signal({int(number)})\n")
    assert refusal("bench", "loader", status=130) == f"spandex bench: {said}"


def test_recipe_that_is_none_is_one_line():
    assert refusal("--recipe", "{", "info", "network.net") == "spandex: --recipe: '{' is no recipe"
