"""What a build shows, in one sentence: what the cheapest network that loses little costs and loses."""

from collections.abc import Mapping, Sequence
from typing import Any

from spandex.report.comparison import Differences
from spandex.report.wording import interval, number

LITTLE_DB = 0.2  # of SI-SNR, mean over the clips
POWER = "deployed_power_proxy_ops_per_s"


def headline(
    networks: Mapping[str, Mapping[str, Any]], control: str, changes: Mapping[str, Differences], sparse: Sequence[str]
) -> str:
    """The sentence.

    Args:
        networks: scores by name.
        control: what the others are compared with.
        changes: differences to it, by network.
        sparse: names of the networks that were made sparse.
    """
    known = [name for name in sparse if name in changes and POWER in networks[name]]
    if not known:
        return f"This build has no sparse network to compare with {control}."
    cheapest = min(known, key=lambda name: networks[name][POWER])
    close = [name for name in known if changes[name]["si_snr_db"].mean >= -LITTLE_DB]
    if not close:
        least = max(known, key=lambda name: changes[name]["si_snr_db"].mean)
        rest = "" if least == cheapest else f"; {_costs(networks, control, cheapest, changes)} and takes least"
        return (
            f"Every sparse network loses more than {LITTLE_DB:g} dB of SI-SNR: "
            f"{_costs(networks, control, least, changes)} and loses least{rest}."
        )
    chosen = min(close, key=lambda name: networks[name][POWER])
    if chosen == cheapest:
        return f"{_costs(networks, control, chosen, changes)}; no other sparse network trained here takes less."
    return (
        f"{_costs(networks, control, chosen, changes)}: the cheapest of those that lose at most {LITTLE_DB:g} dB. "
        f"{_costs(networks, control, cheapest, changes)}: the cheapest of all."
    )


def _costs(
    networks: Mapping[str, Mapping[str, Any]], control: str, name: str, changes: Mapping[str, Differences]
) -> str:
    power, before = (networks[network][POWER] for network in (name, control))
    return (
        f"{name} takes {number(power / 1e6, 2)} M-Ops/s, {number(100 * power / before, 0)} % of the "
        f"{number(before / 1e6, 2)} of {control}, at a change in SI-SNR of "
        f"{interval(changes[name]['si_snr_db'], 2, 'dB', signed=True)}"
    )
