rule evaluate_noisy:
    """The untouched input: the scores that every model has to beat; computed by shards, if there are any."""
    input:
        test=f"{DATA}/test/clips.json",
        shards=shards(f"{REPORTS}/evaluate/.shards/noisy/{{scatteritem}}.done"),
    output:
        f"{REPORTS}/evaluate/noisy.json",
    log:
        f"{LOGS}/evaluate_noisy.log",
    benchmark:
        f"{TIMES}/evaluate_noisy.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: HALF
    params:
        workers=workers,
        recipe=recipe("evaluate", "model.n_fft", "model.hop"),
        options=EVALUATE,
        scores=lambda wildcards: f"{REPORTS}/evaluate/noisy.json",
        share="",
    shell:
        "spandex --recipe={params.recipe:q} evaluate {params.options} {params.share} --workers {params.workers}"
        " --json {params.scores} > {log} 2>&1"


use rule evaluate_noisy as evaluate_noisy_shard with:
    input:
        test=f"{DATA}/test/clips.json",
    output:
        temp(touch(f"{REPORTS}/evaluate/.shards/noisy/{{scatteritem}}.done")),
    log:
        f"{LOGS}/shards/evaluate_noisy_{{scatteritem}}.log",
    benchmark:
        f"{TIMES}/shards/evaluate_noisy_{{scatteritem}}.tsv"
    params:
        workers=workers,
        recipe="",
        share="--shard {scatteritem}",


rule evaluate_network:
    """Quality and cost of one network on all test clips, in fixed point and in float; by shards, if there are any."""
    input:
        float_network=network_of,
        network=EXPORTED,
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
        shards=shards(f"{REPORTS}/evaluate/.shards/{{{{model}}}}/{{scatteritem}}.done"),
    output:
        f"{REPORTS}/evaluate/{{model}}.json",
    log:
        f"{LOGS}/evaluate_{{model}}.log",
    benchmark:
        f"{TIMES}/evaluate_{{model}}.tsv"
    wildcard_constraints:
        model=any_of(NETWORKS),
    conda:
        "../envs/spandex.yaml"
    threads: HALF
    params:
        workers=workers,
        recipe=recipe(
            "evaluate",
            "model",
            "deploy.sparsity_map",
            "deploy.density_threshold",
            "lookahead.{model}",
            "scored.{model}",
        ),
        options=evaluation_of,
        sparsity=f"--sparsity-map {PARAMS.deploy.sparsity_text} --density-threshold {PARAMS.deploy.density_threshold}",
        scores=lambda wildcards: f"{REPORTS}/evaluate/{wildcards.model}.json",
        share="",
    shell:
        "spandex --recipe={params.recipe:q} evaluate {input.network} --name {wildcards.model} --inputs {input.noisy} {params.options} {params.sparsity} {params.share}"
        " --workers {params.workers} --json {params.scores} > {log} 2>&1"


use rule evaluate_network as evaluate_network_shard with:
    input:
        float_network=network_of,
        network=EXPORTED,
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
    output:
        temp(touch(f"{REPORTS}/evaluate/.shards/{{model}}/{{scatteritem}}.done")),
    log:
        f"{LOGS}/shards/evaluate_{{model}}_{{scatteritem}}.log",
    benchmark:
        f"{TIMES}/shards/evaluate_{{model}}_{{scatteritem}}.tsv"
    params:
        workers=workers,
        recipe="",
        share="--shard {scatteritem}",


rule score_audio:
    """Quality of clips that something else has denoised."""
    input:
        test=f"{DATA}/test/clips.json",
    output:
        f"{REPORTS}/evaluate/{{audio}}.json",
    log:
        f"{LOGS}/evaluate_{{audio}}.log",
    benchmark:
        f"{TIMES}/evaluate_{{audio}}.tsv"
    wildcard_constraints:
        audio=any_of(network.name for network in PARAMS.every if network.audio),
    conda:
        "../envs/spandex.yaml"
    threads: HALF
    params:
        workers=workers,
        recipe=recipe("evaluate", "audio.{audio}"),
        folder=lambda wildcards: PARAMS.network(wildcards.audio).audio,
        clips=TEST_CLIPS,
        how=f"{MOS} {JUDGED_ON}",
    shell:
        "spandex --recipe {params.recipe:q} score {params.folder:q} --name {wildcards.audio} {params.clips} {params.how}"
        " --workers {params.workers} --json {output} > {log} 2>&1"


rule latency:
    """Measured time of STFT and ISTFT; kept apart, since no two runs measure the same."""
    input:
        test=f"{DATA}/test/clips.json",
    output:
        f"{REPORTS}/latency/latency.json",
    log:
        f"{LOGS}/latency.log",
    benchmark:
        f"{TIMES}/latency.tsv"
    priority: 2
    conda:
        "../envs/spandex.yaml"
    threads: CORES
    params:
        recipe=recipe("model.n_fft", "model.hop"),
    shell:
        "spandex --recipe {params.recipe:q} latency --clips {input.test} --output {output} > {log} 2>&1"
