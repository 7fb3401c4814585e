"""What a build logs to MLflow."""

import contextlib
import hashlib
import json
import logging
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from spandex.errors import SpandexError
from spandex.files import sha256
from spandex.files.text import read_json, read_numbers
from spandex.params import Network, Params
from spandex.pipeline.phases import exported
from spandex.pipeline.provenance import dirty, produced_by, revision
from spandex.sparsify.methods import check
from spandex.tracking.build import Build, Report, TrackingError, default_uri, is_server, local_uri, sqlite_file
from spandex.tracking.charts import newest_view
from spandex.tracking.client import check_file, reach
from spandex.tracking.fallback import log_report, start_locally
from spandex.tracking.networks import DIGEST_TAG, LOOKAHEAD_TAG
from spandex.tracking.runs import SCORES_TAG, ModelRecord, abandon, alive, log_results, start_build
from spandex.tracking.store import InputData, log_files
from spandex.tracking.sync import sync

log = logging.getLogger(__name__)
CONTEXTS = {"train": "training", "validation": "validation", "test": "evaluation"}
IDENTITY = ("params_digest", "code_digest")  # tags that make a build another one


def track(params: Params, output: Path) -> None:
    """Open the MLflow store and the run of this build, unless ``output`` names one of the same parameters and code.

    Builds that were logged locally while the server was away are copied to it first. If it is away now, this build
    is logged locally; if that cannot be, it goes on without a run until its results are there.
    """
    uri = default_uri()
    about = params.profile, params.model_dump(mode="json"), _build_tags(params)
    try:
        _track(uri, output, *about)
    except TrackingError as error:
        previous = _previous(output)
        if previous is None or not _same(previous, about[2]):
            kept, server = (local_uri(), uri) if is_server(uri) else (uri, None)
            Build(*about, kept, experiment_id="", run_id="", server=server).save(output)
        log.warning("%s", f"{error}; the build goes on, and logs its runs at its end if it can")


def _track(uri: str, output: Path, *about: Any) -> None:
    """Open the run of a build at a store, or else in the local one; see ``start_build`` for ``about``."""
    if is_server(uri):
        try:
            _sync_quietly(uri, _previous(output))
            _open(uri, output, *about)
        except TrackingError as error:
            previous = _previous(output)
            if previous is None or previous.server != uri or not _same(previous, about[2]):
                if previous is not None and not is_server(previous.tracking_uri):
                    abandon(previous)
                start_locally(uri, *about, error).save(output)
            else:
                log.warning("%s", previous.notice or error)
    else:
        _open(uri, output, *about)


def _sync_quietly(server: str, previous: Build | None) -> None:
    """Copy what was logged locally, ``previous`` too; a local store that cannot be read keeps no build from its
    server."""
    try:
        if sqlite_file(local_uri()).exists():
            check_file(local_uri())
    except TrackingError as error:
        log.warning("%s", f"{error}; the runs that it holds are not copied to {server}")
        return
    for problem in sync_runs(server, [previous.run_id] if previous else [])[1]:
        log.warning("%s", problem)


def sync_runs(server: str, unfinished: Iterable[str] = ()) -> tuple[int, list[str]]:
    """Copy builds that were logged locally while a server was away to it, and log to it from now on.

    Args:
        server: address.
        unfinished: ids of local runs that are copied though they have not ended.

    Returns:
        How many builds were copied, and why others could not be.

    Raises:
        TrackingError: a store cannot be reached or refuses something.
    """
    copied, problems = sync(server, set(unfinished))
    for path in Path("reports").glob("*/tracking/build.json"):
        build = _previous(path)
        if build is not None and build.run_id in copied:
            there = copied[build.run_id]
            replace(there, params=build.params, tags=build.tags).with_unlogged_of(build).save(path)
    return len(copied), problems


def log_unlogged() -> tuple[int, list[str]]:
    """Log the reports that could not be logged when they were written.

    Returns:
        How many were logged, and why others could not be.
    """
    logged, problems = 0, []
    for path in sorted(Path("reports").glob("*/tracking/build.json")):
        build = _previous(path)
        for fields in build.unlogged.values() if build else ():
            try:
                params, report = Params.model_validate(build.params, context=check), Report(**fields)
                _log(params, report, path)
                logged += 1
            except (TypeError, ValidationError):
                problems.append(f"{path}: its reports are of another version; build anew to log them")
            except SpandexError as error:
                problems.append(str(error))
    return logged, list(dict.fromkeys(problems))  # a store says the same to every report


def log_build(params: Params, run: Path, artifacts: Iterable[Path]) -> None:
    """Log the networks of the table and the files of the report, and close the build's run.

    Args:
        run: JSON file of the build.
        artifacts: tables, figures and pages to keep.
    """
    _log_or_keep(params, [network.name for network in params.table], run, artifacts)


def log_comparison(params: Params, report: str, run: Path, artifacts: Iterable[Path]) -> None:
    """Log the networks of a report that the table does not show, and the files of the report; see ``log_build``."""
    names = [network.name for networks in params.compared(report) for network in networks]
    table = {network.name for network in params.table}
    more = [name for name in names if name not in table]
    _log_or_keep(params, more, run, artifacts, f"comparisons/{report}")


def log_paper(params: Params, name: str, run: Path, artifacts: Iterable[Path]) -> None:
    """Keep verdicts, tables and figures of a companion paper with the build."""
    _log_or_keep(params, None, run, artifacts, f"companions/{name}")


