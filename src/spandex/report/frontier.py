"""The frontier of quality and cost: networks of several methods at several power budgets, over clips and seeds.

A build and the docs make table and figure of the same records, one a seed, whose numbers are rounded to more digits
than people see and fewer than the last bits that an order of summation decides.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import TypeAdapter, ValidationError

from spandex.errors import SpandexError
from spandex.files import write_text
from spandex.files.text import read_json
from spandex.metrics.bootstrap import Interval
from spandex.metrics.repeats import interval_over_clips_and_seeds
from spandex.params.networks import ROOT
from spandex.report.headline import POWER
from spandex.report.tabular import Table, to_markdown
from spandex.report.wording import number

SI_SNR, MOS = "si_snr_db", "mos_ovrl_all_hops"
BY_CLIP = {SI_SNR: 5, POWER: 0, MOS: 5}  # scores of spandex.evaluation, and their decimals here
DECIMALS = BY_CLIP | {"fixed_minus_float_db": 5, "wrapped_outputs": 0, "parameters": 0, "size_kb": 2}
COLUMNS = {
    "model": None,
    "method": None,
    "budget (M-Ops/s)": None,
    "power proxy (M-Ops/s)": 2,
    "SI-SNR (dB)": 2,
    "to dense control (dB)": 2,
    f"to {ROOT} (dB)": 2,
    "MOS ovrl, all hops": 2,
    f"MOS to {ROOT}": 3,
    "fixed - float (dB)": 3,
    "wrapped outputs": 0,
    "params (thousand)": 1,
    "size (KB)": 1,
}  # decimals by heading


@dataclass(frozen=True)
class Result:
    """What a network came to with one seed.

    Attributes:
        label: what people see in place of its name, if it is not empty.
        kind: made sparse here, trained here and not made sparse, or not trained here.
        method: what it was trained with; empty if it was not trained here.
        power_mops: M-Ops/s that its method was to stay below, if it was given any.
        code: digest of the code and the parameters that made its weights.
        scores: of ``DECIMALS``, means over the clips and totals.
        per_clip: of ``BY_CLIP``, one value a clip.
    """

    label: str
    kind: Literal["sparse", "dense", "reference"]
    method: str
    power_mops: float | None
    code: str
    scores: Mapping[str, float]
    per_clip: Mapping[str, list[float]]

    @classmethod
    def of(cls, scores: Mapping[str, Any], **about: Any) -> "Result":
        """From scores of ``spandex.evaluation``, and the other attributes."""
        return cls(
            scores={key: round(scores[key], digits) for key, digits in DECIMALS.items() if key in scores},
            per_clip={
                key: [round(clip[key], digits) for clip in scores["per_clip"]]
                for key, digits in BY_CLIP.items()
                if key in scores
            },
            **about,
        )


@dataclass(frozen=True)
class Seed:
    """The networks of one seed.

    Attributes:
        profile: of the build.
        seed: of the training.
        same_clips: whether the test clips are those of the challenge's board.
        clips: digests of the test clips.
        networks: by the name that they have with the first seed; the baseline and a dense control are among them.

    Raises:
        ValueError: one of these is missing, or a network lacks SI-SNR or power of a clip.
    """

    profile: str
    seed: int
    same_clips: bool
    clips: list[str]
    networks: Mapping[str, Result]

    def __post_init__(self) -> None:
        if ROOT not in self.networks or all(result.kind != "dense" for result in self.networks.values()):
            raise ValueError(f"the frontier needs {ROOT} and a dense control")
        for name, result in self.networks.items():
            if not {SI_SNR, POWER} <= result.per_clip.keys() & result.scores.keys():
                raise ValueError(f"{name}: no {SI_SNR} or no {POWER}")
            if any(len(values) != len(self.clips) for values in result.per_clip.values()):
                raise ValueError(f"{name}: not one value a clip")


class Point(NamedTuple):
    """A network in the plane of power and quality, means over clips and seeds.

    Attributes:
        title: for people.
        kind, method: see ``Result``.
        power_mops_per_s: power proxy as deployed.
        si_snr_db: SI-SNR.
        bars_db: from the mean to the ends of the 95 % interval of the difference to the dense control, below and above.
    """

    title: str
    kind: str
    method: str
    power_mops_per_s: float
    si_snr_db: float
    bars_db: tuple[float, float]


def write_seed(seed: Seed, path: Path) -> None:
    """Write JSON with a line a network."""
    about = asdict(seed)
    networks = ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in about.pop("networks").items())
    write_text(path, f'{json.dumps(about)[:-1]}, "networks": {{\n{networks}\n}}}}\n')


def read_seeds(folder: Path) -> list[Seed]:
    """What ``write_seed`` wrote into seed-N.json of a folder, by seed.

    Raises:
        SpandexError: a file is not that, or is of other networks, clips or another profile than the first.
    """
    found: list[Seed] = []
    for path in sorted(folder.glob("seed-*.json")):
        content = read_json(path)
        try:
            found.append(TypeAdapter(Seed).validate_python(content))
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise SpandexError(f"{path}: {place}: {error.errors()[0]['msg']}; not a seed of the frontier") from None
        for what in ("profile", "clips", "networks"):
            first, this = (getattr(seed, what) for seed in (found[0], found[-1]))
            if list(first) != list(this):
                raise SpandexError(f"{path}: {what} other than of seed {found[0].seed}; keep all of one build")
    return sorted(found, key=lambda seed: seed.seed)


def dense(seeds: Sequence[Seed]) -> str:
    """The better one of the dense controls."""
    controls = [name for name, result in seeds[0].networks.items() if result.kind == "dense"]
    return max(controls, key=lambda name: _over(seeds, SI_SNR, name).mean)


def points(seeds: Sequence[Seed]) -> list[Point]:
    """All networks, in order."""
    control, found = dense(seeds), []
    for name, result in seeds[0].networks.items():
        mean, low, high = _over(seeds, SI_SNR, name, control)
        power, quality = (_over(seeds, score, name).mean for score in (POWER, SI_SNR))
        title = result.label or name
        found.append(Point(title, result.kind, result.method, power / 1e6, quality, (mean - low, high - mean)))
    return found


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """Those than which no other is both cheaper and better, by growing power."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.power_mops_per_s, -point.si_snr_db)):
        if not front or point.si_snr_db > front[-1].si_snr_db:
            front.append(point)
    return front


