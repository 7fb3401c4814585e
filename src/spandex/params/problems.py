"""What is wrong with parameters, in words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import ValidationError

from spandex.params.overrides import flatten
from spandex.params.section import INCOMPLETE, Section


def checked(section: type[Section], settings: Mapping[str, Any], prefix: str, complete: bool = True) -> dict[str, Any]:
    """Settings that a section takes, as plain values; those that are null are left out.

    Args:
        prefix: of the keys that messages name.
        complete: whether all must be there; else they are defaults, and are given as they are.

    Raises:
        ValueError: a setting is unknown, missing or impossible.
    """
    try:
        found = section.model_validate(settings).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        problems = [problem for problem in error.errors() if complete or problem["type"] not in ("missing", INCOMPLETE)]
        if problems:
            raise ValueError(explain(problems, section, prefix)) from None
        return dict(settings)
    if problem := truth_for_number(settings, found):
        raise ValueError(f"{prefix}{problem}")
    return found if complete else dict(settings)


def explain(errors: Iterable[Mapping[str, Any]], section: type[Section], prefix: str = "") -> str:
    """What pydantic found, with dotted keys after ``prefix``; a key close to one of the section's, with that."""
    problems = []
    for problem in errors:
        key = ".".join(str(part) for part in problem["loc"])
        name = f"{prefix}{key}".rstrip(".")
        if problem["type"] == "extra_forbidden":
            close = difflib.get_close_matches(key, keys(section), n=1)
            problems.append(f"{name}: unknown key" + (f"; {prefix}{close[0]} is one" if close else ""))
        elif problem["type"] == "missing":
            problems.append(f"{name}: missing")
        elif problem["type"] == INCOMPLETE:
            problems.append(f"{name}: {problem['msg']}")
        elif problem["type"] == "value_error":
            text = str(problem["ctx"]["error"])
            problems.append(f"{name}.{text}" if key else f"{prefix}{text}")
        else:
            problems.append(f"{name}: {problem['msg']}, got {problem['input']!r}")
    return "; ".join(problems)


def truth_for_number(given: Mapping[str, Any], taken: Mapping[str, Any]) -> str | None:
    """The first key at which ``true`` or ``false`` was taken for a number, with what is wrong; None if there is none.

    Args:
        given: nested values of a file.
        taken: the same after their types were checked.
    """
    checked = flatten(taken)
    for key, value in flatten(given).items():
        for one, other in zip(_as_list(value), _as_list(checked.get(key)), strict=False):
            if isinstance(one, bool) and isinstance(other, int | float) and not isinstance(other, bool):
                return f"{key}: Input should be a number, got {one}"
    return None


def keys(section: type[Section], prefix: str = "") -> list[str]:
    """The dotted keys of a section, and of the sections in it."""
    found = []
    for name, field in section.model_fields.items():
        found.append(prefix + name)
        kinds = (field.annotation, *get_args(field.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]
        found += [key for kind in inner for key in keys(kind, f"{prefix}{name}.")]
    return found


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
