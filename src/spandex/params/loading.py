"""Read params.yaml, resolve its profile, and refuse what is impossible."""

import copy
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from spandex.checkout import resolved_mirror
from spandex.errors import SpandexError
from spandex.files.text import parse_yaml, read_text
from spandex.params.networks import Check
from spandex.params.overrides import ParamsError, assigned, parse_assignment, with_environment
from spandex.params.problems import explain, truth_for_number
from spandex.params.profile import Params

DECLARED = ("networks", "grids", "reports")  # whose entries null takes away


def load(
    path: str | Path = "params.yaml", overrides: dict[str, Any] | None = None, check: Check | None = None
) -> Params:
    """Read, resolve and check the parameters of one profile.

    Args:
        path: a params.yaml.
        overrides: nested values that win over the file; ``set`` holds ``key.key=value`` assignments.
        check: of a method's settings, ``spandex.sparsify.methods.check``; without it they are taken as they are.

    Raises:
        ParamsError: the file is missing or not YAML, a key is unknown or stands twice, a value is impossible.
    """
    overrides = dict(overrides or {})
    for assignment in assigned(overrides.pop("set", None)).values():
        _merge(overrides, parse_assignment(assignment))
    content = _read(path)
    profiles = content.pop("profiles", None)
    if not isinstance(profiles, dict) or not profiles:
        raise ParamsError(f"{path}: profiles: {profiles!r} names none")
    name = overrides.get("profile", content.get("profile"))
    if not isinstance(name, str) or name not in profiles:
        raise ParamsError(f"{path}: profile: {name!r} is not one of {', '.join(map(str, profiles))}")
    for other, own in profiles.items():
        _refuse_unknown(path, content, other, own)
    content = _resolve(path, content, name, profiles[name])
    _merge(content, overrides)
    try:
        params = Params.model_validate(content, context=check)
    except ValidationError as error:
        raise ParamsError(f"{path}: {explain(error.errors(), Params)}") from None
    if problem := truth_for_number(content, params.model_dump(mode="json")):
        raise ParamsError(f"{path}: {problem}")
    return params


def mirror_in_use(path: str | Path = "params.yaml") -> str | None:
    """The mirror of a process that has no parameters of its own: of SPANDEX_SET, else SPANDEX_MIRROR, else the file.

    Raises:
        ParamsError: as ``load``.
    """
    overrides = with_environment({"set": os.environ.get("SPANDEX_SET")})
    return resolved_mirror(load(path, overrides).mirror)


def _resolve(path: str | Path, shared: dict, profile: str, own: Any) -> dict[str, Any]:
    if not isinstance(own, dict):
        raise ParamsError(f"{path}: profiles.{profile}: holds no sections")
    _refuse_twice(path, profile, shared, own)
    content = copy.deepcopy(shared)
    _merge(content, own)
    return content


def _refuse_unknown(path: str | Path, shared: dict, profile: str, own: Any) -> None:
    """A mistyped key is an error in every profile; values that do not go together only in the one that is used."""
    try:
        Params.model_validate(_resolve(path, shared, profile, own) | {"profile": profile})
    except ValidationError as error:
        unknown = [problem for problem in error.errors() if problem["type"] == "extra_forbidden"]
        if unknown:
            raise ParamsError(f"{path}: profiles.{profile}: {explain(unknown, Params)}") from None


def _read(path: str | Path) -> dict[str, Any]:
    text = read_text(path)
    try:
        content = parse_yaml(text)
    except SpandexError as error:
        raise ParamsError(f"{path}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise ParamsError(f"{path}: holds no sections")
    return content


def _refuse_twice(path: str | Path, profile: str, shared: dict, own: dict) -> None:
    for section, values in own.items():
        if not isinstance(values, dict) or not isinstance(shared.get(section, {}), dict):
            raise ParamsError(f"{path}: profiles.{profile}.{section}: only sections may differ between profiles")
        for key in values.keys() & shared.get(section, {}).keys():
            if section in DECLARED and values[key] is None:
                continue
            raise ParamsError(f"{path}: {section}.{key} stands twice, in {section} and in profiles.{profile}.{section}")


def _merge(base: dict[str, Any], top: dict[str, Any]) -> None:
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value
