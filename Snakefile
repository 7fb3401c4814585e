"""SPANDEX, rebuilt: data -> baseline -> sparsify -> export -> infer -> evaluate -> report."""


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/deploy.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/companions.smk"


# no rule: every model logs to the build's run, and a new run is no reason to train one again
onstart:
    shell("spandex track --output {TRACKING}")


rule all:
    default_target: True
    input:
        rules.report.output,


rule data:
    input:
        expand(rules.synthesize.output, split=SPLITS),


rule baseline:
    input:
        rules.train_baseline.output,


rule sparsify:
    input:
        expand(rules.fine_tune.output, model=PARAMS.fine_tuned),
        [f"{MODELS}/{network.weights}" for network in PARAMS.table if network.file and network.has_float],


rule export:
    input:
        expand(EXPORTED, model=PARAMS.models),


rule infer:
    input:
        expand(rules.lava_inference.output, model=PARAMS.models),


rule evaluate:
    input:
        table_scores(),
        rules.evaluate_noisy.output,
        rules.latency.output,


rule companions:
    input:
        [results_of(paper) for paper in PAPERS],
        expand(
            rules.compare.output, report=[name for name, report in PARAMS.reports.comparisons.items() if report.claims]
        ),


for paper in PAPERS:

    rule:
        name:
            paper
        input:
            results_of(paper),
