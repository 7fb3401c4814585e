"""The view of MLflow's page that compares the networks of a build in charts.

MLflow keeps a view that someone shares as a tag of the experiment, in the form of its page's own state, and opens it by
an address that names the tag. To the charts that a view names the page adds one for each other metric.
"""

import json
from collections.abc import Iterable

from mlflow.tracking import MlflowClient

from spandex.tracking.store import EXPERIMENT

VIEW_TAG = "mlflow.sharedViewState."  # followed by the name of the view, here the profile
PAGE = "workflowType=machine_learning&compareRunsMode=CHART"
MOST_RUNS = 100  # what the page loads at once; their ids have to fit in a tag
PLANES = (  # metrics across and up: what a network costs, and what it is worth
    ("deployed_power_proxy_ops_per_s", "si_snr_db"),
    ("deployed_power_proxy_ops_per_s", "mos_ovrl"),
    ("size_kb", "si_snr_db"),
)
SECTIONS = {"planes": "Quality against cost", "metrics": "Model metrics"}  # the page adds its charts to the second


def keep_view(client: MlflowClient, experiment_id: str, profile: str, run_ids: Iterable[str]) -> None:
    """Make these runs those that the charts of a profile show."""
    ids = ",".join(f"'{run_id}'" for run_id in list(run_ids)[:MOST_RUNS])
    axes = [[{"key": key, "type": "METRIC"} for key in plane] for plane in PLANES]
    view = {
        "searchFilter": f"attributes.run_id IN ({ids})",
        "orderByKey": f"metrics.`{PLANES[0][0]}`",
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # or else the page sorts the sections by name
        "compareRunSections": [{"uuid": uuid, "name": name, "display": True} for uuid, name in SECTIONS.items()],
        "compareRunCharts": [
            {"uuid": f"plane{number}", "type": "SCATTER", "metricSectionId": "planes", "xaxis": x, "yaxis": y}
            for number, (x, y) in enumerate(axes)
        ],
    }
    client.set_experiment_tag(experiment_id, VIEW_TAG + profile, json.dumps(view))


def newest_view(client: MlflowClient) -> str:
    """Where MLflow's page shows the charts of the newest finished build, below its address; nothing without one."""
    found = client.get_experiment_by_name(EXPERIMENT)
    finished = "attributes.status = 'FINISHED'"
    for run in client.search_runs([found.experiment_id], finished, max_results=1) if found else ():
        profile = run.data.tags.get("profile", "")
        if VIEW_TAG + profile in found.tags:
            return f"#/experiments/{found.experiment_id}/runs?{PAGE}&viewStateShareKey={profile}"
    return ""