def cost_table(seeds: Sequence[Seed]) -> Table:
    """What each budget costs against the better dense control, and against the baseline."""
    control = dense(seeds)
    rows = [
        [
            result.label or name,
            result.method,
            result.power_mops,
            _scaled(_over(seeds, POWER, name), 1e-6),
            _over(seeds, SI_SNR, name),
            None if name == control else _over(seeds, SI_SNR, name, control),
            None if name == ROOT else _over(seeds, SI_SNR, name, ROOT),
            _over(seeds, MOS, name),
            None if name == ROOT else _over(seeds, MOS, name, ROOT),
            _mean(seeds, "fixed_minus_float_db", name),
            _mean(seeds, "wrapped_outputs", name),
            _mean(seeds, "parameters", name) / 1e3,
            _mean(seeds, "size_kb", name),
        ]
        for name, result in seeds[0].networks.items()
    ]
    return Table("frontier", "", list(COLUMNS), rows, list(COLUMNS.values()))


def about(seeds: Sequence[Seed]) -> str:
    """What the means and intervals are over, and what the differences are to."""
    numbers, several = ", ".join(str(seed.seed) for seed in seeds), len(seeds) > 1
    return (
        f"Means over {len(seeds[0].clips)} test clips of profile {seeds[0].profile}"
        f"{' and over seeds' if several else ', seed'} {numbers}; 95 % intervals are over clips "
        f"{'and seeds' if several else 'alone'}, differences paired. The dense control is {dense(seeds)}."
    )


def agreement(kept: Seed, built: Seed | None, seeds: Sequence[Seed]) -> str:
    """Whether a build's numbers of a seed are those kept, to the digit; else where they differ, as Markdown.

    Args:
        kept: the seed that is kept.
        built: the build's; None if it has none.
        seeds: all that are kept, whose intervals the build's numbers should lie in.
    """
    if built is None:
        return f"Seed {kept.seed}: kept, and not part of this build.\n"
    both = [name for name in kept.networks if name in built.networks]
    alone = [f"{name} is only kept" for name in kept.networks if name not in both]
    alone += [f"{name} is not kept" for name in built.networks if name not in both]
    pairs = {name: (built.networks[name], kept.networks[name]) for name in both}
    other = {name: pair for name, pair in pairs.items() if kept.clips != built.clips or _numbers(*pair)}
    if not other and not alone:
        return f"Seed {kept.seed}: the numbers of all {len(both)} networks are those kept, to the digit.\n"
    said = [f"{len(other)} of {len(both)} networks differ from what is kept", *alone]
    said += ["the test clips are others"] if kept.clips != built.clips else []
    headings = ["model", "SI-SNR (dB)", "kept", "power proxy (M-Ops/s)", "kept", "in the intervals", "trained alike"]
    rows = [
        [
            name,
            *(number(result.scores[SI_SNR], 5) for result in pair),
            *(number(result.scores[POWER] / 1e6, 6) for result in pair),
            "yes" if all(_is_within(built, seeds, score, name) for score in (SI_SNR, POWER)) else "no",
            "yes" if len({result.code for result in pair}) == 1 else "no",
        ]
        for name, pair in other.items()
    ]
    table = Table("agreement", "", headings, rows)
    return f"Seed {kept.seed}: {'; '.join(said)}.\n" + (f"\n{to_markdown(table)}" if other else "")


def _numbers(built: Result, kept: Result) -> bool:
    """Whether any number differs."""
    return (kept.scores, kept.per_clip) != (built.scores, built.per_clip)


def _is_within(built: Seed, kept: Sequence[Seed], score: str, name: str) -> bool:
    """Whether a network's difference to the baseline lies in the 95 % interval of those that are kept; the baseline's
    own score is compared as it is. Levels vary too much from clip to clip to tell anything of the same clips."""
    minus = None if name == ROOT else ROOT
    found, bounds = _over([built], score, name, minus).mean, _over(kept, score, name, minus)
    return bounds.low <= found <= bounds.high


def _over(seeds: Sequence[Seed], score: str, name: str, minus: str | None = None) -> Interval | None:
    """A score of a network, or its difference to another; None where it was left out."""
    networks = [seed.networks[name] for seed in seeds]
    if any(score not in network.per_clip for network in networks):
        return None
    values = np.array([network.per_clip[score] for network in networks])
    if minus is not None:
        values = values - [seed.networks[minus].per_clip[score] for seed in seeds]
    return interval_over_clips_and_seeds(values)


def _mean(seeds: Sequence[Seed], score: str, name: str) -> float | None:
    found = [seed.networks[name].scores.get(score) for seed in seeds]
    return None if None in found else sum(found) / len(found)


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(*(factor * value for value in interval))
