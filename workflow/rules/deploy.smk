rule export_network:
    """The network as lava-dl HDF5, as netx deploys it."""
    input:
        network=network_of,
    output:
        network=f"{MODELS}/exported/{{model}}/network.net",
    log:
        f"{LOGS}/export_{{model}}.log",
    benchmark:
        f"{TIMES}/export_{{model}}.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        recipe=recipe("model", "export.{model}"),
        options=lambda wildcards: "--without-idle" if PARAMS.network(wildcards.model).shrink else "",
    shell:
        "spandex --recipe {params.recipe:q} export --float-network {input.network} --output {output.network} {params.options}"
        " > {log} 2>&1"


rule lava_inference:
    """Real clips through the whole chain of Lava processes, which must give the bits of the executor."""
    input:
        network=rules.export_network.output.network,
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
        recipe=recipe("deploy", "model"),
    shell:
        "spandex --recipe {params.recipe:q} infer --network {input.network} --clips {input.test} --output {output} > {log} 2>&1"
