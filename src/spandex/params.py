"""The typed view of params.yaml: every number of the pipeline, checked before anything runs."""

import copy
import difflib
import functools
import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import Field, ValidationError, model_validator

from spandex.checkout import resolved_mirror
from spandex.companions.denoiser.variants import Variant, variant_of, variants
from spandex.companions.settings import Companions
from spandex.errors import SpandexError
from spandex.section import MOST_THREADS, Count, Fraction, Positive, Section
from spandex.text_files import parse_yaml, read_text

PROFILES = ("embedded", "mini", "dns4")
VARIABLES = ("SPANDEX_SET", "SPANDEX_MIRROR")  # of the environment, which count as if they were typed
SAID = "SPANDEX_SAID"  # set where it has been said that they do
PUBLISHED_STATES = ("ndns-baseline-pt",)  # state dicts of the catalogue's networks
ASSIGNMENT = re.compile(r'(?:[^\s"]|"(?:\\.|[^"\\])*"|")+')  # spaces belong to it within double quotes


class ParamsError(SpandexError):
    """A parameter that is unknown, missing or impossible, named by its dotted key."""


class Minutes(Section):
    """Speech to synthesise for each split, in minutes."""

    train: Positive
    validation: Positive
    test: Positive


class Clips(Section):
    """Number of noisy clips in each split."""

    train: Count
    validation: Count
    test: Count


class Data(Section):
    """Speech, noise, and how they are mixed (the challenge's noisyspeech_synthesizer)."""

    source: Literal["embedded", "mini", "dns4"]
    corpus_minutes: Minutes | None = None  # embedded only
    noise_share: Positive = 0.5  # minutes of noise for each minute of speech, embedded only
    archives: list[str] = Field(default=["*"])  # DNS-4 archives by name, pattern or language
    skip_missing: bool = False  # go on without files that a mirror's corpus.csv lists and the mirror lacks, mini only
    clips: Clips
    sample_rate_hz: Literal[16000]
    clip_s: Annotated[float, Field(ge=1)]
    silence_s: Annotated[float, Field(ge=0)]  # between joined utterances
    snr_db: tuple[int, int]  # integers drawn from [low, high)
    level_dbfs: tuple[int, int]  # integers drawn from [low, high)
    speech_level_dbfs: Annotated[float, Field(lt=0)]
    level_windows: Literal["all", "active"]  # that the levels of speech and noise are over
    peak: Annotated[float, Field(gt=0, le=1)]
    min_activity: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name}: [{low}, {high}) is empty")
        if self.source == "embedded" and self.corpus_minutes is None:
            raise ValueError("corpus_minutes: the embedded corpus needs a size")
        return self

    def is_linked(self, split: str) -> bool:
        """Whether the clips of a split come as they are: those of DNS-4 to test with are the challenge's."""
        return (self.source, split) == ("dns4", "test")


class Model(Section):
    """The SDNN, or a network of one's own, and what it starts from."""

    n_fft: Count  # samples
    hop: Count  # samples
    factory: str | None = None  # package.module:callable that makes other blocks, see spandex.models.from_factory
    arguments: dict[str, Any] = Field(default={})  # of the factory; the keys below are those of the SDNN
    hidden: Count  # neurons
    threshold: Positive
    tau_grad: Positive
    scale_grad: Positive
    max_delay: Annotated[int, Field(ge=0)]  # steps
    pretrained: str | None  # a network of the catalogue, a network.pt, or null for random weights

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pretrained and self.pretrained_file is None and self.pretrained not in PUBLISHED_STATES:
            known = ", ".join(PUBLISHED_STATES)
            raise ValueError(f"pretrained: {self.pretrained!r} is neither a state dict's file nor one of {known}")
        return self

    @property
    def pretrained_file(self) -> Path | None:
        """The state dict that ``pretrained`` names by its path."""
        return Path(self.pretrained) if self.pretrained and Path(self.pretrained).suffix else None


