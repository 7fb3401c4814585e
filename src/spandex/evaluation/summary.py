"""Means over clips with their confidence intervals, and differences between networks on the same clips."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from spandex.deploy.executor import BEYOND
from spandex.metrics.bootstrap import confidence_intervals, paired_differences

CONFIDENCE = 0.95
COMPARED = (
    "accuracy",
    "si_snr_db",
    "si_snri_db",
    "mos_ovrl_improvement",
    "mos_ovrl",
    "mos_sig",
    "mos_bak",
    "mos_ovrl_all_hops",
    "mos_sig_all_hops",
    "mos_bak_all_hops",
    *(
        f"{weights}_{count}"
        for weights in ("float", "deployed")
        for count in ("synops_per_step", "power_proxy_ops_per_s", "power_proxy_ops_per_step", "pdp_proxy_ops")
    ),
)

Scores = Mapping[str, Any]


def summarise(per_clip: Sequence[Scores]) -> dict[str, Any]:
    """Mean of every score, ``intervals`` [low, high] around each, and the scores themselves as ``per_clip``.

    Scores that are lists, one value a layer, have means alone. What left its range is added up; ``wrapped_clips`` is
    the number of clips with wrapped outputs.
    """
    numbers = _columns(per_clip)
    bounds = confidence_intervals(numbers, CONFIDENCE)
    lists = [name for name, value in per_clip[0].items() if isinstance(value, list)]
    by_layer = {
        name: (np.sum if name in BEYOND else np.mean)([clip[name] for clip in per_clip], axis=0).tolist()
        for name in lists
    }
    wrapped = [clip["wrapped_outputs"] for clip in per_clip if "wrapped_outputs" in clip]
    return {
        **{name: interval.mean for name, interval in bounds.items()},
        **by_layer,
        **({"wrapped_outputs": sum(wrapped), "wrapped_clips": sum(map(bool, wrapped))} if wrapped else {}),
        "intervals": {name: [interval.low, interval.high] for name, interval in bounds.items()},
        "per_clip": list(per_clip),
    }


def differences(networks: Mapping[str, Scores]) -> list[dict[str, Any]]:
    """For every two networks, mean and interval of the second minus the first on the same clips, of what both have.

    Args:
        networks: by name, what ``summarise`` gave, on the same clips in the same order.
    """
    found = []
    for first, second in combinations(networks, 2):
        of, minus = (_columns(networks[network]["per_clip"]) for network in (second, first))
        compared = [name for name in COMPARED if name in of and name in minus]
        columns = ({name: scores[name] for name in compared} for scores in (of, minus))
        by_score = paired_differences(*columns, CONFIDENCE)
        entries = {name: {"mean": mean, "interval": bounds} for name, (mean, *bounds) in by_score.items()}
        found.append({"of": second, "minus": first, **entries})
    return found


def differences_to(control: str, networks: Mapping[str, Scores]) -> dict[str, dict[str, Any]]:
    """Of every other network to one of them, by name, as ``differences`` gives them."""
    others = [name for name in networks if name != control]
    return {name: differences({control: networks[control], name: networks[name]})[0] for name in others}


def _columns(per_clip: Sequence[Scores]) -> dict[str, list[float]]:
    """Scores that every clip has as a number, by name; not what only names the clip."""
    names = [name for name, value in per_clip[0].items() if isinstance(value, float)]
    return {name: [clip[name] for clip in per_clip] for name in names}
