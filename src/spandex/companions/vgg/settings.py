"""Sizes of the experiments."""

from spandex.section import Count, Section


class Vgg(Section):
    """See docs/reference/params.md."""

    train_images: Count
