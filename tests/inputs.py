"""A folder of small valid inputs, on which hostile ones are tried."""

import csv
import shutil
from pathlib import Path

import numpy as np
import soundfile

from denoising import N_FFT, noisy_pair, small_network
from spandex.data.audio import to_int16
from spandex.data.corpus import SPLITS, Entry, write_manifest
from spandex.files import sha256
from spandex.networks import SDNN, save_state

PARAMS = Path(__file__).parents[1] / "params.yaml"


def write_inputs(folder: Path) -> None:
    """params.yaml, network.net, network.pt, X.npy, and two clips of a quarter second in noisy/ and in clean/."""
    shutil.copy(PARAMS, folder)
    small_network(folder / "network.net")
    save_state(SDNN(n_fft=N_FFT, hop=N_FFT // 4, hidden=4), folder / "network.pt")
    np.save(folder / "X.npy", np.zeros((N_FFT // 2 + 1, 4), np.int32))
    for name in ("noisy", "clean"):
        (folder / name).mkdir()
    for index in (1, 2):
        for name, audio in zip(("noisy", "clean"), noisy_pair(index, 4000), strict=True):
            soundfile.write(folder / name / f"{index}.wav", to_int16(audio), 16_000)


def write_corpus(folder: Path, form: str = "wav") -> None:
    """Speech and noise of every split, half a second each, with a manifest and, as a mirror has it, a corpus.csv."""
    entries, rows = [], []
    for number, split in enumerate(SPLITS, 1):
        for kind, audio in zip(("noise", "speech"), noisy_pair(number, 8000), strict=True):
            path = folder / kind / f"{number}-{number}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, to_int16(audio), 16_000)
            name, digest = str(path.relative_to(folder)), sha256(path)
            entries.append(Entry(name, kind, split, f"group {number}", 16_000, 0.5, digest))
            fold = split if kind == "speech" else {"train": 1, "validation": 3, "test": 4}[split]
            rows.append((name, kind, f"group {number}", fold, digest))
    write_manifest(folder / "manifest.csv", entries)
    with (folder / "corpus.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "kind", "group", "split_or_fold", "sha256"), *rows])
