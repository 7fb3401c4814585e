rule corpus:
    """Speech and noise, synthesised or downloaded, listed in one manifest."""
    output:
        manifest=f"{DATA}/corpus/manifest.csv",
    log:
        f"{LOGS}/corpus.log",
    benchmark:
        f"{TIMES}/corpus.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: CORES
    params:
        recipe=recipe("seed", *CORPUS_KEYS),
    shell:
        "spandex --recipe {params.recipe:q} corpus --output {output.manifest} --workers {threads} > {log} 2>&1"


rule synthesize:
    """Noisy clips of one split, with their clean speech and noise; most of them made by shards, if there are any."""
    input:
        manifest=rules.corpus.output.manifest,
        shards=synthesis_shards,
    output:
        clips=f"{DATA}/{{split}}/clips.json",
    log:
        f"{LOGS}/synthesize_{{split}}.log",
    benchmark:
        f"{TIMES}/synthesize_{{split}}.tsv"
    priority: 2
    conda:
        "../envs/spandex.yaml"
    threads: CORES
    params:
        recipe=recipe("seed", "data", "data.clips.{split}", without=["data.clips", *CORPUS_KEYS]),
        clips=lambda wildcards: f"{DATA}/{wildcards.split}/clips.json",
        share="",
    shell:
        "spandex --recipe={params.recipe:q} synthesize --manifest {input.manifest} --split {wildcards.split}"
        " {params.share} --output {params.clips} --workers {threads} > {log} 2>&1"


use rule synthesize as synthesize_shard with:
    input:
        manifest=rules.corpus.output.manifest,
    output:
        temp(touch(f"{DATA}/{{split}}/.shards/{{scatteritem}}.done")),
    log:
        f"{LOGS}/shards/synthesize_{{split}}_{{scatteritem}}.log",
    benchmark:
        f"{TIMES}/shards/synthesize_{{split}}_{{scatteritem}}.tsv"
    params:
        recipe="",
        share="--shard {scatteritem}",
