# the comparison of pruning schedules and the range of sparsity; networks of the table are not trained again
ABLATION = f"{REPORTS}/ablation"
VARIANTS = "|".join(PARAMS.variants) or "(?!)"


use rule fine_tune as fine_tune_variant with:
    output:
        network=f"{MODELS}/ablation/{{model}}/network.pt",
        epochs=f"{MODELS}/ablation/{{model}}/epochs.csv",
        iterations=f"{MODELS}/ablation/{{model}}/log.csv",
    wildcard_constraints:
        model=VARIANTS,


use rule export_network as export_variant with:
    output:
        network=f"{MODELS}/ablation/{{model}}/network.net",
    wildcard_constraints:
        model=VARIANTS,


use rule evaluate_network as evaluate_variant with:
    input:
        float_network=network_of,
        network=rules.export_variant.output.network,
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
        shards=shards(f"{ABLATION}/evaluate/.shards/{{{{model}}}}/{{scatteritem}}.done"),
    output:
        f"{ABLATION}/evaluate/{{model}}.json",
    wildcard_constraints:
        model=VARIANTS,
    params:
        scores=lambda wildcards: f"{ABLATION}/evaluate/{wildcards.model}.json",


use rule evaluate_variant as evaluate_variant_shard with:
    input:
        float_network=network_of,
        network=rules.export_variant.output.network,
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
    output:
        temp(touch(f"{ABLATION}/evaluate/.shards/{{model}}/{{scatteritem}}.done")),
    log:
        f"{LOGS}/shards/evaluate_{{model}}_{{scatteritem}}.log",
    benchmark:
        f"{TIMES}/shards/evaluate_{{model}}_{{scatteritem}}.tsv"
    params:
        recipe="",
        share="--shard {scatteritem}",


rule ablation_report:
    """Schedules compared, and quality and cost over sparsity."""
    input:
        report=rules.report.output.summary,
        table=expand(rules.evaluate_network.output, model=PARAMS.models),
        logs=expand(rules.fine_tune.output, model=PARAMS.fine_tuned),
        baseline=rules.train_baseline.output.epochs,
        variants=expand(rules.evaluate_variant.output, model=PARAMS.variants),
        epochs=expand(rules.fine_tune_variant.output, model=PARAMS.variants),
    output:
        tables=multiext(f"{ABLATION}/table", ".csv", ".md", ".tex")
        + multiext(f"{ABLATION}/knee", ".csv", ".md", ".tex"),
        intervals=f"{ABLATION}/intervals.md",
        summary=f"{ABLATION}/summary.md",
        figures=multiext(f"{ABLATION}/figures/schedules", ".png", ".pdf")
        + multiext(f"{ABLATION}/figures/knee", ".png", ".pdf"),
    log:
        f"{LOGS}/ablation_report.log",
    benchmark:
        f"{TIMES}/ablation_report.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        run=TRACKING,
        recipe=recipe("ablation", "sparsify.targets", "sparsify.schedule"),
        models=lambda wildcards, input: Path(input.baseline).parents[1],
        reports=lambda wildcards, input: Path(input.report).parent,
    shell:
        "spandex --recipe {params.recipe:q} ablation --models {params.models} --reports {params.reports} --run {params.run} > {log} 2>&1"
