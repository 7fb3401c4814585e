"""What every section of the parameters is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
DENSITY_THRESHOLD = 0.9  # up to which a layer is made sparse; that of params.yaml, where no parameters are read
MOST_LOOKAHEAD = 1  # steps later that a mask may be: one brings the 32 ms of delay to the challenge's limit of 40 ms
MOST_THREADS = 1024  # more than any one machine has a use for; systems fail at tens of thousands


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
