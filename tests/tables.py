"""Tables of other networks than those of params.yaml."""


def pruned_rows(*targets: float) -> str:
    """Assignments that make the table's pruned networks those of these targets, such as prune90."""
    gone = [f"networks.prune{percent}=null" for percent in (50, 75) if percent / 100 not in targets]
    made = [
        f"networks.prune{100 * target:g}.{key}"
        for target in targets
        if target not in (0.5, 0.75)
        for key in ("from=baseline", f"magnitude.target={target}")
    ]
    return " ".join(["grids.prune=null", "networks.saliency85=null", *gone, *made])
