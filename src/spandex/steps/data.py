"""Corpora and their noisy mixtures."""

import hashlib
import json
from functools import partial
from pathlib import Path

from tqdm import tqdm

from spandex import data
from spandex.checkout import resolved_mirror
from spandex.data.listing import list_files
from spandex.data.public import find_test_set, prepare_corpus
from spandex.data.shards import Shard
from spandex.files import write_json
from spandex.params import Params
from spandex.pipeline.provenance import produced_by


def corpus(params: Params, manifest: Path, workers: int) -> None:
    """Synthesise or download speech and noise, and list them in a manifest."""
    directory = manifest.parent
    if not params.data.is_synthetic:
        prepare_corpus(
            params.data.source,
            directory,
            mirror=resolved_mirror(params.mirror),
            workers=workers,
            archives=params.data.archives,
            skip_missing=params.data.skip_missing,
        )
        return
    speech = params.data.corpus_minutes.model_dump()
    noise = {split: params.data.noise_share * minutes for split, minutes in speech.items()}
    with tqdm(desc="corpus", unit=" files", disable=None) as bar:
        data.build_synthetic(directory, speech, noise, params.seed, workers, partial(_show, bar))
    entries = data.read_manifest(manifest)
    for kind in ("speech", "noise"):
        seconds = [entry.duration_s for entry in entries if entry.kind == kind]
        print(f"corpus: {len(seconds)} files of {kind}, {sum(seconds) / 60:.0f} min")


def synthesize(
    params: Params, manifest: Path, split: str, output: Path, workers: int, shard: Shard | None = None
) -> None:
    """Mix the clips of one split; list them, and the source files that could not be used.

    The test clips of DNS-4 are not mixed: they are the challenge's test set 1.

    Args:
        manifest: of the corpus (CSV).
        output: the list (JSON); clips are written beside it.
        workers: number of processes.
        shard: mix this share of the clips only, and leave the list to a call without.
    """
    count = getattr(params.data.clips, split)
    skipped = []
    if shard is None and params.data.is_linked(split):
        data.link_clips(find_test_set(manifest.parent), output.parent, count)
    else:
        skipped = _mix(params, manifest, split, output.parent, count, workers, shard)
    if shard is not None:
        return
    clips, files = data.NoisySpeech(output.parent), list_files(output.parent, workers)
    print(f"{split}: {len(clips)} clips")
    content = {
        "split": split,
        "clips": [file.name for file in clips.noisy_files],
        "digest": hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16],
        "files": files,
        "skipped": [skip._asdict() for skip in skipped],
        "produced_by": produced_by([manifest], params),
    }
    write_json(output, content)


def _mix(
    params: Params, manifest: Path, split: str, directory: Path, count: int, workers: int, shard: Shard | None = None
) -> list[data.SkippedFile]:
    settings = data.SynthesisSettings(**params.data.synthesis)
    with tqdm(desc=split, unit=" clips", disable=None) as bar:
        options = {"workers": workers, "progress": partial(_show, bar), "shard": shard}
        skipped = data.synthesize(manifest, split, directory, count, settings, params.seed, **options)
    for path, reason in skipped:
        print(f"not used: {path}: {reason}")
    return skipped


def _show(bar: tqdm, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)
