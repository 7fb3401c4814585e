import json
import os
import shutil
from pathlib import Path

from spandex import params
from spandex.companions.papers import PAPERS, all_runs
from spandex.data.corpus import SPLITS
from spandex.pipeline import phases
from spandex.params.networks import ROOT
from spandex.pipeline.recipes import is_made
from spandex.sparsify.methods import check

OVERRIDES = params.with_environment({"set": os.environ.get("SPANDEX_SET")} | config)
PARAMS = params.load("params.yaml", OVERRIDES, check)
PROFILE = PARAMS.profile
RUN_ONLY = ["train.checkpoint_minutes", "train.skip_nonfinite"]  # no part of a finished network
CORPUS_KEYS = ["data.source", "data.corpus_minutes", "data.noise_share", "data.archives", "data.skip_missing"]
CORPUS_KEYS += [] if PARAMS.data.source == "synthetic" else ["mirror"]

DATA = f"data/{PROFILE}"
MODELS = f"models/{PROFILE}"
REPORTS = f"reports/{PROFILE}"
COMPANIONS = f"{REPORTS}/companions"
COMPARISONS = f"{REPORTS}/comparisons"
LOGS = f"{REPORTS}/logs"
TIMES = f"{REPORTS}/times"
NETWORKS = [network.name for network in PARAMS.every if network.audio is None]
EXPORTED = f"{MODELS}/exported/{{model}}/network.net"
TRACKING = f"{REPORTS}/tracking/build.json"

