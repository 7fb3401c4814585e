"""All parameters of one profile, and the networks that follow from them."""

import functools
import hashlib
import json
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from spandex.errors import SpandexError
from spandex.params.companions import Companions
from spandex.params.section import MOST_THREADS, Section
from spandex.params.sections import Ablation, Data, Deploy, Evaluate, Model, Report, Sparsify, Train
from spandex.params.variants import Variant, variant_of, variants


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


def _percent(target: float) -> str:
    return f"{round(100 * target, 6):g}"


def _pick(content: dict[str, Any], key: str) -> Any:
    return functools.reduce(lambda nested, part: nested[part], key.split("."), content)
