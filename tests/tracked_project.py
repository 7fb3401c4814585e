"""What a build leaves on the disk, small and made at once, for what logs it."""

import json
from pathlib import Path
from typing import Any

from spandex import params
from spandex.networks import export_hdf5, save_state
from spandex.params import Params
from spandex.steps.common import new_network
from spandex.steps.tracking import log_build
from tables import pruned_rows

PARAMS_FILE = Path(__file__).parent.parent / "params.yaml"
TINY = f"model.hidden=4 {pruned_rows(0.5)} train.epochs=2"
MODELS = ("baseline", "dense", "prune50")
EPOCHS = """iteration,epoch,train_loss,validation_si_snr_db,sparsity,lr
30,1,95.5,4.25,0.25,0.001
60,2,94.5,5.25,0.5,0.0007
"""
RUN = Path("reports/synthetic/tracking/build.json")


def tiny_params(settings: str = "") -> Params:
    """Those of the repository, for networks of four neurons a layer."""
    return params.load(PARAMS_FILE, {"set": f"{TINY} {settings}"})


def clips(digest: str = "0123456789abcdef") -> dict[str, Any]:
    return {"digest": digest, "clips": ["a_fileid_0.wav"]}


def write_build(folder: Path) -> None:
    """Write networks, logs, scores and lists of clips into a project's folder."""
    for split in ("train", "validation", "test"):
        write(folder / f"data/synthetic/{split}/clips.json", clips(f"of-{split}"))
    write(folder / "reports/synthetic/evaluate/noisy.json", {"noisy": {"si_snr_db": 9.0}})
    for seed, model in enumerate(MODELS):
        write_network(folder, model, seed)
        write_scores(folder, model, 12.0 + seed)


def write_network(folder: Path, model: str, seed: int) -> None:
    """Write a network drawn with a seed, with its training log."""
    place = tiny_params().network(model).folder
    network = new_network(tiny_params(f"seed={seed}"))
    trained, exported = folder / "models/synthetic" / place, folder / "models/synthetic/exported" / model
    trained.mkdir(parents=True, exist_ok=True)
    exported.mkdir(parents=True, exist_ok=True)
    save_state(network, trained / "network.pt")
    export_hdf5(network, exported / "network.net")
    (trained / "epochs.csv").write_text(EPOCHS)


def write_scores(folder: Path, model: str, si_snr_db: float) -> None:
    """Write what an evaluation found."""
    scores = {
        "si_snr_db": si_snr_db,
        "deployed_power_proxy_ops_per_s": 1e6 / si_snr_db,
        "mos_sig_all_hops": 3.0,
        "mos_ovrl": None,
        "intervals": {"si_snr_db": [1.0, 2.0]},
        "per_clip": [{}],
    }
    content = {"networks": {model: scores}, "produced_by": {"code_digest": "ff", "versions": {"torch": "2"}}}
    write(folder / f"reports/synthetic/evaluate/{model}.json", content)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def log(settings: str = "") -> None:
    """Log the build in the current folder."""
    table = Path("reports/synthetic/table.csv")
    table.write_text("model\n")
    log_build(tiny_params(settings), RUN, [table])