CORES = workflow.resource_settings.cores or 1  # on a cluster none is given, and the profile says what each rule gets
LOCAL = workflow.resource_settings.cores is not None and not workflow.remote_exec
HALF = max(CORES // 2, 1)  # what jobs take that do not keep all cores busy to their end, so that two run at a time
GPUS = int(PARAMS.train.device == "cuda")  # that a training job asks for
ON_GPU = GPUS or (PARAMS.train.device == "auto" and shutil.which("nvidia-smi"))
TRAINING = (CORES if ON_GPU else HALF) if LOCAL else PARAMS.threads  # cores

# what every evaluation in the pipeline has in common
TEST_CLIPS = f"--noisy {DATA}/test/noisy --clean {DATA}/test/clean"
MOS = "--mos" if PARAMS.evaluate.mos else "--no-mos"
JUDGED_ON = f"--device {PARAMS.evaluate.device}"
EVALUATE = f"{TEST_CLIPS} --hop {PARAMS.model.hop} --pipeline {MOS} {JUDGED_ON}"

# the commands read params.yaml themselves; this carries what the command line changed
os.environ["SPANDEX_SET"] = params.assignments(OVERRIDES)
os.environ[params.SAID] = "1"


def any_of(names):
    """A regular expression for these names; of none, it matches nothing."""
    return "|".join(names) or "(?!)"


envvars:
    "SPANDEX_SET",


wildcard_constraints:
    split="|".join(SPLITS),
    model=any_of(network.name for network in PARAMS.every),
    paper="|".join(PAPERS),
    experiment="[a-z0-9]+",
    seed="[0-9]+",


# on several machines: --set-scatter shard=16
scattergather:
    shard=1,


def workers(wildcards, threads):
    """Processes of a job that took half of the cores; on a cluster it has those it asked for."""
    return min(2 * threads, CORES) if LOCAL else threads


def shards(marker):
    """What the jobs leave that share a rule's work; nothing where one job does it all."""
    markers = gather.shard(marker)
    return markers if len(markers) > 1 else []


def synthesis_shards(wildcards):
    """None for clips that come as they are."""
    marker = f"{DATA}/{wildcards.split}/.shards/{{scatteritem}}.done"
    return [] if PARAMS.data.is_linked(wildcards.split) else shards(marker)


def recipe(*keys, without=()):
    """What outputs depend on beside the inputs: parameters, and these files. The command writes it beside them."""
    rules_files = ["workflow/rules/common.smk", f"workflow/rules/{Path(workflow.included_stack[-1].path).name}"]
    made_by = ["factory"] if "model" in keys else []

    def request(wildcards, input, output):
        return json.dumps(
            {
                "keys": [key.format(**wildcards) for key in [*keys, *made_by]],
                "without": list(without),
                "inputs": [*(path for path in input if path not in input.get("shards", [])), *rules_files],
                "outputs": list(output),
            }
        )

    return request


def weights_of(name):
    """The float weights of a network; the deployed network where only that is known."""
    return f"{MODELS}/{PARAMS.network(name).weights}"


def teacher_of(wildcards):
    """The float weights of the network that one is distilled from, where that is not its start."""
    teacher = PARAMS.network(wildcards.model).teacher
    return [] if teacher is None else weights_of(teacher)


def waited_for(wildcards):
    """How early a network is trained: 1, and 1 for every network that starts or learns from it directly."""
    return 1 + sum(wildcards.model in (network.start, network.teacher) for network in PARAMS.every)


def trained_on(name):
    """What a network's training clips come from: files, or the corpus that they are mixed from anew."""
    return f"{DATA}/corpus/manifest.csv" if PARAMS.network(name).dynamic_mixing else f"{DATA}/train/clips.json"


def network_of(wildcards):
    """The float weights of the network that a rule is about, where they are known."""
    return weights_of(wildcards.model) if PARAMS.network(wildcards.model).has_float else []


def evaluation_of(wildcards, input):
    """Options: DNSMOS and the float network for networks whose scores a report shows in full."""
    options = f"{EVALUATE} --lookahead {PARAMS.network(wildcards.model).lookahead}"
    if not PARAMS.scored_in_full(wildcards.model):
        return options.replace("--mos", "--no-mos")
    if PARAMS.origin(wildcards.model).file and PARAMS.model.factory is None:
        options = options.replace(" --pipeline", "")  # the file tells the shape of its float network
    return f"{options} --float" + (f" --float-network {input.float_network}" if input.float_network else "")


def experiments_of(paper):
    """The runs of a companion paper."""
    runs = all_runs(PARAMS.companions.seeds, PARAMS.seed)
    return [f"{COMPANIONS}/{name}/{experiment}-{seed}.json" for name, experiment, seed in runs if name == paper]


def results_of(paper):
    """Verdicts of a companion paper, and the runs: with more seeds than before, some of them are missing."""
    return [f"{COMPANIONS}/{paper}/verdicts.json", *experiments_of(paper)]


def scores_of(name):
    """The scores of a row."""
    return f"{REPORTS}/evaluate/{name}.json"


def table_scores():
    """The scores of every row of the table."""
    return [scores_of(network.name) for network in PARAMS.table]


def compared(wildcards):
    """Names of the networks of a report with all their seeds, and of the one that they are compared with."""
    networks = [network.name for seed in PARAMS.compared(wildcards.report) for network in seed]
    return list(dict.fromkeys([PARAMS.control, *networks]))


def beside_frontier(wildcards):
    """What a frontier of quality and cost is put beside: the challenge's board, and the seeds that are kept."""
    if "frontier" not in PARAMS.comparison(wildcards.report).figures:
        return []
    return ["reports/reference/ndns_track1_test_set_1.csv", *sorted(map(str, phases.KEPT.glob("*.json")))]


def companions_there(wildcards):
    """The companion papers that have run; nothing here asks for those that have not."""
    return sorted(map(str, Path(COMPANIONS).glob("*/verdicts.json")))


def comparisons_there(wildcards):
    """The reports beside the table that have been made."""
    return [f"{COMPARISONS}/{report}/table.csv" for report in phases.compared(PARAMS)]


def beside_there(wildcards):
    """Scores of networks that the table shows where they are made."""
    return [scores for network in PARAMS.beside if is_made(Path(scores := scores_of(network.name)))]
