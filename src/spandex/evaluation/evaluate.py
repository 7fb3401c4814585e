"""Evaluate networks on pairs of clips: every clip is read once, on all cores, and scored for all networks."""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ, AudioError
from spandex.data.threads import map_in_order
from spandex.deploy.codec import encode
from spandex.errors import SpandexError
from spandex.evaluation.causes import CAUSES, loss_by_cause
from spandex.evaluation.pairs import Clip, Pair
from spandex.evaluation.recordings import Recordings
from spandex.evaluation.scores import Encoded, deployed_scores, float_scores, input_scores, recorded_scores
from spandex.evaluation.subject import Subject, check_distinct
from spandex.evaluation.summary import differences, summarise
from spandex.files.results import ResultLog
from spandex.metrics import Dnsmos
from spandex.metrics.dnsmos import one_thread_an_operation
from spandex.metrics.latency import buffer_latency_s
from spandex.metrics.size import TOTALS

EXPLAINED_LOSS_DB = 0.02  # a larger loss of fixed point against float is reported by cause


@dataclass(frozen=True)
class Evaluation:
    """Scores of networks on clips.

    Attributes:
        noisy, clean: summary of the input and of the target; empty where they are not judged.
        networks: summaries by name, of networks and of what was denoised elsewhere.
        differences: between any two networks.
        failed: an error for every clip that could not be used.
    """

    noisy: dict[str, Any]
    clean: dict[str, Any]
    networks: dict[str, dict[str, Any]]
    differences: list[dict[str, Any]]
    failed: list[SpandexError]


def evaluate(
    subjects: Sequence[Subject | Recordings],
    pairs: Sequence[Pair],
    dnsmos: Dnsmos | None,
    log: ResultLog,
    known: Mapping[str, Mapping[str, Any]] | None = None,
    workers: int | None = 1,
    progress: Callable[[int], None] = lambda done: None,
    frame: tuple[int, int] = (512, 128),
    judge_inputs: bool = True,
) -> Evaluation:
    """Score every network, or what was denoised elsewhere, on every clip.

    Memory is bounded by the clips in work, two a worker; of those done only the scores are kept.

    Args:
        subjects: networks and recordings, each under a name of its own.
        pairs: clips.
        dnsmos: None leaves MOS out.
        log: scores known from a run that was stopped; new ones are added.
        known: scores of noisy and clean audio by clip digest, see ``known_inputs``.
        workers: clips in work at once, a thread each, one a core if None; they do not change the scores.
        progress: called with 1 after every clip.
        frame: samples of a frame and a hop of the encoder where there is no network to tell.
        judge_inputs: score noisy and clean audio too, without which there are no improvements.

    Raises:
        SpandexError: no clip could be used, or two networks have one name, or one has that of the clips.
    """
    names = [subject.name for subject in subjects]
    for name in names:
        if name in ("noisy", "clean"):
            raise SpandexError(f"a network is called {name!r}, as the clips themselves are; give it another name")
    check_distinct(names)
    job = _Job(subjects, dnsmos, log, known or {}, frame, judge_inputs)
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in ("noisy", "clean", *names)}
    used: list[Pair] = []
    failed: list[SpandexError] = []
    with one_thread_an_operation():  # clips share the cores; the scores then depend on no number of threads
        for pair, result in zip(pairs, map_in_order(job, pairs, workers), strict=True):
            if isinstance(result, SpandexError):
                failed.append(result)
            else:
                used.append(pair)
                digest, found = result
                identity = {"name": pair.noisy.name, "snr_db": pair.snr_db, "digest": digest}
                for name, per_clip in scores.items():
                    per_clip.append(identity | found[name])
            progress(1)
    if not used:
        raise failed[0] if failed else SpandexError("no clips to evaluate")
    summaries = {subject.name: _summary(subject, scores[subject.name]) for subject in subjects}
    for subject in subjects:
        if summaries[subject.name].get("fixed_minus_float_db", 0.0) < -EXPLAINED_LOSS_DB:
            with one_thread_an_operation():
                losses = list(map_in_order(job.loss_by_cause(subject), used, workers))
            means = {cause: float(np.mean([loss[cause] for loss in losses])) for cause in CAUSES}
            summaries[subject.name]["fixed_minus_float_db_by_cause"] = means
    return Evaluation(
        noisy=summarise(scores["noisy"]) if judge_inputs else {},
        clean=summarise(scores["clean"]) if judge_inputs else {},
        networks=summaries,
        differences=differences(summaries),
        failed=failed,
    )


