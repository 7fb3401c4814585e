# other papers on sparse spiking networks, each on its own experiments


rule companion_experiment:
    """One experiment of a paper with one seed."""
    output:
        f"{COMPANIONS}/{{paper}}/{{experiment}}-{{seed}}.json",
    log:
        f"{LOGS}/companion_{{paper}}_{{experiment}}_{{seed}}.log",
    benchmark:
        f"{TIMES}/companion_{{paper}}_{{experiment}}_{{seed}}.tsv"
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
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("companions.size", f"companions.{PARAMS.companions.size}.{{paper}}"),
        run=TRACKING,
    shell:
        "spandex --recipe {params.recipe:q} companion-report --paper {wildcards.paper} --run {params.run} --output {output}"
        " {input.runs} > {log} 2>&1"