class Train(Section):
    """Baseline training; fine-tuning uses the same optimiser, batches and loss."""

    epochs: Annotated[int, Field(ge=0)]
    epoch_batches: Count | None  # batches in an epoch; null: as many as pass over all clips
    batch_size: Count
    segment_s: Positive
    lr: Positive
    lam: Annotated[float, Field(ge=0)]  # weight of the magnitude error in the loss
    weight_decay: Annotated[float, Field(ge=0)]
    mask_limit: Positive | None  # of the network's outputs, in units of the mask; beyond it they are penalised
    gradient_clip: Positive
    skip_nonfinite: Annotated[int, Field(ge=0)]  # batches of non-finite loss or gradient passed over before it stops
    checkpoint_minutes: Positive
    gradient_dtype: Literal["float32", "bfloat16"]  # of the factors of the products that give gradients
    device: Literal["auto", "cpu", "cuda"]  # auto: a GPU where torch sees one


Schedule = Literal["cubic", "linear", "one-shot", "iterative"]
Targets = Annotated[list[Fraction], Field(min_length=1)]


class Sparsify(Section):
    """Magnitude pruning while fine-tuning, and its dense control; see spandex.sparsify."""

    targets: Targets
    schedule: Schedule
    scope: Literal["global", "layer"]
    epochs: Count
    pruning_epochs: Count
    frequency: Count  # iterations between two pruning steps, cubic and linear only
    rounds: Annotated[int, Field(ge=2)]  # of pruning and retraining, iterative only
    lr_factor: Positive  # on the learning rate once pruning is over

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pruning_epochs > self.epochs:
            raise ValueError(f"pruning_epochs: {self.pruning_epochs} is more than epochs: {self.epochs}")
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets: {self.targets} names one twice")
        return self


class Ablation(Section):
    """What ``make ablation`` compares: schedules, and one schedule over the range of sparsity."""

    schedules: Annotated[list[Schedule], Field(min_length=1)]
    targets: Targets
    knee: Targets


class Deploy(Section):
    """Conversion to Lava and inference there."""

    run_config: Literal["sim", "loihi2"]  # fixed point on the CPU, or the chip
    sparsity_map: Literal["auto"] | bool | list[bool]
    density_threshold: Fraction  # non-zero weights up to which "auto" makes a layer sparse
    clips: Count
    clip_s: Positive  # from the start of each clip

    @property
    def sparsity_text(self) -> str:
        """``sparsity_map`` as typed on the command line."""
        if isinstance(self.sparsity_map, bool):
            return "sparse" if self.sparsity_map else "dense"
        return self.sparsity_map if isinstance(self.sparsity_map, str) else ",".join(map(str, self.sparsity_map))


class Evaluate(Section):
    mos: bool  # DNSMOS takes most of the evaluation's time


class Report(Section):
    team: str


class Pruning(NamedTuple):
    """One way to prune a network: the schedule, and the final sparsity."""

    schedule: str
    target: float


