"""What every section of the parameters is made of."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Device = Literal["auto", "cpu", "cuda"]  # auto: a GPU where torch sees one
DENSITY_THRESHOLD = 0.9  # up to which a layer is made sparse; that of params.yaml, where no parameters are read
MOST_SEED = 2**62  # generators take 64 bits with a sign; repeats and experiments add to it
MOST_LOOKAHEAD = 1  # steps later that a mask may be: one brings the 32 ms of delay to the challenge's limit of 40 ms
INCOMPLETE = "incomplete"  # type of the error that a setting is missing which another could stand for
MOST_THREADS = 1024  # more than any one machine has a use for; systems fail at tens of thousands


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Pruning(Section):
    """Settings of a method that prunes single weights: how far."""

    target: Fraction | None = None  # share of weights that are zero in the end
    power_mops: Positive | None = None  # in its place: what the deployed network may cost, in M-Ops/s

    @model_validator(mode="after")
    def _check_aim(self) -> Self:
        if self.target is not None and self.power_mops is not None:
            raise ValueError(f"power_mops: {self.power_mops:g} and target: {self.target:g} exclude one another")
        if self.target is None and self.power_mops is None:
            raise PydanticCustomError(INCOMPLETE, "target or power_mops is missing")
        return self
