"""Numbers as people read them."""

from spandex.metrics.bootstrap import Interval

MINUS = "\N{MINUS SIGN}"


def number(value: float, decimals: int, signed: bool = False) -> str:
    """A number with thousands apart and a true minus; no minus before what rounds to zero."""
    text = f"{value:{'+' if signed else ''},.{decimals}f}"
    if not float(text.replace(",", "")):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(found: Interval, decimals: int, unit: str = "", signed: bool = False) -> str:
    """``12.31 dB (12.05 to 12.55)``."""
    mean, low, high = (number(value, decimals, signed) for value in found)
    return f"{mean} {unit} ({low} to {high})" if unit else f"{mean} ({low} to {high})"
