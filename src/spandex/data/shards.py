"""Shares of one job for several machines."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from spandex.errors import SpandexError

FOLDER = ".shards"  # what shards leave for the job of the whole, beside what that makes

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` equal shares, the first being number 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Of the form 3-of-16, as Snakemake names the items of a scatter.

        Raises:
            SpandexError: it is something else.
        """
        match = re.fullmatch(r"(\d+)-of-(\d+)", text)
        shard = match and cls(int(match[1]), int(match[2]))
        if not shard or not 1 <= shard.number <= shard.count:
            raise SpandexError(f"shard {text!r}: not of the form 3-of-16")
        return shard

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``count``-th item; all shards together have each item once."""
        return items[self.number - 1 :: self.count]


def reopen(*folders: Path) -> None:
    """Let Snakemake run again every shard of an unfinished build: a shard goes on from what it has made, if that is
    still what is asked for, while Snakemake knows only that it ended."""
    for folder in folders:
        for pattern in ("*/.shards/*.done", "*/.shards/*/*.done", "*/*/.shards/*/*.done"):  # no search among the clips
            for marker in folder.glob(pattern):
                marker.unlink()
