"""The files of a finished build, small and made by the real steps in seconds, as tests of the report need them."""

import contextlib
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from evaluations import write_clips
from spandex import params as parameters
from spandex.files import write_json
from spandex.networks import save_state
from spandex.params import Network, Params
from spandex.pipeline.recipes import sidecar
from spandex.sparsify.methods import check
from spandex.steps import compare
from spandex.steps import report as step
from spandex.steps.common import new_network
from spandex.steps.evaluate import evaluate
from spandex.steps.export import export
from tables import pruned_rows

REPOSITORY = Path(__file__).parents[1]
CLIPS, SAMPLES = 5, 24_000
TEAM = "<script>alert('team')</script> & 50 % of $x_1$"


class Build(NamedTuple):
    """Parameters, and the folder from which paths are relative as they are in a project."""

    params: Params
    folder: Path

    @property
    def reports(self) -> Path:
        return self.folder / "reports" / self.params.profile


def small_build(
    folder: Path, targets: tuple[float, ...] = (0.5, 0.75, 0.9), ablation: bool = False, companions: bool = False
) -> Build:
    """Everything that the report of a build reads; with ``ablation`` and ``companions`` the results of those, too."""
    settings = f"model.hidden=16 model.n_fft=64 model.hop=16 evaluate.mos=false {pruned_rows(*targets)}"
    settings += " reports.denoiser.seeds=1 reports.knee.networks=[dense,prune50,knee] grids.knee.from=baseline"
    settings += " grids.knee.over.magnitude.target=[0.3]"
    if targets == (0.5,):
        settings += " grids.masks.over.masks.target=[0.5] grids.noise.over.noise.target=[0.5]"
        settings += " grids.events.over.magnitude.target=[null,0.5]"
        settings += " reports.denoiser.networks=[dense,prune50,events,masks,noise]"
    params = parameters.load(REPOSITORY / "params.yaml", {"set": settings, "report": {"team": TEAM}}, check)
    models, reports = folder / "models/synthetic", folder / "reports/synthetic"
    test = folder / "data/synthetic/test"
    write_clips(test, CLIPS, SAMPLES)
    write_json(test / "clips.json", {"clips": sorted(file.name for file in (test / "noisy").iterdir())})
    shutil.copytree(REPOSITORY / "reports/reference", folder / "reports/reference")
    evaluate([], test / "noisy", test / "clean", reports / "evaluate/noisy.json", mos=False, workers=1, hop=16)
    asked = [report for report, wanted in (("knee", ablation), ("denoiser", companions)) if wanted]
    shown = params.table + [network for report in asked for network in params.compared(report)[0]]
    for number, network in enumerate({network.name: network for network in shown}.values()):
        trained, exported = models / network.folder, models / "exported" / network.name / "network.net"
        scores = reports / f"evaluate/{network.name}.json"
        _network(params, network, trained / "network.pt", number)
        export(params, network.name, trained / "network.pt", exported)
        evaluate(
            [exported],
            test / "noisy",
            test / "clean",
            scores,
            names=[network.name],
            mos=False,
            with_float=True,
            float_networks=[trained / "network.pt"],
            workers=1,
            hop=16,
            params=params,
        )
        sidecar(scores).touch()
        _logs(trained, number, trained=network.is_trained)
    with contextlib.chdir(folder):
        for report in asked:
            _compare(params, report)
    write_json(reports / "latency/latency.json", {"latency_enc_dec_ms": 0.01})
    times = reports / "times"
    times.mkdir()
    for job, seconds in (("corpus", "3.5"), ("fine_tune_dense", "12.25")):
        (times / f"{job}.tsv").write_text(f"s\n{seconds}\n")
    return Build(params, folder)


def _compare(params: Params, report: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "log_comparison", lambda *arguments: None)
        compare.compare(params, report, Path("build.json"))
    sidecar(params.folder("reports") / "comparisons" / report / "table.csv").touch()


def write_report(build: Build, monkeypatch) -> Path:
    """Run the step, but for MLflow; the folder of the report."""
    monkeypatch.chdir(build.folder)
    monkeypatch.setattr(step, "log_build", lambda *arguments: None)
    step.report(build.params, build.params.folder("data") / "test/clips.json", Path("build.json"))
    return build.reports


def _network(params: Params, network: Network, path: Path, seed: int) -> None:
    """A random network, its smallest weights zero as far as its target asks."""
    torch.manual_seed(seed)
    made = new_network(params)
    with torch.no_grad():
        for block in made.blocks[1:]:
            weight = block.synapse.weight
            weight *= 2
            if network.target is not None:
                weight[weight.abs() < weight.abs().quantile(network.target)] = 0
    path.parent.mkdir(parents=True)
    save_state(made, path)


def _logs(folder: Path, number: int, trained: bool) -> None:
    epochs = "iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db,sparsity,lr\n"
    log = "iteration,epoch,loss,si_snr_db,sparsity,lr\n"
    if trained:
        epochs += f"0,0,,,{8 + number},0,0.001\n"
        epochs += "".join(f"{30 * n},{n},{90 - n},9,{10 + number + n / 10},0.5,0.001\n" for n in (1, 2, 3))
        log += "".join(f"{10 * n},1,90,9,{min(0.1 * number, 0.02 * n)},0.001\n" for n in range(1, 10))
    (folder / "epochs.csv").write_text(epochs)
    (folder / "log.csv").write_text(log)
