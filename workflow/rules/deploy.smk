rule take_network:
    """A network of others, as its file is: a state dict, or lava-dl HDF5."""
    output:
        f"{MODELS}/{{file}}",
    log:
        f"{LOGS}/take/{{file}}.log",
    benchmark:
        f"{TIMES}/take/{{file}}.tsv"
    wildcard_constraints:
        file=any_of(network.weights for network in PARAMS.every if network.file),
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("file.{file}", "model"),
        model=lambda wildcards: Path(wildcards.file).parent.name,
    shell:
        "spandex --recipe {params.recipe:q} take --model {params.model} --output {output} > {log} 2>&1"


rule export_network:
    """The network as lava-dl HDF5, as netx deploys it."""
    input:
        network=network_of,
    output:
        network=EXPORTED,
    log:
        f"{LOGS}/export_{{model}}.log",
    benchmark:
        f"{TIMES}/export_{{model}}.tsv"
    wildcard_constraints:
        model=any_of(network.name for network in PARAMS.every if network.has_float),
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("model", "export.{model}"),
    shell:
        "spandex --recipe {params.recipe:q} export --model {wildcards.model} --float-network {input.network}"
        " --output {output.network} > {log} 2>&1"


rule lava_inference:
    """Real clips through the whole chain of Lava processes, which must give the bits of the executor."""
    input:
        network=EXPORTED,
        test=f"{DATA}/test/clips.json",
    output:
        f"{REPORTS}/infer/{{model}}.json",
    log:
        f"{LOGS}/infer_{{model}}.log",
    benchmark:
        f"{TIMES}/infer_{{model}}.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("deploy", "model", "lookahead.{model}"),
    shell:
        "spandex --recipe {params.recipe:q} infer --model {wildcards.model} --network {input.network} --clips {input.test} --output {output} > {log} 2>&1"
