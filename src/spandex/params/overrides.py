"""Values that win over params.yaml: ``key.key=value`` assignments, and what the environment says."""

import json
import os
import re
from collections.abc import Mapping
from typing import Any

from spandex.errors import SpandexError
from spandex.files.text import parse_yaml

VARIABLES = ("SPANDEX_SET", "SPANDEX_MIRROR")  # of the environment, which count as if they were typed
SAID = "SPANDEX_SAID"  # set where it has been said that they do
ASSIGNMENT = re.compile(r'(?:[^\s"]|"(?:\\.|[^"\\])*"|")+')  # spaces belong to it within double quotes


class ParamsError(SpandexError):
    """A parameter that is unknown, missing or impossible, named by its dotted key."""


def with_environment(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides of ``load`` with the mirror that SPANDEX_MIRROR names, if they do not name one."""
    mirror = os.environ.get("SPANDEX_MIRROR")
    return ({"mirror": mirror} if mirror else {}) | overrides


def assignments(overrides: dict[str, Any]) -> str:
    """Nested overrides as the ``key.key=value`` text that ``set`` takes; what it sets already, wins."""
    text = str(overrides.get("set") or "")
    nested = flatten({key: value for key, value in overrides.items() if key != "set"})
    parts = [
        f"{key}={json.dumps(value, separators=(',', ':'), ensure_ascii=False)}"
        for key, value in nested.items()
        if key not in assigned(text)
    ]
    return " ".join(filter(None, [*parts, text]))


def assigned(text: str | None) -> dict[str, str]:
    """The ``key.key=value`` assignments of a text by their keys."""
    found: dict[str, str] = {}
    for assignment in ASSIGNMENT.findall(str(text or "")):
        key = assignment.partition("=")[0]
        if found.setdefault(key, assignment) != assignment:
            raise ParamsError(f"{key} is set twice, by {found[key]} and {assignment}")
    return found


def parse_assignment(text: str) -> dict[str, Any]:
    """``train.lr=0.002`` as ``{"train": {"lr": 0.002}}``; the value is YAML."""
    key, separator, value = text.partition("=")
    if not separator or not all(key.split(".")):
        raise ParamsError(f"{text!r} is not of the form key.key=value")
    try:
        nested: Any = parse_yaml(value)
    except SpandexError as error:
        raise ParamsError(f"{key}: {value!r} is not YAML ({error})") from None
    for part in reversed(key.split(".")):
        nested = {part: nested}
    return nested


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; a mapping without keys is a value."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
