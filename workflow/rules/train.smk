rule train_baseline:
    """The dense network: published weights, or trained from scratch."""
    input:
        train=lambda wildcards: trained_on(ROOT),
        validation=f"{DATA}/validation/clips.json",
        pretrained=str(PARAMS.model.pretrained_file) if PARAMS.model.pretrained_file else [],
    output:
        network=f"{MODELS}/baseline/network.pt",
        epochs=f"{MODELS}/baseline/epochs.csv",
    log:
        f"{LOGS}/train_baseline.log",
    benchmark:
        f"{TIMES}/train_baseline.tsv"
    priority: 1
    conda:
        "../envs/spandex.yaml"
    threads: TRAINING
    resources:
        gpu=GPUS,
    params:
        run=TRACKING,
        recipe=recipe("seed", "threads", "model", "train", f"training.{ROOT}", without=RUN_ONLY),
    shell:
        "spandex --recipe {params.recipe:q} baseline --train {input.train} --validation {input.validation} --run {params.run}"
        " --output {output.network} > {log} 2>&1"


rule fine_tune:
    """A network fine-tuned from another, and made sparse by its methods."""
    input:
        train=lambda wildcards: trained_on(wildcards.model),
        validation=f"{DATA}/validation/clips.json",
        network=lambda wildcards: weights_of(PARAMS.network(wildcards.model).start),
        teacher=teacher_of,
    output:
        network=f"{MODELS}/sparsified/{{model}}/network.pt",
        epochs=f"{MODELS}/sparsified/{{model}}/epochs.csv",
        iterations=f"{MODELS}/sparsified/{{model}}/log.csv",
    log:
        f"{LOGS}/fine_tune_{{model}}.log",
    benchmark:
        f"{TIMES}/fine_tune_{{model}}.tsv"
    wildcard_constraints:
        model=any_of(network.name for network in PARAMS.every if network.is_trained),
    priority: waited_for
    conda:
        "../envs/spandex.yaml"
    threads: TRAINING
    resources:
        gpu=GPUS,
    params:
        run=TRACKING,
        teacher=lambda wildcards, input: f"--teacher {input.teacher}" if input.teacher else "",
        recipe=recipe(
            "threads",
            "model",
            "train",
            "training.{model}",
            without=[*RUN_ONLY, "train.epochs"],
        ),
    shell:
        "spandex --recipe {params.recipe:q} sparsify --model {wildcards.model} --network {input.network} {params.teacher}"
        " --train {input.train} --validation {input.validation} --run {params.run} --output {output.network} > {log} 2>&1"
