"""Pack what a machine with a GPU needs to check and measure the kernels: python tools/gpu.py [FOLDER].

There lie torch, Triton and NumPy, in whatever versions, and no internet. The folder brings the rest: ``run.py`` and
what it runs, lava-dl as installed here, spandex, the published baseline network, and two minutes of noisy clips.
"""

import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from spandex import data, params
from spandex.checkout import resolved_mirror
from spandex.errors import SpandexError
from spandex.networks.named import named_network
from spandex.params import Params
from spandex.params.overrides import with_environment
from spandex.sparsify.methods import check
from spandex.steps.data import corpus

REPOSITORY = Path(__file__).parents[1]
LARGEST = 48 * 2**20  # bytes
CLIPS = 4
DISTRIBUTIONS = ("lava-dl", "lazy-loader")  # that spandex's networks and kernels need beside torch, Triton and NumPy
LEFT_OUT = ("tests/", "lava/lib/dl/netx/", "lava/lib/dl/bootstrap/")  # lava-dl's tests, and what needs Lava
LARGE = 2**20  # bytes; lava-dl's two networks for object detection are larger, nothing else is
UNNEEDED = ("data/__init__.py", "train/__init__.py")  # of spandex; they import all of their packages, which needs more


def pack(folder: Path, network: Path, clips: data.MixedSpeech) -> None:
    """Make the folder anew.

    Args:
        network: the baseline's state dict.
        clips: noisy and clean clips of a length, of which the first ``CLIPS`` are packed.

    Raises:
        SpandexError: there is a folder that was not made so, or it is too large.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "packages/spandex").is_dir():
        raise SpandexError(f"{folder}: holds something else, which would be lost; name a new folder")
    shutil.rmtree(folder, ignore_errors=True)
    packages = folder / "packages"
    shutil.copytree(REPOSITORY / "benchmarks/gpu", folder, ignore=shutil.ignore_patterns("__pycache__", "results"))
    shutil.copy(REPOSITORY / "benchmarks/training.py", folder)
    for name in DISTRIBUTIONS:
        for file in distribution(name).files:
            path = Path(file.locate())
            if not str(file).startswith(("..", *LEFT_OUT)) and path.suffix != ".pyc" and path.stat().st_size < LARGE:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, packages / file)
    shutil.copytree(REPOSITORY / "src/spandex", packages / "spandex", ignore=shutil.ignore_patterns("__pycache__"))
    for file in UNNEEDED:
        (packages / "spandex" / file).unlink()
    shutil.copy(network, folder / "network.pt")
    noisy, clean = zip(*(clips.read(index) for index in range(CLIPS)), strict=True)
    np.savez(
        folder / "clips.npz", noisy=data.audio.to_int16(np.stack(noisy)), clean=data.audio.to_int16(np.stack(clean))
    )
    if (size := sum(file.stat().st_size for file in folder.rglob("*"))) > LARGEST:
        raise SpandexError(f"{folder}: {size / 2**20:.1f} MiB; at most {LARGEST / 2**20:.0f} are meant to be copied")


def mixed_clips(parameters: Params, manifest: Path) -> data.MixedSpeech:
    """Clips for training as the profile mixes them, from its corpus, which is fetched for it."""
    corpus(parameters, manifest, parameters.threads)
    settings = data.SynthesisSettings(**parameters.data.synthesis)
    return data.MixedSpeech(manifest, "train", CLIPS, settings, parameters.seed)


def main(folder: Path = REPOSITORY / "build/gpu") -> None:
    parameters = params.load(REPOSITORY / "params.yaml", with_environment({"profile": "mini"}), check)
    network = named_network(parameters.model.pretrained, resolved_mirror(parameters.mirror))
    pack(folder, network, mixed_clips(parameters, REPOSITORY / "data/gpu/corpus/manifest.csv"))
    size = sum(file.stat().st_size for file in folder.rglob("*"))
    print(f"{folder}: {size / 2**20:.1f} MiB; on a machine with a GPU: python run.py")


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except SpandexError as error:
        sys.exit(f"make gpu: {error}")
