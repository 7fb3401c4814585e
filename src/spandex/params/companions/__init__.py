"""Parameters of the companion papers: the same keys at a size for a laptop and at the papers' own."""

from typing import Annotated, Literal

from pydantic import Field

from spandex.params.companions.activity import Activity
from spandex.params.companions.lyapunov import Lyapunov
from spandex.params.companions.masks import Masks
from spandex.params.companions.vgg import Vgg
from spandex.params.section import Section


class Experiments(Section):
    """Of every paper."""

    activity: Activity
    masks: Masks
    lyapunov: Lyapunov
    vgg: Vgg


class Companions(Section):
    """Which size, and how often each experiment is repeated."""

    size: Literal["small", "full"]
    seeds: Annotated[int, Field(ge=1)]  # from seed on
    small: Experiments
    full: Experiments

    @property
    def experiments(self) -> Experiments:
        """Those of the chosen size."""
        return getattr(self, self.size)
