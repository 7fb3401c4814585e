"""Which networks compare the methods on the denoiser."""

from collections.abc import Iterable
from typing import NamedTuple

METHODS = ("dense", "prune", "events", "masks", "noise")  # the first two are SPANDEX's own
DENSE = ("dense", "events")  # leave all weights alone if they are given no target


class Variant(NamedTuple):
    """The baseline, fine-tuned by one method.

    Attributes:
        method: one of ``METHODS``.
        target: sparsity of its weights, or None.
        repeat: 0 for the seed of the parameters, 1 for the next, ...
    """

    method: str
    target: float | None
    repeat: int

    @property
    def name(self) -> str:
        """Such as dense, prune50, events75 and, with the next seed, events75-2."""
        percent = "" if self.target is None else f"{round(100 * self.target, 6):g}"
        return f"{self.method}{percent}" + (f"-{self.repeat + 1}" if self.repeat else "")


def variants(targets: Iterable[float], repeats: int) -> list[Variant]:
    """Every method at every sparsity, and without any where it has a use for that, with every seed."""
    found = []
    targets = list(targets)
    for repeat in range(repeats):
        for method in METHODS:
            found += [Variant(method, None, repeat)] if method in DENSE else []
            found += [Variant(method, target, repeat) for target in targets if method != "dense"]
    return found


def variant_of(name: str, targets: Iterable[float]) -> Variant | None:
    """The network of a name, whatever the number of seeds; None if it is none of these."""
    first, _, number = name.partition("-")
    repeat = int(number) - 1 if number.isdigit() else 0
    for variant in variants(targets, 1):
        found = variant._replace(repeat=repeat)
        if variant.name == first and found.name == name and repeat >= 0:
            return found
    return None
