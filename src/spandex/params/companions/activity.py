"""Sizes of the experiments."""

from typing import Annotated, Literal

from pydantic import Field

from spandex.params.section import Count, Positive, Section


class Network(Section):
    """A network, its images and its training."""

    channels: list[Count]
    hidden: Annotated[list[Count], Field(min_length=1)]
    train_images: Count
    validation_images: Count
    test_images: Count
    pretrain_epochs: Annotated[int, Field(ge=0)]
    epochs: Count
    batch_size: Count
    lr: Positive


class Activity(Section):
    """See docs/reference/params.md."""

    psi: Annotated[
        list[Literal["l1", "l2", "l0.5", "l0.1", "l0.01", "hoyer", "hoyer-square"]],
        Field(min_length=1),
    ]
    strengths: Annotated[list[Positive], Field(min_length=1)]
    percentile: Annotated[float, Field(gt=0, le=100)]
    calibration_images: Count
    steps: Annotated[list[Count], Field(min_length=1)]
    mnist: Network
    cifar10: Network
