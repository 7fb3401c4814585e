report: "../report/workflow.rst"


rule report:
    """The paper's table with ours beside it, figures, the page, and the challenge's board entry."""
    input:
        test=f"{DATA}/test/clips.json",
        noisy=rules.evaluate_noisy.output,
        metrics=table_scores(),
        inference=expand(rules.lava_inference.output, model=PARAMS.models),
        epochs=expand(rules.fine_tune.output.epochs, model=PARAMS.fine_tuned),
        iterations=expand(rules.fine_tune.output.iterations, model=PARAMS.fine_tuned),
        baseline=rules.train_baseline.output.epochs,
        exported=expand(EXPORTED, model=PARAMS.models),
        latency=rules.latency.output,
        beside=beside_there,
        comparisons=comparisons_there,
        companions=companions_there,
        published=expand("reports/reference/{name}.csv", name=["spandex_paper", "ndns_track1_test_set_1"]),
    output:
        table=[
            report(
                f"{REPORTS}/table.csv",
                caption="../report/table.rst",
                category="Results",
                labels={"what": "table", "profile": PROFILE},
            ),
            *multiext(f"{REPORTS}/table", ".md", ".tex"),
        ],
        page=report(
            f"{REPORTS}/index.html",
            caption="../report/page.rst",
            category="Results",
            labels={"what": "page", "profile": PROFILE},
        ),
        paper=f"{REPORTS}/paper.tex",
        summary=f"{REPORTS}/summary.md",
        intervals=f"{REPORTS}/intervals.md",
        headline=f"{REPORTS}/headline.md",
        board=f"{REPORTS}/metricsboard_track_1_test.yml",
        metrics=f"{REPORTS}/metrics.json",
        curves=f"{REPORTS}/plots/curves.csv",
        figures=[
            report(
                f"{REPORTS}/figures/{name}.png",
                caption=f"../report/{name}.rst",
                category=category,
                labels={"what": name.replace("_", " "), "profile": PROFILE},
            )
            for name, category in (("cost", "Results"), ("figure1", "Training"), ("learning_curves", "Training"))
        ]
        + expand(f"{REPORTS}/figures/{{name}}.pdf", name=["cost", "figure1", "learning_curves"]),
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{TIMES}/report.tsv"
    conda:
        "../envs/spandex.yaml"
    params:
        run=TRACKING,
        recipe=recipe("report", "rows", "deploy.sparsity_map", "deploy.density_threshold"),
    shell:
        "spandex --recipe {params.recipe:q} report --clips {input.test} --run {params.run} > {log} 2>&1"


rule compare:
    """Networks compared: a table, their intervals, figures, and verdicts on what is claimed of their methods."""
    input:
        noisy=rules.evaluate_noisy.output,
        scores=lambda wildcards: [scores_of(name) for name in compared(wildcards)],
        networks=lambda wildcards: [weights_of(name) for name in compared(wildcards) if name in NETWORKS],
        beside=beside_frontier,
    output:
        tables=multiext(f"{COMPARISONS}/{{report}}/table", ".csv", ".md", ".tex"),
        intervals=f"{COMPARISONS}/{{report}}/intervals.md",
        summary=f"{COMPARISONS}/{{report}}/summary.md",
    log:
        f"{LOGS}/compare_{{report}}.log",
    benchmark:
        f"{TIMES}/compare_{{report}}.tsv"
    wildcard_constraints:
        report=any_of(PARAMS.reports.comparisons),
    conda:
        "../envs/spandex.yaml"
    params:
        run=TRACKING,
        recipe=recipe("comparison.{report}"),
    shell:
        "spandex --recipe {params.recipe:q} compare --report {wildcards.report} --run {params.run} > {log} 2>&1"
