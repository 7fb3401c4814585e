"""Companion papers: which runs there are, what a stopped one keeps, intervals over seeds, their part in the report."""

import csv
import re
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from report_build import small_build, write_report
from spandex import params as parameters
from spandex.companions.denoiser import claims
from spandex.companions.denoiser.runs import METRICS, by_repeat
from spandex.companions.papers import PAPERS, all_runs, paper
from spandex.companions.results import over_seeds, percent_change, shown
from spandex.companions.work import Work
from spandex.errors import SpandexError
from spandex.files.results import ResultLog
from spandex.metrics.bootstrap import Interval
from spandex.params.variants import METHODS, variants
from spandex.report.claims import Verdict, judge

TARGETS = (0.5, 0.75)


def load(**overrides):
    return parameters.load("params.yaml", overrides)


def test_every_run_has_an_experiment_and_parameters():
    companions = load().companions
    for name, experiment, seed in all_runs(2, 5):
        assert callable(paper(name).experiment(experiment).run)
        assert hasattr(companions.small, name)
        assert hasattr(companions.full, name)
        assert seed in (5, 6)
    assert len(set(all_runs(2, 5))) == 2 * sum(len(found.experiments) for found in PAPERS.values())


@pytest.mark.parametrize(("name", "experiment"), [("acitvity", "mnist"), ("activity", "imagenet")])
def test_an_unknown_paper_or_experiment_is_named_with_those_that_exist(name, experiment):
    unknown = name if name not in PAPERS else experiment
    with pytest.raises(SpandexError, match=f"{unknown}.*there are"):
        paper(name).experiment(experiment)


def test_a_stopped_run_computes_only_what_is_missing(tmp_path):
    computed = []

    def run():
        log = ResultLog(tmp_path / "run.json.partial", "code")
        work = Work(1, torch.device("cpu"), tmp_path, None, log)
        found = [work.part(name, lambda name=name: computed.append(name) or {"of": name}) for name in ("a", "b")]
        log.close()
        return found

    first = run()
    assert run() == first == [{"of": "a"}, {"of": "b"}]
    assert computed == ["a", "b"]


def test_interval_over_seeds_is_that_of_a_t_test():
    values = [1.0, 1.4, 0.9, 1.3]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = over_seeds([{"x": value} for value in values], lambda run: run["x"])
    np.testing.assert_allclose(found, [np.mean(values), *expected])


def test_one_seed_decides_nothing():
    alone = over_seeds([{"x": 0.7}], lambda run: run["x"])
    assert alone == Interval(0.7, -inf, inf)
    for low, high in ((-inf, 1.0), (0.0, inf), (0.0, 1.0)):
        verdict, reason = judge(alone, low, high, of="seeds")
        assert verdict is Verdict.NOT_TESTABLE
        assert "seeds" in reason
    assert shown(alone, 1, "dB", signed=True) == "+0.7 dB (one seed)"
    assert "inf" not in shown(percent_change(alone), 1, "%")


def test_percent_change_of_a_logarithm():
    np.testing.assert_allclose(percent_change(Interval(np.log(0.5), np.log(0.25), 0.0)), [-50.0, -75.0, 0.0])


def test_variants_are_every_method_at_every_sparsity_with_every_seed():
    names = [variant.name for variant in variants(TARGETS, 2)]
    once = ["dense", "prune50", "prune75", "events", "events50", "events75", "masks50", "masks75", "noise50", "noise75"]
    assert names == [*once, *(f"{name}-2" for name in once)]


def test_networks_of_the_table_are_not_trained_again():
    found = load(set="companions.seeds=2")
    assert not set(found.companion_variants) & set(found.models)
    assert {"dense-2", "prune50-2", "events", "noise75-2"} <= set(found.companion_variants)


def test_repetitions_differ_in_the_seed_alone():
    found = load(set="companions.seeds=3 seed=7")
    assert [found.seed_of(name) for name in ("dense", "dense-2", "events50", "events50-3")] == [7, 8, 7, 9]
    first, third = found.pruning("events50"), found.pruning("events50-3")
    assert first | {"seed": 9} == third
    assert found.pruning("prune50").items() <= found.pruning("prune50-2").items()


