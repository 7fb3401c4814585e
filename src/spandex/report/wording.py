"""Numbers as people read them."""

from math import floor, log10

from spandex.metrics.bootstrap import Interval

MINUS = "\N{MINUS SIGN}"
MOST_DECIMALS = 6
RESIDUE = 1e-9  # what sums of numbers that people look at leave, in place of zero


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with thousands apart and a true minus, with more decimals where it would else round to zero."""
    if abs(value) < RESIDUE:
        value, signed = 0.0, False
    elif round(value, decimals) == 0:
        decimals = -floor(log10(abs(value)))
    sign = "+" if signed else ""
    text = f"{value:{sign},.{decimals}f}" if decimals <= MOST_DECIMALS else f"{value:{sign}.0e}"
    return text.replace("-", MINUS)


def interval(found: Interval, decimals: int, unit: str = "", signed: bool = False) -> str:
    """``12.31 dB (12.05 to 12.55)``."""
    mean, low, high = (number(value, decimals, signed) for value in found)
    return f"{mean} {unit} ({low} to {high})" if unit else f"{mean} ({low} to {high})"
