"""Errors that a user can cause; the command line prints them as one line and exits with status 1."""


class SpandexError(Exception):
    """A problem with an input, named in the message together with its value."""


def one_line(message: object) -> str:
    """What an error says, without its line breaks."""
    return " ".join(str(message).split())


class Stopped(Exception):  # noqa: N818  not an error: training was asked to stop and can go on
    """Training stopped on a signal, with a checkpoint to continue from."""
