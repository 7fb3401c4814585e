"""Short texts in several languages, put together from the parts in texts.yaml."""

import functools
from importlib import resources

import numpy as np

from spandex.files.text import parse_yaml

# An English speaker has one of several accents; the other languages are spoken as espeak-ng speaks them.
ACCENTS = {
    "en": ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029"),
    "de": ("de",),
    "fr": ("fr", "fr-be", "fr-ch"),
    "es": ("es", "es-419"),
    "it": ("it",),
    "nl": ("nl",),
}
_NUMBERS = {"n": (2, 1000), "d": (2, 29), "h": (2, 13), "m": (11, 59), "y": (1905, 2026)}
_NUMBER_SHARE = 0.25  # of the sentences


@functools.cache
def _parts() -> dict[str, dict[str, list[str]]]:
    return parse_yaml(resources.files("spandex.data").joinpath("texts.yaml").read_text(encoding="utf-8"))


def sentence(language: str, rng: np.random.Generator) -> str:
    """One sentence in a language of ``ACCENTS``."""
    parts = _parts()[language]
    if rng.random() < _NUMBER_SHARE:
        numbers = {name: rng.integers(*bounds) for name, bounds in _NUMBERS.items()}
        return rng.choice(parts["number"]).format(**numbers)
    words = {name: rng.choice(parts[name]) for name in ("subject", "action", "place", "time", "comment")}
    text = rng.choice(parts["pattern"]).format(**words)
    return text[0].upper() + text[1:]
