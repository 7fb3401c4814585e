"""Companion papers: which runs there are, what a stopped one keeps, intervals over seeds, their part in the report."""

import itertools
import re
from math import inf

import numpy as np
import pytest
import torch
from scipy import stats

from report_build import small_build, write_report
from spandex import params as parameters
from spandex.companions import denoiser
from spandex.companions.papers import PAPERS, all_runs, paper
from spandex.companions.results import over_seeds, percent_change, shown
from spandex.companions.work import Work
from spandex.errors import SpandexError
from spandex.files.results import ResultLog
from spandex.files.text import read_csv
from spandex.metrics.bootstrap import Interval
from spandex.params import Network
from spandex.report.claims import Verdict, judge
from spandex.sparsify.methods import check, method

METHODS = ("dense", "magnitude", "events", "masks", "noise")


def load(check=None, **overrides):
    return parameters.load("params.yaml", overrides, check)


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


def networks(seeds: int) -> list[list[Network]]:
    """The dense control and every method at every sparsity, seed by seed."""
    return load(check, set=f"reports.denoiser.seeds={seeds}").compared("denoiser")


def scores(seeds: int, sigma: float = 0.0) -> dict:
    """Every method one dB better than the one before in METHODS, at half its power; noise of the seeds beside."""
    rng = np.random.default_rng(0)
    found = {}
    for network in itertools.chain(*networks(seeds)):
        place = max((METHODS.index(name) for name in network.methods), default=0)
        metrics = dict.fromkeys(denoiser.METRICS, 1.0) | {"events_per_step": [3.0 / 2**place, 4.0 / 2**place]}
        metrics["si_snr_db"] = 10.0 + place + sigma * rng.standard_normal()
        metrics |= {"sparsity": 0.5, "deployed_sparsity": 0.5}
        metrics["deployed_synops_per_step"] = 1000.0 / 2**place
        metrics["deployed_power_proxy_ops_per_s"] = 1e6 / 2**place
        found[network.name] = metrics
    return found


def test_runs_hold_the_networks_of_each_seed_by_their_first_name():
    names = [network.name for network in networks(1)[0]]
    once = ["dense", "prune50", "prune75", "events", "events50", "events75", "masks50", "masks75", "noise50", "noise75"]
    assert names == once
    runs = denoiser.by_seed(networks(3), scores(3))
    assert [list(run) for run in runs] == [once] * 3
    assert runs[0]["dense"]["events_per_step"] == 7.0


def test_denoiser_verdicts_follow_power_and_quality(tmp_path):
    runs = denoiser.by_seed(networks(3), scores(3, 0.01))
    found = denoiser.findings(runs, networks(3)[0])
    assert len(found) == 3 + 2 * (3 + 2 + 2)
    assert {finding.verdict for finding in found} == {Verdict.REPRODUCED}
    assert {finding.published for finding in found} == {method(name).SOURCE for name in ("events", "masks", "noise")}
    noisy = denoiser.findings(denoiser.by_seed(networks(3), scores(3, 20.0)), networks(3)[0])
    by_quality = {finding.verdict for finding in noisy if "SI-SNR" in finding.claim}
    by_cost = {finding.verdict for finding in noisy if "SI-SNR" not in finding.claim}
    assert (by_quality, by_cost) == ({Verdict.NOT_TESTABLE}, {Verdict.REPRODUCED})
    (table,) = denoiser.tables(runs, networks(3)[0])
    assert [row[0] for row in table.rows][:1] == ["dense"]
    assert all(len(row) == len(table.headings) for row in table.rows)
    assert all(file.stat().st_size > 1000 for file in denoiser.plane(runs, networks(3)[0], tmp_path / "plane"))


def test_claims_name_methods_target_and_what_they_are_compared_with():
    claims = [finding.claim for finding in denoiser.findings(denoiser.by_seed(networks(1), scores(1)), networks(1)[0])]
    assert claims[0] == "Activity regularization without pruning: fewer events than dense control"
    assert claims[3] == (
        "Activity regularization with magnitude (SPANDEX) at 50 % sparsity: fewer events than magnitude (SPANDEX)"
    )
    assert claims[-1] == "Noise pruning at 75 % sparsity: SI-SNR not below that of magnitude (SPANDEX)"


def test_distilled_network_is_judged_against_a_distilled_one():
    own = "networks.prune50.distill.weight=50 grids.masks.distill.weight=50"
    (one,) = load(check, set=f"reports.denoiser.seeds=1 {own}").compared("denoiser")
    claims = [finding.claim for finding in denoiser.findings(denoiser.by_seed([one], scores(1)), one)]
    who, other = "Mask search and distillation at 50 % sparsity", "magnitude (SPANDEX) and distillation"
    assert [claim for claim in claims if "50 %" in claim or "istillation" in claim] == [
        f"{who}: lower deployed power proxy than {other}",
        f"{who}: SI-SNR not below that of {other}",
    ]


def test_network_with_a_budget_is_judged_by_it_and_only_beside_what_is_trained_alike(tmp_path):
    own = {"few": {"from": "baseline", "magnitude": {"power_mops": 4}}}
    own |= {"found": {"from": "baseline", "masks": {"power_mops": 4}}}
    report = "reports.denoiser.networks=[dense,few,found] reports.denoiser.seeds=1"

    def claims(more=""):
        (one,) = load(check, networks=own, set=f"{report} {more}").compared("denoiser")
        known = scores(1)
        runs = denoiser.by_seed([one], known | {"few": known["prune50"], "found": known["masks50"]})
        assert denoiser.plane(runs, one, tmp_path / "plane")
        return [finding.claim for finding in denoiser.findings(runs, one)]

    assert claims()[0] == "Mask search at 4 M-Ops/s of power: lower deployed power proxy than magnitude (SPANDEX)"
    assert claims("networks.few.lookahead=1") == []
    assert claims("networks.few.from=prune75") == []


def test_one_seed_still_gives_tables_and_a_figure(tmp_path):
    runs = denoiser.by_seed(networks(1), scores(1))
    found = denoiser.findings(runs, networks(1)[0])
    assert {finding.verdict for finding in found} == {Verdict.NOT_TESTABLE}
    assert not any(re.search(r"\binf\b|nan", finding.here) for finding in found)
    assert denoiser.tables(runs, networks(1)[0])
    assert denoiser.plane(runs, networks(1)[0], tmp_path / "plane")


def test_report_shows_companions_once_they_have_run(tmp_path, monkeypatch):
    build = small_build(tmp_path, (0.5,), companions=True)
    reports = write_report(build, monkeypatch)
    rows = {row["model"]: row for row in read_csv(reports / "table.csv") if row["source"] == "this run"}
    assert list(rows) == ["noisy", "baseline", "dense", "prune50", "events", "events50", "masks50", "noise50"]
    for model in ("dense", "masks50"):
        assert rows[model]["si_snr_db"] and rows[model]["deployed_power_proxy_mops_per_s"]
    page = (reports / "index.html").read_text()
    assert method("masks").TITLE in page and "DVS-CIFAR10" in page
    assert "masks50" in (reports / "companions/summary.md").read_text()
