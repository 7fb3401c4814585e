"""Errors that a user can cause; the command line prints them as one line and exits with status 1."""

import contextlib
from collections.abc import Iterator


class SpandexError(Exception):
    """A problem with an input, named in the message together with its value."""


@contextlib.contextmanager
def prefixed(prefix: str, kind: type[Exception] = SpandexError) -> Iterator[None]:
    """What errors of a kind say within, after a prefix that tells what they are about."""
    try:
        yield
    except kind as error:
        raise kind(f"{prefix}{error}") from None


def one_line(message: object) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(message).split())


class Stopped(Exception):  # noqa: N818  not an error: training was asked to stop and can go on
    """Training stopped on a signal, with a checkpoint to continue from."""
