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
    threads: workflow.cores
    params:
        recipe=recipe("seed", *CORPUS_KEYS),
    shell:
        "spandex --recipe {params.recipe:q} corpus --output {output.manifest} --workers {threads} 2>&1 | tee -i {log}"


rule synthesize:
    """Noisy clips of one split, with their clean speech and noise."""
    input:
        manifest=rules.corpus.output.manifest,
    output:
        clips=f"{DATA}/{{split}}/clips.json",
    log:
        f"{LOGS}/synthesize_{{split}}.log",
    benchmark:
        f"{TIMES}/synthesize_{{split}}.tsv"
    conda:
        "../envs/spandex.yaml"
    threads: workflow.cores
    params:
        recipe=recipe("seed", "data", "data.clips.{split}", without=["data.clips", *CORPUS_KEYS]),
    shell:
        "spandex --recipe {params.recipe:q} synthesize --manifest {input.manifest} --split {wildcards.split} --output {output.clips}"
        " --workers {threads} 2>&1 | tee -i {log}"
