"""Where the published tables lie, and which of their rows belong to which networks of ours."""

from pathlib import Path

from spandex.data.catalog import source
from spandex.params import Network
from spandex.params.networks import ROOT

REFERENCE = Path("reports/reference")
BOARD = REFERENCE / "ndns_track1_test_set_1.csv"  # of the challenge's track 1
NOISY, BASELINE = "Test Set 1", "Baseline SDNN"
COUNTED = {
    "SPANDEX": "float weights above 1e-10, exact events",
    "Intel": "every weight, zero or not",
    "": "as their teams reported it",
}  # what the power of the board's entries counts, by team; of all others the last, see docs/explanation/metrics.md


def counterpart(network: Network) -> tuple[str, ...]:
    """How the names of the published rows begin that belong to a network of ours."""
    if network.by_magnitude:
        return (f"{100 * network.target:g}% Spars",)
    if network.file and network.path is None and not network.lookahead:
        return tuple(filter(None, [source(network.file).published]))
    return (BASELINE,) if network.name == ROOT else ()
