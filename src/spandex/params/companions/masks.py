"""Sizes of the experiment."""

from typing import Annotated

from pydantic import Field

from spandex.params.section import Count, Fraction, Positive, Section

Sweep = Annotated[list[Positive], Field(min_length=1)]


class Lambdas(Section):
    """Weights of the penalty, by what is searched."""

    both: Sweep
    weights: Sweep
    neurons: Sweep


class Masks(Section):
    """See docs/reference/params.md."""

    train_images: Count
    test_images: Count
    image_px: Annotated[int, Field(ge=8, le=32, multiple_of=4)]
    width: Count
    convolutions: Count
    hidden: Count
    voters: Count
    steps: Count
    leak: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Count
    lr: Positive
    warm_epochs: Annotated[int, Field(ge=0)]
    search_epochs: Count
    finetune_epochs: Annotated[int, Field(ge=0)]
    beta: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    lambdas: Lambdas
    magnitude_targets: Annotated[list[Fraction], Field(min_length=1)]
    energy_per_sop_fj: Positive
