"""Where the phases of a build leave what they made; the rules in workflow/ write there."""

from pathlib import Path

from spandex.companions.papers import PAPERS, all_runs
from spandex.params import Params


def products(params: Params) -> dict[str, list[Path]]:
    """The files that end each phase, those that carry a sidecar, by phase in the order of the build."""
    data, models, reports = (Path(top, params.profile) for top in ("data", "models", "reports"))
    splits = [data / split / "clips.json" for split in ("train", "validation", "test")]
    return {
        "data": [data / "corpus" / "manifest.csv", *splits],
        "baseline": [models / "baseline" / "network.pt"],
        "sparsify": [models / "sparsified" / model / "network.pt" for model in params.fine_tuned],
        "export": [models / "exported" / model / "network.net" for model in params.models],
        "infer": [reports / "infer" / f"{model}.json" for model in params.models],
        "evaluate": [
            *(reports / "evaluate" / f"{model}.json" for model in ("noisy", *params.models)),
            reports / "latency" / "latency.json",
        ],
        "report": [reports / "table.csv"],
        "ablation": [
            *(
                models / "ablation" / model / name
                for model in params.variants
                for name in ("network.pt", "network.net")
            ),
            *(reports / "ablation" / "evaluate" / f"{model}.json" for model in params.variants),
            reports / "ablation" / "table.csv",
        ],
        "companions": _companions(params, models, reports / "companions"),
    }


def written(params: Params) -> list[Path]:
    """The products of all phases, and what training writes beside its networks."""
    made = [path for paths in products(params).values() for path in paths]
    return made + [path.with_name("epochs.csv") for path in made if path.name == "network.pt"]


def _companions(params: Params, models: Path, reports: Path) -> list[Path]:
    names = params.companion_variants
    runs = [
        reports / paper / f"{experiment}-{seed}.json"
        for paper, experiment, seed in all_runs(params.companions.seeds, params.seed)
    ]
    return [
        *(models / "companions" / name / file for name in names for file in ("network.pt", "network.net")),
        *(reports / "evaluate" / f"{name}.json" for name in names),
        *runs,
        *(reports / paper / "verdicts.json" for paper in [*PAPERS, "denoiser"]),
    ]
