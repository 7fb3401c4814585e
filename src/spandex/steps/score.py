"""Clips that were denoised elsewhere, in the columns of the table that tell quality."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.devices import judging_device
from spandex.evaluation import evaluate, pair_clips
from spandex.evaluation.recordings import find_recordings
from spandex.files import PARTIAL, refuse_overwriting
from spandex.files.results import ResultLog
from spandex.metrics import Dnsmos
from spandex.pipeline.provenance import code_digest, produced_by
from spandex.report.table import quality_rows, to_markdown
from spandex.report.terminal import fitted
from spandex.steps.evaluate import some_failed, write_scores


def score(
    folder: Path,
    clean: Path,
    noisy: Path | None = None,
    output: Path | None = None,
    *,
    name: str | None = None,
    align: bool = False,
    mos: bool = True,
    workers: int | None = None,
    device: str = "cpu",
) -> None:
    """Print the quality of denoised clips, and write JSON as ``evaluate`` does.

    Args:
        folder, clean, noisy: paired by fileid_N or by name; improvements need noisy clips.
        output: JSON file, if any; a run that was stopped goes on from what lies beside it.
        name: of the folder in what is printed and written.
        align: whether SI-SNR is of what remains when a lag is taken away.
        mos: whether to compute DNSMOS.
        workers: clips at once; one a core if None.
        device: where DNSMOS runs: cpu, cuda, or auto.

    Raises:
        SpandexError: a folder cannot be used, or some clips failed: the rest has been scored.
    """
    recordings = find_recordings(folder, clean, name, align)
    pairs, alone = pair_clips(noisy or folder, clean)
    if alone:
        raise alone[0]
    files = [*recordings.files.values(), *(path for pair in pairs for path in (pair.noisy, pair.clean))]
    if output is not None:
        refuse_overwriting([output], files)
    dnsmos = Dnsmos(threads=1, device=judging_device(device)) if mos else None
    log = ResultLog(output and output.with_name(f"{output.name}{PARTIAL}"), code_digest())
    with tqdm(total=len(pairs), desc=recordings.name, unit=" clips", disable=None) as bar:
        options = {"workers": workers, "progress": bar.update, "judge_inputs": noisy is not None}
        result = evaluate([recordings], pairs, dnsmos, log, **options)
    if output is not None:
        settings = {"align": align, "mos": mos}
        write_scores(output, result, len(pairs) - len(result.failed), result.failed, settings, produced_by(files))
    if result.failed:
        log.close()
    else:
        log.remove()
    shown = result.networks | ({"noisy": result.noisy} if result.noisy else {})
    print(fitted(to_markdown(*quality_rows(shown))))
    print(_lags(result.networks[recordings.name]["per_clip"], align))
    if result.failed:
        raise some_failed(result.failed, output)


def _lags(per_clip: Sequence[Mapping[str, Any]], align: bool) -> str:
    lags = Counter(clip["lag_samples"] for clip in per_clip)
    late = {lag: count for lag, count in lags.most_common() if lag}
    if not late:
        return "no lag"
    lag, count = next(iter(late.items()))
    others = f", others in {sum(late.values()) - count}" if len(late) > 1 else ""
    found = f"a lag of {lag} samples ({1e3 * lag / SAMPLE_RATE_HZ:.1f} ms) in {count} of {len(per_clip)} clips{others}"
    return f"{found}; {'taken away' if align else 'SI-SNR is of the files as they are, --align takes it away'}"