class Params(Section):
    """All parameters of one profile."""

    profile: Literal["embedded", "mini", "dns4"]
    seed: Annotated[int, Field(ge=0)]
    mirror: str | None  # a path or an address, tried before the public sources
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)]  # of training; a part of its result
    data: Data
    model: Model
    train: Train
    sparsify: Sparsify
    ablation: Ablation
    deploy: Deploy
    evaluate: Evaluate
    report: Report
    companions: Companions

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.model.n_fft % self.model.hop:
            raise ValueError(f"model.hop: {self.model.hop} does not divide n_fft: {self.model.n_fft}")
        if self.train.segment_s > self.data.clip_s:
            raise ValueError(f"train.segment_s: {self.train.segment_s} is more than data.clip_s: {self.data.clip_s}")
        if self.model.factory is None and self.model.arguments:
            raise ValueError("model.arguments: there is no model.factory to take them")
        if self.model.factory is not None and self.model.pretrained and not self.model.pretrained_file:
            raise ValueError(
                f"model.pretrained: {self.model.pretrained} is no network of model.factory; "
                "give a state dict of that, or null and train.epochs"
            )
        if self.train.epochs == 0 and self.model.pretrained is None:
            raise ValueError("train.epochs: 0 leaves random weights, unless model.pretrained names a network")
        named: dict[str, float] = {}
        for target in (*self.sparsify.targets, *self.ablation.targets, *self.ablation.knee):
            other = named.setdefault(_percent(target), target)
            if other != target:
                raise ValueError(f"sparsify.targets: {other} and {target} would both be named {_percent(target)}")
        return self

    @property
    def pruned(self) -> dict[str, Pruning]:
        """How every pruned network of the table is pruned, by name, in the order of ``sparsify.targets``."""
        return self._prunings([self.sparsify.schedule], self.sparsify.targets)

    @property
    def schedules_compared(self) -> dict[str, Pruning]:
        """The pruned networks of the ablation, some of which may be in the table too."""
        return self._prunings(self.ablation.schedules, self.ablation.targets)

    @property
    def knee(self) -> dict[str, Pruning]:
        """The pruned networks from dense to nearly empty, by growing sparsity."""
        return self._prunings([self.sparsify.schedule], sorted({*self.ablation.knee, *self.sparsify.targets}))

    @property
    def variants(self) -> dict[str, Pruning]:
        """The pruned networks that the ablation alone needs."""
        both = self.schedules_compared | self.knee
        return {name: pruning for name, pruning in both.items() if name not in self.pruned}

    @property
    def prunings(self) -> dict[str, Pruning]:
        """Every pruned network: those of the table, and those that the ablation alone needs."""
        return self.pruned | self.variants

    @property
    def companion_variants(self) -> dict[str, Variant]:
        """The networks that the companion papers alone need, by name."""
        return {
            variant.name: variant
            for variant in variants(self.sparsify.targets, self.companions.seeds)
            if variant.name not in self.fine_tuned
        }

    def companion_variant(self, model: str) -> Variant | None:
        """The network of a companion paper by name, whatever the number of seeds; None if it is another."""
        return None if model in self.fine_tuned else variant_of(model, self.sparsify.targets)

    def _prunings(self, schedules: Iterable[str], targets: Iterable[float]) -> dict[str, Pruning]:
        prefixes = {schedule: "prune" if schedule == self.sparsify.schedule else schedule for schedule in schedules}
        return {
            f"{prefix}{_percent(target)}": Pruning(schedule, target)
            for schedule, prefix in prefixes.items()
            for target in targets
        }

    @property
    def fine_tuned(self) -> list[str]:
        """The dense control and the pruned networks."""
        return ["dense", *self.pruned]

    @property
    def models(self) -> list[str]:
        """Every network of the table."""
        return ["baseline", *self.fine_tuned]

    def pruning(self, model: str) -> dict[str, Any] | None:
        """How a model is pruned, with the settings that its schedule has; None for one that is not.

        Raises:
            SpandexError: there is no such model.
        """
        if model in ("baseline", "dense"):
            return None
        if variant := self.companion_variant(model):
            return self._companion_method(variant)
        if model not in self.prunings:
            known = [*self.fine_tuned, *self.variants, *self.companion_variants]
            raise SpandexError(f"model {model!r}: the parameters name {', '.join(known)}")
        return self._by_magnitude(*self.prunings[model])

    def seed_of(self, model: str) -> int:
        """The seed of a network's training."""
        variant = self.companion_variant(model)
        return self.seed + (variant.repeat if variant else 0)

    def _companion_method(self, variant: Variant) -> dict[str, Any]:
        """Method, target and seed, with the settings of the method."""
        method: dict[str, Any] = {
            "method": variant.method,
            "target": variant.target,
            "seed": self.seed_of(variant.name),
        }
        if variant.method in ("prune", "events") and variant.target is not None:
            method |= self._by_magnitude(self.sparsify.schedule, variant.target)
        if variant.method in type(self.companions.denoiser).model_fields:
            method |= getattr(self.companions.denoiser, variant.method).model_dump(mode="json")
        return method

    def _by_magnitude(self, schedule: str, target: float) -> dict[str, Any]:
        steps = {"rounds": self.sparsify.rounds} if schedule == "iterative" else {"frequency": self.sparsify.frequency}
        own = {} if schedule == "one-shot" else steps
        return {"schedule": schedule, "target": target, "scope": self.sparsify.scope} | own

    def folder(self, model: str) -> str:
        """Where a network and its training logs lie, below the profile's folder of models."""
        return model if model == "baseline" else f"{self.part(model) or 'sparsified'}/{model}"

    def part(self, model: str) -> str:
        """Which target alone asks for a network, and the folder of its files: ablation, companions, or nothing for
        the table's."""
        if model in self.variants:
            return "ablation"
        return "companions" if self.companion_variant(model) else ""

    def value(self, key: str, without: Collection[str] = ()) -> Any:
        """A section or a value, as JSON has it.

        Args:
            key: such as ``seed``, ``data`` or ``data.source``.
            without: keys that a section is given without, such as ``data.clips``.
        """
        found = _pick(self.model_dump(mode="json"), key)
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if f"{key}.{name}" not in without}
        return found

    def digest(self, *keys: str) -> str:
        """SHA-256 (first 16 digits) of the named sections and keys; of all but ``mirror`` if none is named."""
        parts = {key: self.value(key) for key in keys or type(self).model_fields.keys() - {"mirror"}}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def load(path: str | Path = "params.yaml", overrides: dict[str, Any] | None = None) -> Params:
    """Read, resolve and check the parameters of one profile.

    Args:
        path: a params.yaml.
        overrides: nested values that win over the file; ``set`` holds ``key.key=value`` assignments.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or stands twice, a value is impossible.
    """
    overrides = dict(overrides or {})
    for assigned in _assigned(overrides.pop("set", None)).values():
        _merge(overrides, parse_assignment(assigned))
    content = _read(path)
    profiles = content.pop("profiles", None)
    if not isinstance(profiles, dict) or not profiles:
        raise ParamsError(f"{path}: profiles: {profiles!r} names none")
    name = overrides.get("profile", content.get("profile"))
    if not isinstance(name, str) or name not in profiles:
        raise ParamsError(f"{path}: profile: {name!r} is not one of {', '.join(map(str, profiles))}")
    for other, own in profiles.items():
        _refuse_unknown(path, content, other, own)
    content = _resolve(path, content, name, profiles[name])
    _merge(content, overrides)
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError(f"{path}: {_explain(error.errors())}") from None
    _refuse_truth_for_numbers(path, content, params)
    return params


