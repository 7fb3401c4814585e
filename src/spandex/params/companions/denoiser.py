"""How the methods of the companion papers are set on the denoiser."""

from typing import Annotated, Literal

from pydantic import Field

from spandex.params.section import Positive, Section


class Events(Section):
    """Activity regularization of the delta events of the hidden layers."""

    psi: Literal["l1", "l2", "l0.5", "l0.1", "l0.01", "hoyer", "hoyer-square"]
    weight: Positive


class Scores(Section):
    """Learnable masks for weights and neurons; beta grows from the first to the last value while they are searched."""

    weight: Positive
    beta: tuple[Positive, Positive]


class Noise(Section):
    """Lyapunov noise pruning of synapses."""

    gain_limit: Annotated[float, Field(ge=1)]  # of a kept weight


class Denoiser(Section):
    """One section a method."""

    events: Events
    masks: Scores
    noise: Noise