def known_inputs(noisy: Iterable[Mapping[str, Any]], clean: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Scores of noisy and clean audio by clip digest, from the ``per_clip`` lists of an earlier evaluation.

    Raises:
        ValueError: the lists do not belong together, lack a score, or have one that is no number.
    """
    about = ("name", "snr_db", "digest")
    known = {}
    for before, target in zip(noisy, clean, strict=True):
        if before["digest"] != target["digest"] or not {"si_snr_db", "si_snr_enc_dec_db"} <= before.keys():
            raise ValueError(f"clip {before['digest']}: not noisy and clean audio of one clip, with its scores")
        known[before["digest"]] = {
            kind: {name: value for name, value in clip.items() if name not in about}
            for kind, clip in (("noisy", before), ("clean", target))
        }
    values = [value for scores in known.values() for clip in scores.values() for value in clip.values()]
    if not all(isinstance(value, (int, float)) for value in values):
        raise ValueError("a score that is no number")
    return known


@dataclass
class _Job:
    """Scores of one pair; called from several threads."""

    subjects: Sequence[Subject | Recordings]
    dnsmos: Dnsmos | None
    log: ResultLog
    known: Mapping[str, Mapping[str, Any]]
    frame: tuple[int, int]  # where there is no network to tell
    judge_inputs: bool

    def __post_init__(self) -> None:
        frames = [(subject.n_fft, subject.hop) for subject in self.subjects if isinstance(subject, Subject)]
        self.frame = [*frames, self.frame][0]
        self._writing, self._float_pass = threading.Lock(), threading.Lock()

    def __call__(self, pair: Pair) -> tuple[str, dict[str, Any]] | SpandexError:
        try:
            clip = pair.read()
        except SpandexError as error:
            return error
        encoded = functools.cache(functools.partial(encode, clip.noisy))  # once for all networks with these frames
        inputs = self.known.get(clip.digest) or self._input_scores(clip, encoded)
        networks = {}
        try:
            for subject in self.subjects:
                if isinstance(subject, Recordings):
                    score = functools.partial(recorded_scores, pair, clip, subject, inputs["noisy"], self.dnsmos)
                else:
                    score = functools.partial(self._network_scores, clip, encoded, subject, inputs["noisy"])
                networks[subject.name] = self._logged(subject.digest, clip, score)
        except AudioError as error:
            return error
        return clip.digest, inputs | networks

    def _input_scores(self, clip: Clip, encoded: Callable[[int, int, int], Encoded]) -> dict[str, Any]:
        if not self.judge_inputs:
            return {"noisy": {}, "clean": {}}
        frame = self.frame
        return self._logged(f"input {frame}", clip, lambda: input_scores(clip, encoded(*frame, 0), *frame, self.dnsmos))

    def loss_by_cause(self, subject: Subject) -> Callable[[Pair], dict[str, float]]:
        """What gives the loss of a network on one pair; called from several threads."""
        measure = loss_by_cause(subject)

        def logged(pair: Pair) -> dict[str, float]:
            clip = pair.read()
            return self._logged(f"{subject.digest} causes", clip, lambda: measure(clip))

        return logged

    def _logged(self, what: str, clip: Clip, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        key = f"{clip.digest} {what} {'MOS' if self.dnsmos else ''}"
        scores = self.log.get(key)
        if scores is None:
            scores = compute()
            with self._writing:
                self.log.add(key, scores)
        return scores

    def _network_scores(
        self, clip: Clip, encoded: Callable[[int, int, int], Encoded], subject: Subject, noisy: Mapping[str, Any]
    ) -> dict[str, Any]:
        framed = encoded(subject.n_fft, subject.hop, subject.lookahead)
        scores = deployed_scores(clip, framed, subject, noisy, self.dnsmos)
        if subject.float_network is not None:
            scores |= float_scores(clip, subject, scores, self.dnsmos, self._float_pass)
        return scores


def _summary(subject: Subject | Recordings, per_clip: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    quality = {"clips": len(per_clip), **summarise(per_clip)}
    if isinstance(subject, Recordings):
        return quality
    latency = {"latency_buffer_ms": 1e3 * buffer_latency_s(subject.n_fft, SAMPLE_RATE_HZ)}
    return quality | latency | {name: getattr(subject.size, name) for name in TOTALS}
