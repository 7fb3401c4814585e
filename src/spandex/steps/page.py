"""What the page of a build shows, gathered from its files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spandex.companions.report import companion_sections
from spandex.evaluation import differences_to, load_subject
from spandex.files.text import read_csv
from spandex.params import Params
from spandex.pipeline.phases import compared, exported, judged
from spandex.pipeline.provenance import produced_by
from spandex.report import charts, claims, clips, origin, points, side_by_side, table
from spandex.report.figures import KneePoint, knee_points
from spandex.report.headline import headline
from spandex.report.intervals import range_sentences
from spandex.report.layers import layer_weights
from spandex.report.losses import loss_sentences
from spandex.report.numbers import CURVE_COLUMNS
from spandex.report.page import Origin, Page
from spandex.report.published import BOARD, counterpart
from spandex.steps.results import network_scores

Metrics = Mapping[str, Any]


def page_of(
    evidence: claims.Evidence,
    test: Path,
    *,
    noisy: Metrics,
    compared: Mapping[str, Metrics],
    ours: list[table.Row],
) -> Page:
    """Everything that the page shows.

    Args:
        evidence: by which the paper's claims are judged.
        test: folder of the test clips.
        noisy: scores.
        compared: scores of networks of companion papers, which the table alone shows.
        ours: rows of the table.

    Raises:
        SpandexError: a file is missing or does not belong to the others.
    """
    params, networks, control, changes = evidence.params, evidence.networks, evidence.control, evidence.differences
    names, models = params.models, params.folder("models")
    shown = {**networks, **compared}
    rows = params.table + [network for network in params.beside if network.name in compared]
    every = [network.name for network in rows]
    logged = [network for network in params.table if network.has_logs]
    epochs = {network.name: read_csv(models / network.folder / "epochs.csv", CURVE_COLUMNS[1:]) for network in logged}
    iterations = {
        name: read_csv(models / params.network(name).folder / "log.csv", ("iteration", "sparsity"))
        for name in params.fine_tuned
    }
    paths = {name: exported(params, name) for name in names}
    layers = {name: layer_weights(path) for name, path in paths.items()}
    board = [entry for entry in read_csv(BOARD, ("team", "entry")) if entry["team"]]
    deployed = {
        "sparsity_map": params.deploy.sparsity_map,
        "density_threshold": params.deploy.density_threshold,
    }
    subjects = [
        load_subject(path, name, hop=params.model.hop, lookahead=params.network(name).lookahead, **deployed)
        for name, path in paths.items()
    ]
    examples = clips.examples(test, noisy, networks, subjects)
    knee = _knee(params, networks, control)
    return Page(
        team=params.report.team,
        profile=params.profile,
        clips=len(noisy["per_clip"]),
        control=control,
        headline=headline(shown, control, changes, [network.name for network in rows if network.methods]),
        synthetic=params.data.is_synthetic,
        same_clips=params.data.is_linked("test"),
        findings=claims.findings(evidence),
        lines=side_by_side.our_lines(ours, {"noisy": noisy, **shown}, changes),
        published=side_by_side.published_lines(evidence.published, params.table),
        cost=points.cost_chart(rows, shown, control, changes),
        gain=points.gain_chart(networks, noisy, {example.name: example.kind for example in examples}),
        training=[charts.sparsity_chart(iterations, every), *charts.learning_charts(epochs, every)],
        plane=points.plane_charts(
            board,
            {name: metrics for name, metrics in networks.items() if "float_power_proxy_ops_per_s" in metrics},
            {network.name: counterpart(network) for network in params.table},
        ),
        layers=charts.layer_charts(layers, networks),
        weights=charts.weight_charts(layers, every),
        knee=charts.knee_charts(knee) if knee else [],
        examples=examples,
        origin=_origin(params, test, networks),
        losses=loss_sentences(shown),
        ranges=range_sentences(networks),
        companions=companion_sections(judged(params)),
    )


def _knee(params: Params, networks: Mapping[str, Metrics], control: str) -> list[KneePoint]:
    """The networks of the report with the knee, by growing sparsity; empty unless all are there, of these clips."""
    comparisons = params.reports.comparisons
    asked = [report for report in compared(params) if "knee" in comparisons[report].figures]
    names = dict.fromkeys([control, *(network.name for report in asked for network in params.compared(report)[0])])
    scores = {name: networks.get(name) or network_scores(params, name) for name in names}
    of_control = [clip["digest"] for clip in networks[control]["per_clip"]]
    if not all([clip["digest"] for clip in metrics["per_clip"]] == of_control for metrics in scores.values()):
        return []
    return knee_points(scores, differences_to(control, scores)) if asked else []


def _origin(params: Params, test: Path, networks: Mapping[str, Metrics]) -> Origin:
    record = produced_by(params=params)
    facts = {"Code": record["code_digest"], "Parameters": params.digest()}
    evaluated = {metrics["produced_by"]["code_digest"] for metrics in networks.values()}
    facts["Networks evaluated by code"] = ", ".join(sorted(evaluated))
    files, models = [test / "clips.json"], params.folder("models")
    files += [models / params.network(name).weights for name in params.models if params.network(name).has_float]
    files += [exported(params, name) for name in params.models]
    return Origin(
        facts=facts,
        versions=record["versions"],
        files=origin.digests(files),
        parameters=origin.as_yaml(params.model_dump(mode="json")),
        times=origin.times(params.folder("reports")),
    )
