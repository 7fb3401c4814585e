"""Sizes of the experiment."""

from typing import Annotated

from pydantic import Field

from spandex.params.section import Count, Fraction, Positive, Section


class Neuron(Section):
    """Current-based leaky integrate-and-fire, in units of lava-dl's weights."""

    threshold: Positive
    voltage_decay: Annotated[float, Field(ge=0, le=1)]
    tau_grad: Positive
    scale_grad: Positive


class Vgg(Section):
    """See docs/reference/params.md."""

    channels: Annotated[list[Annotated[list[Count], Field(min_length=1)]], Field(min_length=1)]
    hidden: Count
    voters: Count
    steps: Count
    weight_scale: Positive
    gain: Positive
    neuron: Neuron
    train_images: Count
    test_images: Count
    lava_images: Count
    batch_size: Count
    lr: Positive
    epochs: Count
    pruning_epochs: Count
    retraining_epochs: Count
    lr_factor: Positive
    rounds: Annotated[int, Field(ge=2)]
    sparsity: Fraction
    neurons_pruned: Fraction
