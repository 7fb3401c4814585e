import os
from pathlib import Path

from spandex import params
from spandex.references import source_digest

PARAMS = params.load("params.yaml", config)
PROFILE = PARAMS.profile
SPLITS = ["train", "validation", "test"]
RUN_ONLY = ["train.checkpoint_minutes", "train.skip_nonfinite"]  # no part of a finished network
CORPUS_KEYS = ["data.source", "data.corpus_minutes", "data.noise_share", "data.archives"]

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


def digest(*keys, without=()):
    """Of the parameters that a rule depends on, and of the user's file that makes the network, if there is one."""
    made_by = source_digest(PARAMS.model.factory) if "model" in keys else ""
    return f"{PARAMS.digest(*keys, without=without)} {made_by}"


def network_of(wildcards):
    """The trained weights of a model."""
    return f"{MODELS}/{PARAMS.folder(wildcards.model)}/network.pt"
