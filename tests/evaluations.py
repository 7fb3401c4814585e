"""Folders of clips and evaluations of them, as several tests need them."""

from pathlib import Path

from denoising import noisy_pair
from spandex.data.audio import write_wav
from spandex.files.text import read_json
from spandex.steps.evaluate import evaluate


def write_clips(folder: Path, count: int, samples: int = 480, first: int = 0) -> tuple[Path, Path]:
    """Noisy and clean clips under the challenge's names; their two folders."""
    for file_id in range(first, first + count):
        noisy, clean = noisy_pair(file_id, samples)
        write_wav(folder / "noisy" / f"tones_snr5_tl-25_fileid_{file_id}.wav", noisy)
        write_wav(folder / "clean" / f"clean_fileid_{file_id}.wav", clean)
    return folder / "noisy", folder / "clean"


def evaluated(nets, folders, output, **options):
    """What the command writes, and its bytes; one clip at a time and without MOS unless asked for."""
    evaluate(nets, *folders, output, **{"mos": False, "workers": 1} | options)
    return read_json(output), output.read_bytes()