def test_networks_of_more_seeds_than_asked_for_keep_their_recipe():
    three, one = load(set="companions.seeds=3"), load(set="companions.seeds=1")
    for name in three.companion_variants:
        assert one.pruning(name) == three.pruning(name)
        assert one.folder(name) == three.folder(name)
    for name in ("dense-1", "dense-0", "events60", "events-x", "baseline", "one-shot50", "prune50"):
        assert one.companion_variant(name) is None


def test_results_of_companions_have_folders_of_their_own():
    found = load()
    parts = {name: found.part(name) for name in ("dense", "prune50", "prune90", "linear50", "masks50", "dense-2")}
    assert parts == dict.fromkeys(("dense", "prune50"), "") | {
        "prune90": "ablation",
        "linear50": "ablation",
        "masks50": "companions",
        "dense-2": "companions",
    }


def scores(sigma: float = 0.0) -> dict:
    """Every method one dB better than the one before in METHODS, at half its power; noise of the seeds beside."""
    rng = np.random.default_rng(0)
    found = {}
    for variant in variants(TARGETS, 3):
        place = METHODS.index(variant.method)
        metrics = dict.fromkeys(METRICS, 1.0) | {"events_per_step": [3.0 / 2**place, 4.0 / 2**place]}
        metrics["si_snr_db"] = 10.0 + place + sigma * rng.standard_normal()
        metrics["deployed_synops_per_step"] = 1000.0 / 2**place
        metrics["deployed_power_proxy_ops_per_s"] = 1e6 / 2**place
        found[variant.name] = metrics
    return found


def test_runs_hold_the_networks_of_each_seed_by_their_first_name():
    runs = by_repeat(scores(), TARGETS, 3)
    assert [set(run["networks"]) == {v.name for v in variants(TARGETS, 1)} for run in runs] == [True] * 3
    assert runs[0]["networks"]["dense"]["events_per_step"] == 7.0


def test_denoiser_verdicts_follow_power_and_quality(tmp_path):
    settings = SimpleNamespace(targets=TARGETS)
    runs = {"denoiser": by_repeat(scores(0.01), TARGETS, 3)}
    found = claims.findings(runs, settings)
    assert len(found) == 3 + 2 * (3 + 2 + 2)
    assert {finding.verdict for finding in found} == {Verdict.REPRODUCED}
    noisy = claims.findings({"denoiser": by_repeat(scores(20.0), TARGETS, 3)}, settings)
    by_quality = {finding.verdict for finding in noisy if "SI-SNR" in finding.claim}
    by_cost = {finding.verdict for finding in noisy if "SI-SNR" not in finding.claim}
    assert (by_quality, by_cost) == ({Verdict.NOT_TESTABLE}, {Verdict.REPRODUCED})
    (table,) = claims.tables(runs)
    assert [row[0] for row in table.rows][:1] == ["dense"]
    assert all(len(row) == len(table.headings) for row in table.rows)
    assert all(file.stat().st_size > 1000 for file in claims.figures(runs, tmp_path))


def test_one_seed_still_gives_tables_and_a_figure(tmp_path):
    runs = {"denoiser": by_repeat(scores(), TARGETS, 1)}
    found = claims.findings(runs, SimpleNamespace(targets=TARGETS))
    assert {finding.verdict for finding in found} == {Verdict.NOT_TESTABLE}
    assert not any(re.search(r"\binf\b|nan", finding.here) for finding in found)
    assert claims.tables(runs)
    assert claims.figures(runs, tmp_path)


def test_report_shows_companions_once_they_have_run(tmp_path, monkeypatch):
    build = small_build(tmp_path, targets="[0.5]", companions=True)
    reports = write_report(build, monkeypatch)
    rows = {row["model"]: row for row in read_csv(reports / "table.csv") if row["source"] == "this run"}
    assert list(rows) == ["noisy", "baseline", "dense", "prune50", "events", "events50", "masks50", "noise50"]
    for model in ("dense", "masks50"):
        assert rows[model]["si_snr_db"] and rows[model]["deployed_power_proxy_mops_per_s"]
    assert rows["dense"]["float_si_snr_db"] and not rows["masks50"]["float_si_snr_db"]
    page = (reports / "index.html").read_text()
    assert claims.LABELS["masks"] in page and "DVS-CIFAR10" in page
    assert "masks50" in (reports / "companions/summary.md").read_text()


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