def with_environment(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides of ``load`` with the mirror that SPANDEX_MIRROR names, if they do not name one."""
    mirror = os.environ.get("SPANDEX_MIRROR")
    return ({"mirror": mirror} if mirror else {}) | overrides


def mirror_in_use(path: str | Path = "params.yaml") -> str | None:
    """The mirror of a process that has no parameters of its own: of SPANDEX_SET, else SPANDEX_MIRROR, else the file.

    Raises:
        ParamsError: as ``load``.
    """
    overrides = with_environment({"set": os.environ.get("SPANDEX_SET")})
    return resolved_mirror(load(path, overrides).mirror)


def _resolve(path: str | Path, shared: dict, profile: str, own: Any) -> dict[str, Any]:
    if not isinstance(own, dict):
        raise ParamsError(f"{path}: profiles.{profile}: holds no sections")
    _refuse_twice(path, profile, shared, own)
    content = copy.deepcopy(shared)
    _merge(content, own)
    return content


def _refuse_unknown(path: str | Path, shared: dict, profile: str, own: Any) -> None:
    """A mistyped key is an error in every profile; values that do not go together only in the one that is used."""
    try:
        Params.model_validate(_resolve(path, shared, profile, own) | {"profile": profile})
    except ValidationError as error:
        unknown = [problem for problem in error.errors() if problem["type"] == "extra_forbidden"]
        if unknown:
            raise ParamsError(f"{path}: profiles.{profile}: {_explain(unknown)}") from None


def _refuse_truth_for_numbers(path: str | Path, content: dict[str, Any], params: Params) -> None:
    """``true`` would pass for 1."""
    checked = flatten(params.model_dump(mode="json"))
    for key, value in flatten(content).items():
        for given, taken in zip(_as_list(value), _as_list(checked.get(key)), strict=False):
            if isinstance(given, bool) and isinstance(taken, int | float) and not isinstance(taken, bool):
                raise ParamsError(f"{path}: {key}: Input should be a number, got {given}")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def assignments(overrides: dict[str, Any]) -> str:
    """Nested overrides as the ``key.key=value`` text that ``set`` takes; what it sets already, wins."""
    text = str(overrides.get("set") or "")
    nested = flatten({key: value for key, value in overrides.items() if key != "set"})
    parts = [
        f"{key}={json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
        for key, value in nested.items()
        if key not in _assigned(text)
    ]
    return " ".join(filter(None, [*parts, text]))


def _assigned(text: str | None) -> dict[str, str]:
    """The ``key.key=value`` assignments of a text by their keys."""
    found: dict[str, str] = {}
    for assignment in ASSIGNMENT.findall(str(text or "")):
        key = assignment.partition("=")[0]
        if found.setdefault(key, assignment) != assignment:
            raise ParamsError(f"{key} is set twice, by {found[key]} and {assignment}")
    return found


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def parse_assignment(text: str) -> dict[str, Any]:
    """``train.lr=0.002`` as ``{"train": {"lr": 0.002}}``; the value is YAML."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ParamsError(f"{text!r} is not of the form key.key=value")
    try:
        nested: Any = parse_yaml(value)
    except SpandexError as error:
        raise ParamsError(f"{key}: {value!r} is not YAML ({error})") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def _read(path: str | Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = parse_yaml(text)
    except SpandexError as error:
        raise ParamsError(f"{path}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: holds no sections")
    return content


def _refuse_twice(path: str | Path, profile: str, shared: dict, own: dict) -> None:
    for section, values in own.items():
        if not isinstance(values, dict) or not isinstance(shared.get(section, {}), dict):
            raise ParamsError(f"{path}: profiles.{profile}.{section}: only sections may differ between profiles")
        for key in values.keys() & shared.get(section, {}).keys():
            raise ParamsError(f"{path}: {section}.{key} stands twice, in {section} and in profiles.{profile}.{section}")


def _percent(target: float) -> str:
    return f"{round(100 * target, 6):g}"


def _pick(content: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda nested, part: nested[part], key.split("."), content)


def _merge(base: dict[str, Any], top: dict[str, Any]) -> None:
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _keys(section: type[Section], prefix: str = "") -> list[str]:
    """The dotted keys of a section, and of the sections in it."""
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        keys += [key for kind in inner for key in _keys(kind, f"{prefix}{name}.")]
    return keys


def _explain(errors: Iterable[Mapping[str, Any]]) -> str:
    problems = []
    for problem in errors:
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, _keys(Params), n=1)
            problems.append(f"{key}: unknown key" + (f"; {close[0]} is one" if close else ""))
        elif problem["type"] == "missing":
            problems.append(f"{key}: missing")
        elif problem["type"] == "value_error":
            problems.append(".".join(part for part in (key, str(problem["ctx"]["error"])) if part))
        else:
            problems.append(f"{key}: {problem['msg']}, got {problem['input']!r}")
    return "; ".join(problems)
