"""How networks look on the page, in figures and in the paper: each by its place among all that a report shows."""

from collections.abc import Sequence

# colours that differ in lightness and for the colour-blind (after Okabe and Ito), 3:1 on the page, light and dark
LIGHT = ("#5c6670", "#0072b2", "#c65500", "#00875f", "#9a4b8c", "#8a6d00", "#332288", "#a01d3f")
DARK = ("#aab4be", "#56b4e9", "#ff9d4d", "#2fcf9f", "#e59ad4", "#f0e442", "#a99cff", "#ff8aa5")
BEHIND = "#8b949e"  # what is no network of ours, and arrows

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "x", "star")
MARKERS = dict(zip(SYMBOLS, "osD^vX*", strict=True))  # the same for matplotlib
PATTERNS = ("", "/", ".", "x", "-", "+", "\\")


def choice(choices: Sequence[str], name: str, names: Sequence[str]) -> str:
    """What a network has of several looks, by its place."""
    return choices[list(names).index(name) % len(choices)]
