"""Parameters of the companion papers: the same keys at a size for a laptop and at the papers' own."""

from typing import Annotated, Literal

from pydantic import Field

from spandex.companions.activity.settings import Activity
from spandex.companions.denoiser.settings import Denoiser
from spandex.companions.lyapunov.settings import Lyapunov
from spandex.companions.masks.settings import Masks
from spandex.companions.vgg.settings import Vgg
from spandex.section import Section


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
    denoiser: Denoiser
    small: Experiments
    full: Experiments

    @property
    def experiments(self) -> Experiments:
        """Those of the chosen size."""
        return getattr(self, self.size)
