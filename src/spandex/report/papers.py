"""What companion papers came to, as a page shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spandex.report.audio import data_uri
from spandex.report.claims import Finding
from spandex.report.tabular import Table

SCOPE = (
    "Each paper is tried at a small scale, on MNIST, CIFAR-10, Lorenz's system and the denoiser. "
    "Experiments on DVS-CIFAR10, ImageNet and CIFAR-100 are out of scope."
)


@dataclass(frozen=True)
class Picture:
    """A figure: what it shows in a few words, and its PNG as a data address."""

    caption: str
    address: str


@dataclass(frozen=True)
class Section:
    """What one paper came to.

    Attributes:
        name: of its folder.
        title: for people.
        findings: its claims.
        tables: its tables.
        figures: PNG files.
    """

    name: str
    title: str
    findings: Sequence[Finding]
    tables: Sequence[Table]
    figures: Sequence[Path]

    @property
    def pictures(self) -> list[Picture]:
        """The figures as a page holds them; one that draws a table is called as that is."""
        captions = {table.name: table.caption for table in self.tables}
        return [
            Picture(
                captions.get(path.stem, path.stem.replace("_", " ").replace("-", " ")),
                data_uri("image/png", path.read_bytes()),
            )
            for path in self.figures
        ]
