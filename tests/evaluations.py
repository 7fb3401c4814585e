"""Folders of clips and evaluations of them, as several tests need them."""

from pathlib import Path

import numpy as np
import soundfile

from denoising import noisy_pair
from spandex import evaluation
from spandex.data.audio import write_wav
from spandex.files.results import ResultLog
from spandex.files.text import read_json
from spandex.metrics import si_snr
from spandex.steps.evaluate import evaluate

# sends itself signal argv[1] while it writes the line after line argv[2] of a log; what is to be stopped comes behind
STOPPED_IN_WRITING = """
import os, sys
from spandex.files.results import ResultLog

def add(log, key, scores, whole=ResultLog.add):
    whole(log, key, scores)
    if len(log.path.read_bytes().splitlines()) == int(sys.argv[2]):
        log._file.write('["torn')
        log._file.flush()
        os.kill(os.getpid(), int(sys.argv[1]))

ResultLog.add = add
"""


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


def scores_of(path, noisy, clean, folder, dnsmos=None, with_float=False):
    """Scores of one clip, through files that keep every bit: (noisy, network)."""
    for kind, audio in (("noisy", noisy), ("clean", clean)):
        (folder / kind).mkdir()
        soundfile.write(folder / kind / "clip.wav", audio, 16_000, "FLOAT")
    pairs, alone = evaluation.pair_clips(folder / "noisy", folder / "clean")
    assert not alone
    subject = evaluation.load_subject(path, "network", with_float=with_float)
    result = evaluation.evaluate([subject], pairs, dnsmos, ResultLog(folder / "log"))
    return result.noisy["per_clip"][0], result.networks["network"]["per_clip"][0]


def double_si_snr(estimate, target):
    return float(si_snr(estimate.astype(np.float64), target.astype(np.float64)))
