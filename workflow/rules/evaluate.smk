rule evaluate_noisy:
    """The untouched input: the scores that every model has to beat."""
    input:
        test=f"{DATA}/test/clips.json",
    output:
        f"{REPORTS}/evaluate/noisy.json",
    log:
        f"{LOGS}/evaluate_noisy.log",
    benchmark:
        f"{TIMES}/evaluate_noisy.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        recipe=recipe("evaluate", "model.n_fft", "model.hop"),
        options=EVALUATE,
    shell:
        "spandex --recipe {params.recipe:q} evaluate {params.options} --workers {threads} --json {output} 2>&1 | tee -i {log}"


rule evaluate_network:
    """Quality and cost of one network on all test clips, in fixed point and in float."""
    input:
        float_network=network_of,
        network=f"{MODELS}/exported/{{model}}/network.net",
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
    output:
        f"{REPORTS}/evaluate/{{model}}.json",
    log:
        f"{LOGS}/evaluate_{{model}}.log",
    benchmark:
        f"{TIMES}/evaluate_{{model}}.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        recipe=recipe("evaluate", "model", "deploy.sparsity_map", "deploy.density_threshold"),
        options=EVALUATE,
        sparsity=f"--sparsity-map {PARAMS.deploy.sparsity_text} --density-threshold {PARAMS.deploy.density_threshold}",
    shell:
        "spandex --recipe {params.recipe:q} evaluate --net {input.network} --name {wildcards.model} --float --float-net {input.float_network}"
        " --inputs {input.noisy} {params.options} {params.sparsity} --workers {threads} --json {output} 2>&1 | tee -i {log}"


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
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        recipe=recipe("model.n_fft", "model.hop"),
    shell:
        "spandex --recipe {params.recipe:q} latency --clips {input.test} --output {output} 2>&1 | tee -i {log}"
