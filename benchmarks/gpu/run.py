"""Hold SPANDEX's kernels to stock lava-dl on this machine's GPU and measure both: python run.py

Needs Python 3.11 or newer with torch, Triton and NumPy; everything else lies in this folder, which may be anywhere.
Takes up to 6 minutes. Every part runs in a process of its own and is ended after its limit of time, so that one that
fails leaves the others alone. What they find is written as it comes: results/results.json, and results/results.md as
a table. --interpreter runs all of it in small, on the CPU and in Triton's interpreter, where there is no GPU.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
LIMITS_S = {"versions": 20, "stock": 90, "kernels": 90, "speed": 55, "tuning": 65, "compile": 40}
# What lava-dl and spandex import for what is not done here: network files, plots, audio files.
ABSENT = ("h5py", "matplotlib", "matplotlib.animation", "matplotlib.pyplot", "soundfile", "soxr")
SIDES = {
    "stock": "stock lava-dl",
    "spandex": "kernels",
    "bfloat16_gradients": "kernels, bfloat16 gradients",
    "matmul": "matrix products alone",
    "bfloat16_matmul": "matrix products alone, bfloat16 gradients",
}

Results = dict[str, dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interpreter", action="store_true", help="small sizes, on the CPU")
    parser.add_argument("--part", choices=LIMITS_S, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        run_part(arguments.part, arguments.interpreter)
        return 0
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir()
    results: Results = {"seconds": {}}
    for part, limit_s in LIMITS_S.items():
        start = time.monotonic()
        # small sizes need less, but some processors are slow or have other load
        results[part] = in_own_process(part, limit_s * (5 if arguments.interpreter else 1), arguments.interpreter)
        results["seconds"][part] = round(time.monotonic() - start, 1)
        print(f"{part}: {results['seconds'][part]} s, {results[part].get('failure', 'done')}", flush=True)
        (RESULTS / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        (RESULTS / "results.md").write_text(table(results))
        if part == "versions" and "failure" in results[part]:
            break
    print(f"\n{table(results)}\n{RESULTS / 'results.json'} has all of it")
    return int(any("failure" in found for part, found in results.items() if part != "compile"))


def in_own_process(part: str, limit_s: float, interpreter: bool) -> dict[str, Any]:
    """What a part found, with its failure if it did not come to its end."""
    # TF32 would round the factors of float32 products; cuBLAS repeats its bits only with this workspace.
    environment = {"NVIDIA_TF32_OVERRIDE": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    # lava-dl's CUDA code is compiled there: a run that was ended leaves a lock that the next would wait for
    environment["TORCH_EXTENSIONS_DIR"] = str(RESULTS / "extensions")
    if interpreter:
        environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--part", part, *["--interpreter"][: int(interpreter)]]
    output, failure = RESULTS / f"{part}.log", None
    with output.open("w") as log:
        process = subprocess.Popen(
            command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            if process.wait(limit_s):
                failure = next(reversed(output.read_text(errors="replace").strip().splitlines()), "said nothing")
        except subprocess.TimeoutExpired:
            failure = f"took more than {limit_s} s"
        finally:  # with the compilers that it may have started
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    found = RESULTS / f"{part}.json"
    figures = json.loads(found.read_text()) if found.exists() else {}
    return figures if failure is None else figures | {"failure": failure}


def run_part(name: str, interpreter: bool) -> None:
    """Run a part here, with what lies in the folder, and write each of its figures when it comes."""
    sys.path.insert(0, str(HERE / "packages"))
    sys.modules.update({module: mock.MagicMock() for module in ABSENT})
    # The CPU's loops over time, the reference, run uncompiled: slowly, with the same bits.
    sys.modules["numba"] = SimpleNamespace(njit=lambda **options: lambda loop: loop)
    import spandex  # noqa: F401  before lava-dl, for which it mends Python's imports
    from parts import PARTS

    figures = {}
    for key, figure in PARTS[name](interpreter):
        figures[key] = figure
        temporary = RESULTS / f".{name}.json"
        temporary.write_text(json.dumps(figures))
        temporary.replace(RESULTS / f"{name}.json")


def table(results: Results) -> str:
    """The results as Markdown."""
    versions = results["versions"]
    lines = [
        f"# {versions.get('device', 'no device')}",
        "",
        ", ".join(f"{k} {v}" for k, v in versions.items() if k != "failure"),
        "",
    ]
    lines += [f"{part}: **{found['failure']}**\n" for part, found in results.items() if "failure" in found]
    checks = {name: found for name, found in results.get("kernels", {}).items() if name != "failure"}
    if checks:
        lines += ["| held to the reference | checks | equal bit for bit | largest difference | passed |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for name, found in checks.items():
            passed = "yes" if found["passed"] else "**no**"
            lines.append(f"| {name} | {found['checks']} | {found['equal']} | {found['difference']:.2g} | {passed} |")
        lines.append("")
    if "stock" in results:
        lines += [f"Delays of stock lava-dl: {results['stock'].get('delays', 'its Python')}.", ""]
    lines += speed_rows(results.get("speed", {}))
    lines += loss_rows(results.get("tuning", {}))
    if "compile" in results:
        lines.append(f"torch.compile: {', '.join(f'{key} {value}' for key, value in results['compile'].items())}")
    return "\n".join(lines) + "\n"


def speed_rows(speed: dict[str, Any]) -> list[str]:
    lines = ["| clips x s | side | s of audio per s | times stock | times its matrix products | peak of memory, GiB |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for shape, sides in speed.items():
        if shape == "failure":
            continue
        for side, found in sides.items():
            if "not_run" in found:
                lines.append(f"| {shape} | {SIDES[side]} | {found['not_run']} | | | |")
                continue
            stock, own = sides.get("stock", {}), sides["bfloat16_matmul" if side.startswith("bfloat16") else "matmul"]
            faster = f"{stock['step_s'] / found['step_s']:.2f}" if "step_s" in stock else ""
            slower = f"{found['step_s'] / own['step_s']:.2f}" if "step_s" in own else ""
            memory = f"{found['peak_memory_bytes'] / 2**30:.2f}" if "peak_memory_bytes" in found else ""
            rate = f"{found['audio_s_per_s']:.4g}"
            lines.append(f"| {shape} | {SIDES[side]} | {rate} | {faster} | {slower} | {memory} |")
    return [*lines, ""] if len(lines) > 2 else []


def loss_rows(tuning: dict[str, Any]) -> list[str]:
    """Losses side by side, at some 10 iterations."""
    curves = tuning.get("losses", {})
    if not curves:
        return []
    lines = [f"| iteration | {' | '.join(curves)} |", f"|{' --- |' * (len(curves) + 1)}"]
    length = max(map(len, curves.values()))
    for i in sorted({*range(0, length, max(1, length // 10)), length - 1}):
        cells = (f"{losses[i]:.3f}" if i < len(losses) else "" for losses in curves.values())
        lines.append(f"| {i + 1} | {' | '.join(cells)} |")
    equal = {True: "equal bit for bit", False: "**differ**", None: "were not compared"}[tuning.get("reproducible")]
    return [*lines, "", f"Losses and weights of two runs with kernels {equal}.", ""]


if __name__ == "__main__":
    sys.exit(main())
