"""Clips to look at and listen to: a typical one, and those that gained and lost most, before and after networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.deploy.codec import decode, encode
from spandex.errors import SpandexError
from spandex.evaluation import Subject, pair_clips
from spandex.evaluation.pairs import Clip
from spandex.report.audio import MP3_BYTES_PER_S, data_uri, mp3, power_spectrogram, spectrogram_webp
from spandex.report.clip_names import described

AUDIO_BYTES = 5_500_000  # of all players of a page, as base64
BASE64 = 4 / 3
TICKS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600)
MOST_TICKS = 10
LOUD = 0.9  # peak of the loudest version of a clip


@dataclass(frozen=True)
class Version:
    """A clip as it was, or as a network leaves it.

    Attributes:
        name: noisy, clean, or of the network.
        si_snr_db: of the whole clip; None for the clean one.
        audio, spectrogram: addresses that hold the data themselves.
    """

    name: str
    si_snr_db: float | None
    audio: str
    spectrogram: str


@dataclass(frozen=True)
class Example:
    """A clip in all its versions.

    Attributes:
        kind: typical, best or worst.
        name: of the file.
        title: what is known of it, in words.
        improvement_db: SI-SNR improvement, mean over the networks.
        excerpt_s: seconds from its start that are heard.
        clip_s: seconds of the clip.
        gain_db: by which all versions are amplified alike.
        versions: noisy, clean, then the networks.
    """

    kind: str
    name: str
    title: str
    improvement_db: float
    excerpt_s: float
    clip_s: float
    gain_db: float
    versions: tuple[Version, ...]

    @property
    def ticks_s(self) -> list[float]:
        """Seconds for an axis of time, at most eleven from 0 on."""
        step = next((step for step in TICKS_S if self.excerpt_s / step <= MOST_TICKS), self.excerpt_s)
        return [step * place for place in range(int(self.excerpt_s / step) + 1)]


def choose(improvements_db: Mapping[str, float]) -> dict[str, str]:
    """The clips to show, by kind: of median, largest and smallest improvement; each clip once.

    Args:
        improvements_db: by clip.
    """
    ordered = sorted(improvements_db, key=lambda name: (improvements_db[name], name))
    chosen = {"typical": ordered[(len(ordered) - 1) // 2], "best": ordered[-1], "worst": ordered[0]}
    return {kind: name for i, (kind, name) in enumerate(chosen.items()) if name not in list(chosen.values())[:i]}


def mean_improvements(networks: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """SI-SNR improvement in dB by clip, mean over networks, from the scores of ``spandex.evaluation``."""
    per_clip = [{clip["name"]: clip["si_snri_db"] for clip in metrics["per_clip"]} for metrics in networks.values()]
    return {name: float(np.mean([clips[name] for clips in per_clip])) for name in per_clip[0]}


def examples(
    folder: Path, noisy: Mapping[str, Any], networks: Mapping[str, Mapping[str, Any]], subjects: Sequence[Subject]
) -> list[Example]:
    """The chosen clips with their audio as every network leaves it, exactly as evaluated.

    Args:
        folder: of the test clips, with noisy/ and clean/.
        noisy, networks: scores, from ``spandex.evaluation``, with ``per_clip``.
        subjects: the networks of ``networks`` to listen to.

    Raises:
        SpandexError: a clip is missing or not the one that was evaluated.
    """
    shown = {subject.name: networks[subject.name] for subject in subjects}
    improvements = mean_improvements(shown)
    files = {pair.noisy.name: pair for pair in pair_clips(folder / "noisy", folder / "clean")[0]}
    before = {clip["name"]: clip for clip in noisy["per_clip"]}
    scores = {name: {clip["name"]: clip["si_snr_db"] for clip in m["per_clip"]} for name, m in shown.items()}
    chosen = choose(improvements)
    seconds = AUDIO_BYTES / BASE64 / MP3_BYTES_PER_S / len(chosen) / (2 + len(subjects))
    found = []
    for kind, name in chosen.items():
        if name not in files:
            raise SpandexError(f"{folder}/noisy/{name}: no such clip; it has been evaluated")
        clip = files[name].read()
        if clip.digest != before[name]["digest"]:
            raise SpandexError(f"{folder}/noisy/{name}: another clip than the one that was evaluated")
        values = {"noisy": before[name]["si_snr_db"], "clean": None, **{of: scores[of][name] for of in scores}}
        audio = {"noisy": clip.noisy, "clean": clip.clean, **{s.name: denoised(s, clip) for s in subjects}}
        found.append(_example(kind, name, improvements[name], audio, values, seconds))
    return found


def denoised(subject: Subject, clip: Clip) -> np.ndarray:
    """Audio (samples,) as the deployed network leaves it."""
    framing = subject.n_fft, subject.hop, subject.lookahead
    inputs, spectrum = encode(clip.noisy, *framing)
    outputs = subject.executor.run(inputs).outputs
    return decode(outputs, spectrum, *framing)[: len(clip.noisy)]


def _example(
    kind: str,
    name: str,
    improvement_db: float,
    audio: Mapping[str, np.ndarray],
    values: Mapping[str, float | None],
    seconds: float,
) -> Example:
    whole = len(audio["noisy"])
    heard = {version: samples[: int(seconds * SAMPLE_RATE_HZ)] for version, samples in audio.items()}
    gain = LOUD / max(np.abs(samples).max() for samples in heard.values())
    power = {version: power_spectrogram(samples) for version, samples in heard.items()}
    loudest = max(spectrum.max() for spectrum in power.values())
    return Example(
        kind=kind,
        name=name,
        title=described(name),
        improvement_db=improvement_db,
        excerpt_s=len(heard["noisy"]) / SAMPLE_RATE_HZ,
        clip_s=whole / SAMPLE_RATE_HZ,
        gain_db=float(20 * np.log10(gain)),
        versions=tuple(
            Version(
                name=version,
                si_snr_db=values[version],
                audio=data_uri("audio/mpeg", mp3(gain * samples)),
                spectrogram=data_uri("image/webp", spectrogram_webp(power[version], loudest)),
            )
            for version, samples in heard.items()
        ),
    )
