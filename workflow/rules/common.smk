import json
import os
from pathlib import Path

from spandex import params

PARAMS = params.load("params.yaml", config)
PROFILE = PARAMS.profile
SPLITS = ["train", "validation", "test"]
RUN_ONLY = ["train.checkpoint_minutes", "train.skip_nonfinite"]  # no part of a finished network
CORPUS_KEYS = ["data.source", "data.corpus_minutes", "data.noise_share", "data.archives"]
CORPUS_KEYS += [] if PARAMS.data.source == "embedded" else ["mirror"]

DATA = f"data/{PROFILE}"
MODELS = f"models/{PROFILE}"
REPORTS = f"reports/{PROFILE}"
LOGS = f"{REPORTS}/logs"
TIMES = f"{REPORTS}/times"
TRACKING = f"{REPORTS}/tracking/build.json"

# what every evaluation in the pipeline has in common
EVALUATE = " ".join(
    [
        f"--noisy {DATA}/test/noisy --clean {DATA}/test/clean --hop {PARAMS.model.hop} --pipeline",
        "--mos" if PARAMS.evaluate.mos else "--no-mos",
    ]
)

# the commands read params.yaml themselves; this carries what the command line changed
os.environ["SPANDEX_SET"] = params.assignments(config)


envvars:
    "SPANDEX_SET",


wildcard_constraints:
    split="|".join(SPLITS),
    model="|".join(PARAMS.models),


def recipe(*keys, without=()):
    """What outputs depend on beside the inputs: parameters, and these files. The command writes it beside them."""
    rules_files = ["workflow/rules/common.smk", f"workflow/rules/{Path(workflow.included_stack[-1].path).name}"]
    made_by = ["factory"] if "model" in keys else []

    def request(wildcards, input, output):
        return json.dumps(
            {
                "keys": [key.format(**wildcards) for key in [*keys, *made_by]],
                "without": list(without),
                "inputs": [*input, *rules_files],
                "outputs": list(output),
            }
        )

    return request


def network_of(wildcards):
    """The trained weights of a model."""
    return f"{MODELS}/{PARAMS.folder(wildcards.model)}/network.pt"
