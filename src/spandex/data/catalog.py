"""The catalogue of public sources: where each file lies, what it must be, whose it is and how it may be used."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Annotated, Any, Self
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from spandex.errors import SpandexError
from spandex.files.text import parse_yaml

DIGEST_LENGTHS = {"md5": 32, "sha1": 40, "sha256": 64}


def _checksum(text: str) -> str:
    algorithm, _, digest = text.partition(":")
    if not re.fullmatch(f"[0-9a-f]{{{DIGEST_LENGTHS.get(algorithm, 0)}}}", digest) or not digest:
        raise ValueError(f"{text!r} is not of the form md5|sha1|sha256:hexadecimal digits")
    return text


def _safe_path(text: str) -> str:
    path = PurePosixPath(text)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in text:
        raise ValueError(f"{text!r} is not a plain relative path")
    return text


Checksum = Annotated[str, AfterValidator(_checksum)]
RelativePath = Annotated[str, AfterValidator(_safe_path)]
Bytes = Annotated[int, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Entry):
    """One file of a public source.

    Attributes:
        name: unique name in the catalogue.
        role: what the pipeline uses it for.
        address: where it is published.
        file: path below a download folder; a mirror is asked for the same path, then for its last part.
        size: published size in bytes, or None.
        checksums: published digests as ``algorithm:hexadecimal digits``; all of them must hold.
        bound: nothing tells one mirror's version of the file from another's, so that it counts with its mirror only.
        note: why size or checksums are missing.
        licence: the terms of use.
        citation: the work to cite, a key of the catalogue's ``citations``.
        published: how the names of a network's rows in the published tables begin.
    """

    name: str
    role: str
    address: Annotated[str, Field(pattern="^https?://")]
    file: RelativePath
    size: Bytes | None = None
    checksums: tuple[Checksum, ...] = ()
    bound: bool = False
    note: str | None = None
    licence: str
    citation: str
    published: str | None = None

    @model_validator(mode="after")
    def _explained(self) -> Self:
        if (self.size is None or not self.checksums) and not self.note:
            raise ValueError(f"{self.name}: a source without size or checksum needs a note that says why")
        return self


class _Place(_Entry):
    """Where several files lie, under the same terms."""

    address: str
    licence: str
    citation: str

    def source(self, name: str, folder: str, **about: Any) -> Source:
        """One of the files, which ends in a folder of the downloads."""
        terms = {"licence": self.licence, "citation": self.citation}
        return Source(name=name, address=f"{self.address}/{name}", file=f"{folder}/{name}", **terms, **about)


class _Dns4(_Place):
    names: str
    note: str
    groups: dict[str, list[str]]
    packed_gb: float
    unpacked_gb: float


class _Part(_Entry):
    file: RelativePath
    size: Bytes
    checksums: tuple[Checksum, ...]


class _SplitArchive(_Place):
    role: str
    parts: list[_Part]


class Catalog(_Entry):
    """All public sources, as catalog.yaml states them."""

    citations: dict[str, str]
    sources: dict[str, Source]
    dns4: _Dns4
    ndns_test_set_1: _SplitArchive

    @model_validator(mode="before")
    @classmethod
    def _name_sources(cls, content: dict) -> dict:
        named = {name: {"name": name, **fields} for name, fields in content.get("sources", {}).items()}
        return content | {"sources": named}

    @model_validator(mode="after")
    def _cited(self) -> Self:
        for entry in (*self.sources.values(), self.dns4, self.ndns_test_set_1):
            if entry.citation not in self.citations:
                raise ValueError(f"citation {entry.citation!r} is not among {', '.join(self.citations)}")
        return self


def parse_catalog(text: str) -> Catalog:
    """Read a catalogue from YAML; an unknown key or an impossible value is a pydantic ``ValidationError``."""
    return Catalog.model_validate(parse_yaml(text))


@cache
def catalog() -> Catalog:
    """The catalogue that comes with the package."""
    return parse_catalog(files(__package__).joinpath("catalog.yaml").read_text(encoding="utf-8"))


def source(name: str) -> Source:
    """A single-file source by name.

    Raises:
        SpandexError: the catalogue has no such source.
    """
    entries = catalog()
    if name not in entries.sources:
        raise SpandexError(f"{name!r} is not in the catalogue, which has {', '.join(entries.sources)}")
    return entries.sources[name]


def of_mirror(mirror: str, file: str, name: str | None = None, **about: Any) -> Source:
    """A file of a mirror at an address, named by its path there if not otherwise."""
    address, terms = f"{mirror.rstrip('/')}/{quote(file)}", {"licence": "see the mirror", "citation": "-"}
    return Source(name=name or file, address=address, file=file, **terms, **about)


def ndns_test_set_1() -> list[Source]:
    """The parts of the challenge's test set 1, in the order in which they make one zip archive."""
    entry = catalog().ndns_test_set_1
    return [
        entry.source(part.file, "ndns/test_set_1", role=entry.role, size=part.size, checksums=part.checksums)
        for part in entry.parts
    ]


@cache
def dns4_names() -> tuple[str, ...]:
    """Names of the 127 DNS-4 archives, relative to their base address."""
    return tuple(files(__package__).joinpath(catalog().dns4.names).read_text(encoding="utf-8").split())


def dns4_archives(select: Sequence[str]) -> list[Source]:
    """The DNS-4 archives that a selection names, each once, in the catalogue's order.

    Args:
        select: archive names (with or without folder), shell patterns over them, or groups such as ``german``,
            ``noise`` or ``speech``.

    Raises:
        SpandexError: a selector matches nothing; the message says what there is.
    """
    entry = catalog().dns4
    chosen: set[str] = set()
    for selector in select:
        patterns = entry.groups.get(selector, [selector])
        matches = {name for name in dns4_names() for pattern in patterns if _matches(name, pattern)}
        if not matches:
            raise SpandexError(
                f"no DNS-4 archive matches {selector!r}; there are the groups {', '.join(entry.groups)} "
                f"and {len(dns4_names())} archives such as {dns4_names()[0]}"
            )
        chosen |= matches
    about = {"role": "speech, noise or room responses (dns4)", "note": entry.note}
    return [entry.source(name, "dns4", **about) for name in dns4_names() if name in chosen]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)
