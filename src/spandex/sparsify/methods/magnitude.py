"""Gradual magnitude pruning: the smallest weights go, more and more of them; see docs/explanation/gmp.md."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from spandex.params.section import Count, Pruning

TITLE = "magnitude (SPANDEX)"
SOURCE = "SPANDEX write-up"
OWN = {"cubic": "frequency", "linear": "frequency", "iterative": "rounds"}  # the setting that a schedule alone has


class Settings(Pruning):
    schedule: Literal["cubic", "linear", "one-shot", "iterative"]
    scope: Literal["global", "layer"]
    frequency: Count | None = None  # iterations between two pruning steps, cubic and linear only
    rounds: Annotated[int, Field(ge=2)] | None = None  # of pruning and retraining, iterative only

    @model_validator(mode="after")
    def _check(self) -> Self:
        own = OWN.get(self.schedule)
        if own is not None and getattr(self, own) is None:
            raise ValueError(f"{own}: the schedule {self.schedule} needs it")
        return self

    @model_serializer(mode="wrap")
    def _what_counts(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = set(OWN.values()) - {OWN.get(self.schedule)}
        return {name: value for name, value in serialize(self).items() if name not in unused}


def make(network, settings, iterations, seed):
    """See ``spandex.sparsify.methods``; nothing is drawn."""
    from spandex.sparsify import pruner_within

    return pruner_within(iterations, network, **settings.model_dump(exclude={"power_mops"}))
