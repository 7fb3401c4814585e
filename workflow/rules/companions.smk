# other papers on sparse spiking networks, each on its own experiments and all of them on the denoiser
COMPARED = "|".join(PARAMS.companion_variants) or "(?!)"


rule companion_experiment:
    """One experiment of a paper with one seed."""
    output:
        f"{COMPANIONS}/{{paper}}/{{experiment}}-{{seed}}.json",
    log:
        f"{LOGS}/companion_{{paper}}_{{experiment}}_{{seed}}.log",
    benchmark:
        f"{TIMES}/companion_{{paper}}_{{experiment}}_{{seed}}.tsv"
    wildcard_constraints:
        paper="|".join(PAPERS),
        experiment="[a-z0-9]+",
        seed="[0-9]+",
    conda:
        "../envs/spandex.yaml"
    resources:
        gpu=GPUS,
    params:
        recipe=recipe("companions.size", f"companions.{PARAMS.companions.size}.{{paper}}"),
    shell:
        "spandex --recipe {params.recipe:q} companion --paper {wildcards.paper} --experiment {wildcards.experiment}"
        " --seed {wildcards.seed} --output {output} > {log} 2>&1"


rule companion_report:
    """Verdicts on the claims of one paper, its tables and figures."""
    input:
        runs=lambda wildcards: experiments_of(wildcards.paper),
    output:
        f"{COMPANIONS}/{{paper}}/verdicts.json",
    log:
        f"{LOGS}/companion_{{paper}}.log",
    benchmark:
        f"{TIMES}/companion_{{paper}}.tsv"
    wildcard_constraints:
        paper="|".join(PAPERS),
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("companions.size", f"companions.{PARAMS.companions.size}.{{paper}}"),
        run=TRACKING,
    shell:
        "spandex --recipe {params.recipe:q} companion-report --paper {wildcards.paper} --run {params.run} --output {output}"
        " {input.runs} > {log} 2>&1"


use rule fine_tune as fine_tune_companion with:
    output:
        network=f"{MODELS}/companions/{{model}}/network.pt",
        epochs=f"{MODELS}/companions/{{model}}/epochs.csv",
        iterations=f"{MODELS}/companions/{{model}}/log.csv",
    wildcard_constraints:
        model=COMPARED,


use rule export_network as export_companion with:
    output:
        network=f"{MODELS}/companions/{{model}}/network.net",
    wildcard_constraints:
        model=COMPARED,
    params:
        recipe=recipe("model", "pruning.{model}"),
        options=lambda wildcards: "--without-idle" if wildcards.model.startswith("masks") else "",


rule evaluate_companion:
    """Quality and cost of a network that a companion's method made, as deployed."""
    input:
        network=rules.export_companion.output.network,
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
    output:
        f"{COMPANIONS}/evaluate/{{model}}.json",
    log:
        f"{LOGS}/evaluate_{{model}}.log",
    benchmark:
        f"{TIMES}/evaluate_{{model}}.tsv"
    wildcard_constraints:
        model=COMPARED,
    conda:
        "../envs/spandex.yaml"
    threads: CORES
    params:
        recipe=recipe("evaluate", "model", "deploy.sparsity_map", "deploy.density_threshold"),
        options=options_of,
        sparsity=f"--sparsity-map {PARAMS.deploy.sparsity_text} --density-threshold {PARAMS.deploy.density_threshold}",
    shell:
        "spandex --recipe={params.recipe:q} evaluate --net {input.network} --name {wildcards.model} --inputs {input.noisy}"
        " {params.options} {params.sparsity} --workers {threads} --json {output} > {log} 2>&1"


rule denoiser_report:
    """Every method on the denoiser in one plane, and what that says of its claims."""
    input:
        scores=lambda wildcards: compared_scores(),
        networks=expand(rules.fine_tune_companion.output.network, model=list(PARAMS.companion_variants)),
    output:
        f"{COMPANIONS}/denoiser/verdicts.json",
    log:
        f"{LOGS}/companion_denoiser.log",
    benchmark:
        f"{TIMES}/companion_denoiser.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("companions.denoiser", "sparsify.targets", "model"),
        run=TRACKING,
        models=lambda wildcards, input: Path(input.networks[0]).parents[2],
        reports=lambda wildcards, output: Path(output[0]).parents[2],
    shell:
        "spandex --recipe {params.recipe:q} denoiser-report --models {params.models} --reports {params.reports} --run {params.run}"
        " > {log} 2>&1"
