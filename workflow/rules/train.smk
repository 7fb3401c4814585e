rule tracking_store:
    """One MLflow parent run for this build, in a store that exists before parallel jobs open it."""
    output:
        run=f"{REPORTS}/tracking/build.json",
    log:
        f"{LOGS}/tracking_store.log",
    benchmark:
        f"{TIMES}/tracking_store.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        digest=PARAMS.digest(),
        store=os.environ.get("MLFLOW_TRACKING_URI"),
    shell:
        "spandex track --output {output.run} 2>&1 | tee -i {log}"


rule train_baseline:
    """The dense network: published weights, or trained from scratch."""
    input:
        train=f"{DATA}/train/clips.json",
        validation=f"{DATA}/validation/clips.json",
        run=ancient(rules.tracking_store.output.run),
    output:
        network=f"{MODELS}/baseline/network.pt",
        epochs=f"{MODELS}/baseline/epochs.csv",
    log:
        f"{LOGS}/train_baseline.log",
    benchmark:
        f"{TIMES}/train_baseline.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        digest=PARAMS.digest("seed", "threads", "model", "train", without=["train.checkpoint_minutes"]),
    shell:
        "spandex baseline --train {input.train} --validation {input.validation} --run {input.run}"
        " --output {output.network} 2>&1 | tee -i {log}"


rule fine_tune:
    """A pruned network, or the dense control, fine-tuned from the baseline."""
    input:
        train=f"{DATA}/train/clips.json",
        validation=f"{DATA}/validation/clips.json",
        baseline=rules.train_baseline.output.network,
        run=ancient(rules.tracking_store.output.run),
    output:
        network=f"{MODELS}/sparsified/{{model}}/network.pt",
        epochs=f"{MODELS}/sparsified/{{model}}/epochs.csv",
        iterations=f"{MODELS}/sparsified/{{model}}/log.csv",
    log:
        f"{LOGS}/fine_tune_{{model}}.log",
    benchmark:
        f"{TIMES}/fine_tune_{{model}}.tsv"
    wildcard_constraints:
        model="|".join(PARAMS.fine_tuned),
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        digest=PARAMS.digest(
            "seed",
            "threads",
            "model",
            "train",
            "sparsify",
            without=["train.checkpoint_minutes", "train.epochs", "sparsify.targets"],
        ),
        target=lambda wildcards: PARAMS.pruned.get(wildcards.model),
    shell:
        "spandex sparsify --model {wildcards.model} --baseline {input.baseline} --train {input.train}"
        " --validation {input.validation} --run {input.run} --output {output.network} 2>&1 | tee -i {log}"