def browse(port: int) -> NoReturn:
    """Become MLflow's server of the local store, on this machine only; print the address of its charts.

    Args:
        port: on 127.0.0.1.

    Raises:
        SpandexError: nothing has been logged yet, or the port is taken.
    """
    uri = local_uri()
    store = sqlite_file(uri)
    if not store.is_file():
        raise SpandexError(f"{store}: no such file; a build makes it")
    page = reach(uri, newest_view)
    with contextlib.closing(socket.socket()) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise SpandexError(f"port {port}: {error.strerror}; --port chooses another") from None
    if is_server(default_uri()):
        print(f"these are the runs of this checkout alone; later builds log to {default_uri()}")
    print(f"http://127.0.0.1:{port}/{page}", flush=True)
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", uri]
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", "server", *options])


def _log_or_keep(
    params: Params,
    networks: Iterable[str] | None,
    run: Path,
    artifacts: Iterable[Path],
    folder: str | None = None,
) -> None:
    """Log a report, or say how to do so later: what it shows is there, whatever becomes of its runs."""
    names = None if networks is None else list(networks)
    report = Report(names, [str(path) for path in artifacts], folder)
    try:
        _log(params, report, run)
    except TrackingError as error:
        build = Build.load(run)
        log.warning("%s", build.notice if report.key in build.unlogged else error)


def _log(params: Params, report: Report, run: Path) -> None:
    if report.networks is None:
        log_report(
            run,
            report,
            lambda client, build: log_files(client, build.run_id, report.artifacts, report.folder),
        )
        return
    from spandex.steps.results import network_scores, noisy_scores  # torch, which opening a run need not load

    networks = {network.name for network in params.every if network.audio is None}
    inputs = _inputs(params)
    scores = {name: network_scores(params, name) for name in report.networks}
    records = [_record(params, found, inputs) for name, found in scores.items() if name in networks]
    metrics = {"noisy": noisy_scores(params)} | {name: scores[name] for name in scores if name not in networks}
    log_report(
        run,
        report,
        lambda client, build: log_results(client, build, records, metrics, inputs, report.artifacts, report.folder),
    )


def _open(uri: str, output: Path, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    """Go on with the build of a file, or start another."""
    previous = _previous(output)
    is_same = previous is not None and _same(previous, tags)
    if previous is not None and previous.tracking_uri == uri:
        if is_same and alive(previous):
            return
        abandon(previous)
    started = start_build(uri, name, params, tags)
    (started.with_unlogged_of(previous) if is_same else started).save(output)


def _previous(path: Path) -> Build | None:
    """The build of a file; None if there is none that this version knows."""
    with contextlib.suppress(SpandexError):
        return Build.load(path)
    return None


def _same(build: Build, tags: Mapping[str, str]) -> bool:
    return all(build.tags.get(key) == tags[key] for key in IDENTITY)


def _build_tags(params: Params) -> dict[str, str]:
    record = produced_by(params=params)
    tags = {"profile": params.profile, "params_digest": params.digest(), "code_digest": record["code_digest"]}
    tags |= record["versions"] | _checkout_tags()
    experiment = os.environ.get("DVC_EXP_NAME")  # set by dvc exp run
    return tags | ({"dvc_experiment": experiment} if experiment else {})


def _checkout_tags() -> dict[str, str]:
    changed = dirty()
    return {"revision": revision() or "unknown", "dirty": "unknown" if changed is None else str(changed).lower()}


def _record(params: Params, scores: Mapping[str, Any], inputs: Iterable[InputData]) -> ModelRecord:
    network = params.network(scores["model"])
    name, models = network.name, params.folder("models")
    deployed = exported(params, name)
    own = params.model_dump(mode="json", exclude={"mirror", "networks", "grids", "reports", "report", "companions"})
    own["sparsify"] = params.sparsify.fine_tuning | dict(network.fine_tuning)
    own |= {
        "network": name,
        "from": network.start or network.file or "",
        "method": ", ".join(network.methods) or "none",
        "methods": network.methods,
        "dynamic_mixing": network.dynamic_mixing,
        "target": network.target or 0,
        "schedule": network.methods.get("magnitude", {}).get("schedule", "none"),
        "seed": params.seed + network.repeat,
    }
    made_by = {key: value for key, value in scores["produced_by"].items() if isinstance(value, str)}
    known_by = {DIGEST_TAG: sha256(deployed), SCORES_TAG: _scores_digest(scores)}
    known_by |= {LOOKAHEAD_TAG: str(network.lookahead)} if network.lookahead else {}
    return ModelRecord(
        name,
        deployed,
        f"spandex-{params.profile}-{name}",
        params=own,
        metrics=scores,
        rows=read_numbers(models / network.folder / "epochs.csv") if network.has_logs else [],
        tags={"profile": params.profile, "params_digest": params.digest()} | made_by | _checkout_tags() | known_by,
        inputs=[data for data in inputs if data.context in _contexts(params, network)],
        artifacts=list(dict.fromkeys([models / network.weights, deployed])),
    )


def _contexts(params: Params, network: Network) -> set[str]:
    """What a network meets clips of files for."""
    if not (network.is_trained or (network.has_logs and params.train.epochs > 0)):
        return {"evaluation"}
    return set(CONTEXTS.values()) - ({"training"} if network.dynamic_mixing else set())


def _scores_digest(scores: Mapping[str, Any]) -> str:
    """Of the numbers alone: what produced them changes without changing them."""
    text = json.dumps({key: value for key, value in scores.items() if key != "produced_by"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _inputs(params: Params) -> list[InputData]:
    """The splits that are there."""
    files = {split: params.folder("data") / split / "clips.json" for split in CONTEXTS}
    contents = {split: read_json(path) for split, path in files.items() if path.is_file()}
    return [
        InputData(
            f"{params.profile}-{split}",
            content["digest"],
            files[split].parent.as_posix(),
            CONTEXTS[split],
            len(content["clips"]),
        )
        for split, content in contents.items()
    ]
