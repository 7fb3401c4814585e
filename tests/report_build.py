"""The files of a finished build, small and made by the real steps in seconds, as tests of the report need them."""

import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from evaluations import write_clips
from spandex import params as parameters
from spandex.companions.denoiser import claims
from spandex.companions.denoiser.runs import TITLE, by_repeat
from spandex.companions.report import write_paper_report
from spandex.files import write_json
from spandex.networks import save_state
from spandex.params import Params
from spandex.steps import report as step
from spandex.steps.common import new_network
from spandex.steps.evaluate import evaluate
from spandex.steps.export import export
from spandex.steps.results import network_scores

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
    folder: Path, targets: str = "[0.5,0.75,0.9]", ablation: bool = False, companions: bool = False
) -> Build:
    """Everything that the report of a build reads; with ``ablation`` and ``companions`` the results of those, too."""
    settings = f"model.hidden=16 model.n_fft=64 model.hop=16 evaluate.mos=false sparsify.targets={targets}"
    settings += " companions.seeds=1 ablation.knee=[0.3] ablation.targets=[0.5] ablation.schedules=[cubic]"
    params = parameters.load(REPOSITORY / "params.yaml", {"set": settings, "report": {"team": TEAM}})
    models, reports = folder / "models/embedded", folder / "reports/embedded"
    test = folder / "data/embedded/test"
    write_clips(test, CLIPS, SAMPLES)
    write_json(test / "clips.json", {"clips": sorted(file.name for file in (test / "noisy").iterdir())})
    shutil.copytree(REPOSITORY / "reports/reference", folder / "reports/reference")
    evaluate([], test / "noisy", test / "clean", reports / "evaluate/noisy.json", mos=False, workers=1, hop=16)
    more = [*(params.variants if ablation else ()), *(params.companion_variants if companions else ())]
    for number, model in enumerate([*params.models, *more]):
        trained, part = models / params.folder(model), params.part(model)
        deployed_alone = part == "companions"
        exported = models / (part or "exported") / model / "network.net"
        _network(params, model, trained / "network.pt", number)
        export(params, trained / "network.pt", exported)
        evaluate(
            [exported],
            test / "noisy",
            test / "clean",
            reports / part / f"evaluate/{model}.json",
            names=[model],
            mos=False,
            with_float=not deployed_alone,
            float_nets=None if deployed_alone else [trained / "network.pt"],
            workers=1,
            hop=16,
            params=params,
        )
        _logs(trained, number, trained=model != "baseline")
    if companions:
        _compare(params, models, reports)
    write_json(reports / "latency/latency.json", {"latency_enc_dec_ms": 0.01})
    times = reports / "times"
    times.mkdir()
    for job, seconds in (("corpus", "3.5"), ("fine_tune_dense", "12.25")):
        (times / f"{job}.tsv").write_text(f"s\tmax_rss\tcpu_time\n{seconds}\t100.5\tNA\n")
    return Build(params, folder)


def _compare(params: Params, models: Path, reports: Path) -> None:
    names = [*params.fine_tuned, *params.companion_variants]
    runs = by_repeat(
        {name: network_scores(params, models, reports, name) for name in names}, params.sparsify.targets, 1
    )
    write_paper_report(TITLE, claims, {"denoiser": runs}, params.sparsify, reports / "companions/denoiser")


def write_report(build: Build, monkeypatch) -> Path:
    """Run the step, but for MLflow; the folder of the report."""
    monkeypatch.chdir(build.folder)
    monkeypatch.setattr(step, "log_build", lambda *arguments: None)
    profile = build.params.profile
    folders = Path("models", profile), Path("reports", profile)
    step.report(build.params, *folders, Path("data", profile, "test/clips.json"), Path("build.json"))
    return build.reports


def _network(params: Params, model: str, path: Path, seed: int) -> None:
    """A random network, its smallest weights zero as far as the model's target asks."""
    torch.manual_seed(seed)
    network = new_network(params)
    pruning = params.prunings.get(model)
    with torch.no_grad():
        for block in network.blocks[1:]:
            weight = block.synapse.weight
            weight *= 2
            if pruning is not None:
                weight[weight.abs() < weight.abs().quantile(pruning.target)] = 0
    path.parent.mkdir(parents=True)
    save_state(network, path)


def _logs(folder: Path, number: int, trained: bool) -> None:
    epochs = "iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db,sparsity,lr\n"
    log = "iteration,epoch,loss,si_snr_db,sparsity,lr\n"
    if trained:
        epochs += "".join(f"{30 * n},{n},{90 - n},9,{10 + number + n / 10},0.5,0.001\n" for n in (1, 2, 3))
        log += "".join(f"{10 * n},1,90,9,{min(0.1 * number, 0.02 * n)},0.001\n" for n in range(1, 10))
    (folder / "epochs.csv").write_text(epochs)
    (folder / "log.csv").write_text(log)
