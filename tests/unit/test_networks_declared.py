"""Networks as data: what params.yaml declares, what grids make of it, and how methods are found."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spandex import params
from spandex.errors import SpandexError
from spandex.networks import SDNN
from spandex.params import ParamsError
from spandex.report.published import counterpart
from spandex.sparsify import KeptZeros, Together, sparsity
from spandex.sparsify.methods import check, names, sparsifier

FILE = Path(__file__).parents[2] / "params.yaml"
KNOWN = "grids.g.from=baseline grids.g"
TAUGHT = "networks.dense.distill.weight=50 networks.dense.distill.teacher"


def load(settings: str = "") -> params.Params:
    return params.load(FILE, {"set": settings}, check)


def made(settings: str, grid: str = "g") -> list[str]:
    return [network.name for network in load(settings).chosen([grid])]


def test_table_has_the_declared_networks_in_their_order():
    assert load().models == ["baseline", "dense", "prune50", "prune75", "saliency85"]
    changed = load("networks.mine.from=dense networks.prune50=null")
    assert changed.models == ["baseline", "dense", "prune75", "saliency85", "mine"]


def test_profile_adds_rows_and_takes_them_away(tmp_path):
    file = tmp_path / "params.yaml"
    text = FILE.read_text()
    file.write_text(text.replace("    networks: {}", "    networks: {prune50: null, mine: {from: dense}}", 1))
    assert params.load(file, None, check).models == ["baseline", "dense", "prune75", "saliency85", "mine"]
    file.write_text(text.replace("    networks: {}", "    networks: {prune50: {from: dense}}", 1))
    with pytest.raises(ParamsError, match=r"networks\.prune50 stands twice"):
        params.load(file, None, check)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("over.magnitude.target=[0.5,0.975]", ["g50", "g97p5"]),
        ("over.events.psi=[l1,l0.5] grids.g.events.weight=0.1", ["gl1", "gl0p5"]),
        ("over.magnitude.target=[null,0.5] grids.g.events.weight=0.1", ["g", "g50"]),
        ("over.magnitude.target=[0.5,0.6] grids.g.over.magnitude.rounds=[2,3]", ["g50-2", "g50-3", "g60-2", "g60-3"]),
        ("over.distill.weight=[null,5,50]", ["g", "g5", "g50"]),
    ],
)
def test_grid_names_its_networks_by_key_and_values(values, expected):
    assert made(f"{KNOWN}.{values}") == expected


def test_names_are_those_of_before():
    every = [network.name for network in load().every]
    assert {"linear90", "one-shot50", "iterative95", "events", "events50-2", "dense-3", "noise75"} <= set(every)
    assert len(every) == len(set(every))


def test_entry_wins_over_the_defaults_of_its_methods_and_settings_that_do_not_count_are_left_out():
    def settings(name: str) -> dict:
        return load("networks.prune50.magnitude.scope=layer").training(name)["methods"]["magnitude"]

    assert settings("prune50") == {"schedule": "cubic", "target": 0.5, "scope": "layer", "frequency": 30}
    assert settings("one-shot90") == {"schedule": "one-shot", "target": 0.9, "scope": "global"}
    assert settings("iterative95") == {"schedule": "iterative", "target": 0.95, "scope": "global", "rounds": 5}
    fine_tuning = {"epochs": 4, "pruning_epochs": 2, "lr_factor": 0.7, "lr_schedule": "drop"}
    assert load().training("dense") == {"from": "baseline", "methods": {}, "fine_tuning": fine_tuning, "seed": 1}


def test_entry_wins_over_the_profile_in_how_it_is_fine_tuned():
    own = "networks.prune50.epochs=12 networks.prune50.lr_drop_epoch=9 networks.prune50.distill.weight=50"
    found = load(f"{own} sparsify.pruning_epochs=3 sparsify.lr_drop_epoch=4 sparsify.lr_schedule=cosine")
    shared = {"pruning_epochs": 3, "lr_factor": 0.7, "lr_schedule": "cosine"}
    assert found.training("prune50")["fine_tuning"] == shared | {
        "epochs": 12,
        "lr_drop_epoch": 9,
        "distill": {"weight": 50},
    }
    assert found.training("prune75")["fine_tuning"] == shared | {"epochs": 4, "lr_drop_epoch": 4}
    assert found.training("prune50") == load(
        f"{own} sparsify.pruning_epochs=3 networks.prune50.lr_schedule=cosine"
    ).training("prune50")
    assert not found.training("baseline")["fine_tuning"]


def test_distilled_network_is_not_the_published_one():
    assert counterpart(load("networks.prune50.epochs=12").network("prune50")) == ("50% Spars",)
    assert counterpart(load("networks.prune50.distill.weight=50").network("prune50")) == ()


def test_dynamic_mixing_depends_on_the_settings_of_the_mixtures_and_other_training_does_not():
    mixed = "networks.mixed.from=baseline networks.mixed.dynamic_mixing=true "
    before = load(mixed).training("mixed")
    for setting in ("data.snr_db=[0,5]", "data.clip_s=20.0", "data.clips.train=7", "seed=3"):
        assert load(mixed + setting).training("mixed") != before
    for setting in ("data.clips.test=7", "data.noise_share=0.7", "train.lr=0.1"):  # the rest counts by itself
        assert load(mixed + setting).training("mixed") == before
    assert load("data.snr_db=[0,5]").training("dense") == load().training("dense")
    grid = load(f"{KNOWN}.over.magnitude.target=[0.5] grids.g.dynamic_mixing=true")
    assert grid.network("g50").dynamic_mixing and not grid.network("prune50").dynamic_mixing
    assert counterpart(grid.network("prune50")) and not counterpart(grid.network("g50"))
    varied = load(mixed + "networks.mixed.augmentation=true").training("mixed")
    assert varied == before | {"augmentation": True}
    assert load("networks.baseline.dynamic_mixing=true").network("baseline").dynamic_mixing


def test_repetitions_differ_in_the_seed_alone():
    found = load("seed=7")
    assert [found.training(name)["seed"] for name in ("dense", "dense-2", "events50", "events50-3")] == [7, 8, 7, 9]
    assert found.training("events50") | {"seed": 9} == found.training("events50-3")


def test_repetitions_start_from_and_learn_from_networks_of_their_own_seed():
    found = load(
        "networks.first.from=baseline networks.first.saliency.power_mops=6 networks.taught.from=first "
        "networks.taught.distill.weight=50 networks.taught.distill.teacher=dense networks.taught.noise.power_mops=4 "
        "networks.theirs.file=a.net networks.last.from=theirs "
        "reports.chain.networks=[taught,last] reports.chain.seeds=2"
    )
    again = found.network("taught-2")
    assert (again.start, again.teacher, again.power_mops, again.repeat) == ("first-2", "dense-2", 4, 1)
    assert found.network("first-2").start == "baseline" and found.network("last-2").start == "theirs"
    assert found.training("dense-2")["seed"] == found.seed + 1


def test_budget_takes_the_place_of_a_target_and_shrinks():
    found = load("grids.g.from=baseline grids.g.over.saliency.power_mops=[4,1.5]")
    assert [found.network(name).power_mops for name in ("g4", "g1p5")] == [4, 1.5]
    assert found.network("g4").shrink and found.network("g4").target is None
    assert found.network("prune75").power_mops is None and not found.network("prune75").shrink


def test_network_that_moves_from_a_grid_to_the_table_is_the_same():
    before = load()
    after = load(
        "grids.prune.over.magnitude.target=[0.25] networks.prune90.from=baseline networks.prune90.magnitude.target=0.9"
    )
    assert "prune90" in after.models and "prune90" not in before.models
    assert after.network("prune90") == before.network("prune90")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("networks.prune75.magnitude.target=1.5", r"networks\.prune75\.magnitude\.target: .* less than 1, got 1.5"),
        ("networks.prune75.magnitude.target=1e400", r"networks\.prune75\.magnitude\.target: .* got inf"),
        ("networks.prune75.magnitude.target=true", r"networks\.prune75\.magnitude\.target: "),
        ("networks.prune75.masks.beta=[true,2]", r"networks\.prune75\.masks: target or power_mops is missing"),
        ("networks.prune75.events.weight=true", r"networks\.prune75\.events\.weight: Input should be a number"),
        ("networks.prune75.magnitude.rounds=1", r"networks\.prune75\.magnitude\.rounds: .* got 1"),
        (
            "networks.prune75.magnitude.taget=0.5",
            r"networks\.prune75\.magnitude\.taget: unknown key; magnitude\.target",
        ),
        ("networks.prune75.magnitud.target=0.5", r"networks\.prune75\.magnitud: no method .* magnitude is one"),
        ("networks.dense.masks.weight=1", r"networks\.dense\.masks: target or power_mops is missing"),
        (
            "networks.prune75.magnitude.power_mops=4",
            r"networks\.prune75\.magnitude\.power_mops: 4 and target: 0.75 excl",
        ),
        ("networks.dense.noise.power_mops=0", r"networks\.dense\.noise\.power_mops: .* greater than 0, got 0"),
        ("networks.dense.events.power_mops=4", r"networks\.dense\.events\.power_mops: unknown key"),
        (
            "networks.dense.noise.power_mops=4 networks.dense.shrink=false",
            r"networks\.dense\.shrink: a power budget counts",
        ),
        (f"{TAUGHT}=x", r"networks\.dense\.distill\.teacher: there is no network x"),
        (f"{TAUGHT}=dense", r"networks\.dense\.distill\.teacher: goes round in a circle, dense <- dense"),
        (f"{TAUGHT}=prune75 networks.prune75.from=dense", r"networks\.dense\.from: goes round in a circle, "),
        (f"{TAUGHT}=mine networks.mine.audio=a", r"networks\.dense\.distill\.teacher: mine is audio and no network"),
        (f"{TAUGHT}=1", r"networks\.dense\.distill\.teacher: .* got 1"),
        (
            "networks.prune75.noise.target=0.5",
            r"networks\.prune75\.noise: magnitude prunes already; one method chooses",
        ),
        (
            "networks.x.from=prune75 networks.x.events.weight=0.1 networks.y.from=x networks.y.noise.target=0.6",
            r"networks\.y: target 0\.6 is below the 0\.75 of prune75, whose zeros stay",
        ),
        ("networks.dense.epochs=1", r"networks\.dense\.pruning_epochs: 2 is more than epochs: 1"),
        ("networks.dense.pruning_epochs=9", r"networks\.dense\.pruning_epochs: 9 is more than epochs: 4"),
        ("networks.dense.lr_drop_epoch=5", r"networks\.dense\.lr_drop_epoch: 5 is more than epochs: 4"),
        ("networks.dense.lr_factor=0", r"networks\.dense\.lr_factor: .* greater than 0, got 0"),
        ("networks.dense.noise.target=0.5 networks.dense.average=0.9", r"networks\.dense\.average: noise scales "),
        ("networks.dense.average=1", r"networks\.dense\.average: .* got 1"),
        ("networks.dense.lr_schedule=sine", r"networks\.dense\.lr_schedule: .* got 'sine'"),
        ("networks.dense.pruning_epochs=true", r"networks\.dense\.pruning_epochs: Input should be a number, got True"),
        ("networks.dense.epochs=null", r"networks\.dense\.epochs: .* got None"),
        ("networks.dense.epoch=3", r"networks\.dense\.epoch: 3 is not of the form"),
        ("networks.dense.distill=50", r"networks\.dense\.distill: .* got 50"),
        ("networks.dense.distill.weight=-1", r"networks\.dense\.distill\.weight: .* greater than 0, got -1"),
        ("networks.dense.distill.wieght=1", r"networks\.dense\.distill\.weight: missing; distill\.wieght: unknown key"),
        ("sparsify.distill.weight=50", r"sparsify\.distill: no method of this name"),
        ("networks.mine.file=a.net networks.mine.epochs=5", r"networks\.mine\.epochs: what others made"),
        ("networks.baseline.distill.weight=1", r"networks\.baseline\.distill: baseline is where"),
        (f"{KNOWN}.over.epochs.x=[1]", r"grids\.g\.over\.epochs: is no method"),
        (f"{KNOWN}.over.distill.weight=[0]", r"grids\.g0\.distill\.weight: .* got 0"),
        ("networks.dense.shrink=1", r"networks\.dense\.shrink: 1 is neither true nor false"),
        ("networks.dense.dynamic_mixing=epoch", r"networks\.dense\.dynamic_mixing: 'epoch' is neither true nor false"),
        ("networks.dense.augmentation=true", r"networks\.dense\.augmentation: clips are varied where they are mixed"),
        ("networks.dense.lookahead=2", r"networks\.dense\.lookahead: 2 is no whole number from 0 to 1"),
        ("networks.dense.lookahead=true", r"networks\.dense\.lookahead: True is no whole number"),
        ("networks.baseline.lookahead=1", r"networks\.baseline\.lookahead: 1 is for networks with from or file"),
        ("networks.x.audio=a networks.x.lookahead=1", r"networks\.x\.lookahead: 1 is for networks with from or file"),
        ("networks.dense.label=3", r"networks\.dense\.label: 3 is no text"),
        ('networks.dense.label="a\\nb"', r"networks\.dense\.label: 'a\\nb' is more than one line of a table"),
        ("networks.dense.from=null", r"networks\.dense\.from: None is no text"),
        ("networks.mine=3", r"networks\.mine: 3 is not of the form"),
        ("networks.mine.shrink=true", r"networks\.mine: takes one of from, file, audio, and has none"),
        ("networks.mine.file=a.net networks.mine.from=dense", r"networks\.mine: takes one of .* has from and file"),
        ("networks.mine.file=a.net networks.mine.magnitude.target=0.5", r"networks\.mine\.magnitude: what others made"),
        ("networks.mine.file=a.net networks.mine.dynamic_mixing=true", r"networks\.mine\.dynamic_mixing: what others"),
        ("networks.mine.audio=a networks.x.from=mine", r"networks\.x\.from: mine is audio and no network"),
        ("networks.Mine.from=baseline", r"networks\.Mine: a name has lower-case"),
        ("networks.noisy.from=baseline", r"networks\.noisy: a name"),
        ("networks.x.from=dens", r"networks\.x\.from: there is no network dens"),
        ("networks.a.from=b networks.b.from=a", r"networks\.a\.from: goes round in a circle, a <- b <- a"),
        ("networks.a.from=a", r"networks\.a\.from: goes round"),
        ("networks.baseline=null", r"networks\.baseline: missing"),
        ("networks.baseline.from=dense", r"networks\.baseline\.from: baseline is where all starts"),
        ("networks.baseline.magnitude.target=0.5", r"networks\.baseline\.magnitude: baseline is where"),
        ("networks.linear50.from=baseline", r"networks\.linear50: declared twice"),
        ("grids.prune.over.magnitude.target=[0.5]", r"networks\.prune50: declared twice"),
        ("networks.dense-2.from=baseline", r"reports\.denoiser\.seeds: dense-2 is another network already"),
        ("grids.g.from=baseline", r"grids\.g\.over: None is not of the form"),
        (f"{KNOWN}.over.magnitude.target=0.5", r"grids\.g\.over\.magnitude\.target: 0.5 is no list"),
        (f"{KNOWN}.over.magnitude.target=[]", r"grids\.g\.over\.magnitude\.target: \[\] is no list"),
        (f"{KNOWN}.over.magnitude.target=[2]", r"grids\.g200\.magnitude\.target: .* got 2"),
        (f"{KNOWN}.over.from.x=[1]", r"grids\.g\.over\.from: is no method"),
        (f"{KNOWN}.over.magnitude.target=[0.5] grids.g.magnitude=3", r"grids\.g\.magnitude: 3 is not of the form"),
        (f"{KNOWN}.over.1.target=[0.5]", r"grids\.g50\.1: no method"),
        (f"{KNOWN}.over.noise.gain_limit=[{','.join(map(str, range(1001)))}]", r"grids\.g\.over: makes 1001 networks"),
        ("reports.knee.seeds=1000000000", r"reports\.knee\.seeds: "),
        ("sparsify.magnitude.freqency=3", r"sparsify\.magnitude\.freqency: unknown key; magnitude\.frequency"),
        ("sparsify.magnitude.rounds=0", r"sparsify\.magnitude\.rounds: .* got 0"),
        ("sparsify.frequency=3", r"sparsify\.frequency: "),
        ("sparsify.evnts.weight=3", r"sparsify\.evnts: no method .* events is one"),
        ("reports.table.also=[event]", r"reports\.table\.also: there is no network event; events is one"),
        ("reports.knee.figures=[knie]", r"reports\.knee\.figures\.0: "),
        ("reports.knee.seeds=0", r"reports\.knee\.seeds: "),
        ("reports.Knee.networks=[dense]", r"reports\.Knee: a name"),
    ],
)
def test_impossible_entry_is_named(settings, message):
    with pytest.raises(ParamsError, match=f"params.yaml: {message}"):
        load(settings)


def test_network_with_a_lookahead_is_trained_with_it_and_is_neither_control_nor_spandex_s():
    plain = load("networks.ahead.from=baseline networks.ahead75.from=baseline networks.ahead75.magnitude.target=0.75")
    found = load(
        "networks.dense=null networks.saliency85=null networks.ahead.from=baseline networks.ahead.lookahead=1 "
        "networks.ahead75.from=baseline networks.ahead75.magnitude.target=0.75 networks.ahead75.lookahead=1"
    )
    for name in ("ahead", "ahead75"):
        assert found.training(name) == plain.training(name) | {"lookahead": 1}
    assert (plain.control, found.control) == ("dense", "baseline")
    assert plain.network("ahead75").by_magnitude and not found.network("ahead75").by_magnitude


def test_network_pruned_by_magnitude_to_a_power_has_no_published_row():
    network = load("networks.four.from=baseline networks.four.magnitude.power_mops=4").network("four")
    assert not network.by_magnitude and counterpart(network) == ()


@pytest.mark.parametrize(
    ("file", "weights", "path"),
    [
        ("spandex-prune50-net", "exported/mine/network.net", None),
        ("ndns-baseline-pt", "sparsified/mine/network.pt", None),
        ("my/net.hdf5", "exported/mine/network.net", "my/net.hdf5"),
        ("state.pth", "sparsified/mine/network.pt", "state.pth"),
    ],
)
def test_network_of_others_lies_where_what_it_is_would_lie(file, weights, path):
    found = load(f"networks.mine.file={file} networks.child.from=mine networks.grandchild.from=child")
    mine = found.network("mine")
    assert (mine.weights, mine.path) == (weights, path and Path(path))
    assert found.origin("grandchild") == mine and found.origin("prune50").name == "baseline"
    assert "mine" in found.models and "mine" not in found.fine_tuned


def test_repeats_are_scored_in_full_where_a_report_wants_it():
    found = load("reports.f.networks=[dense,prune50] reports.f.seeds=2 reports.f.mos=true")
    names = ("dense", "dense-2", "dense-3", "prune75-2")
    assert [found.scored_in_full(name) for name in names] == [True, True, False, False]
    assert [load().scored_in_full(name) for name in names] == [True, False, False, False]


@pytest.mark.parametrize("names", ["dense,prune50", "baseline,prune50"])
def test_frontier_without_what_it_is_drawn_against_is_told_where_it_is_asked_for(names):
    found = load(f"reports.f.networks=[{names}] reports.f.figures=[frontier]")
    with pytest.raises(SpandexError, match=r"reports\.f\.networks: frontier needs baseline and a dense"):
        found.compared("f")


def test_published_networks_are_rows_of_the_profiles_whose_clips_are_real():
    for profile in ("mini", "dns4"):
        found = params.load(FILE, {"profile": profile}, check)
        assert found.models[-2:] == ["spandex50", "spandex75"]
        beside = [counterpart(found.network(name)) for name in ("prune50", "spandex50", "spandex75")]
        assert beside == [("50% Spars",), ("50% Spars",), ("75% Spars",)]


@pytest.mark.parametrize(
    "entries",
    [
        "{mine: {from: baseline, 1: {}}}",
        "{1: {}}",
        "[mine]",
        "{mine: [from]}",
        "{mine: {from: {}}}",
        "{mine: {file: 3}}",
    ],
)
def test_entries_of_another_form_are_one_error(tmp_path, entries):
    file = tmp_path / "params.yaml"
    file.write_text(FILE.read_text().replace("    networks: {}", f"    networks: {entries}", 1))
    with pytest.raises(ParamsError, match=r"params\.yaml: .*networks"):
        params.load(file, None, check)


def test_unknown_network_and_report_are_named_where_they_are_asked_for():
    with pytest.raises(SpandexError, match="there is no network prune42; prune25"):
        load().network("prune42")
    with pytest.raises(SpandexError, match="no report knie; there are schedules, knee, denoiser"):
        load().compared("knie")


def test_parameters_are_read_without_torch_or_lava():
    program = (
        "import sys; from spandex import params; from spandex.sparsify.methods import check; "
        f"params.load({str(FILE)!r}, None, check); "
        "sys.exit(any(name.split('.')[0] in ('torch', 'lava') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_every_method_makes_its_sparsifier_from_defaults_and_a_target():
    for name in names():
        target = {} if name == "events" else {"target": 0.5}
        settings = check(name, load().sparsify.defaults[name] | target)
        found = sparsifier(SDNN(hidden=8), {name: settings}, 10, seed=1)
        assert found is not None and not isinstance(found, Together)


def test_methods_in_one_entry_work_together():
    network = load().network("events75")
    found = sparsifier(SDNN(hidden=8), network.methods, 10, seed=1)
    assert [type(part).__name__ for part in found.sparsifiers] == ["EventPenalty", "Pruner"]


class TestZerosOfTheStart:
    @pytest.fixture
    def pruned(self) -> SDNN:
        """A network whose first layer is at 80 % and the others at 20 %."""
        torch.manual_seed(1)
        network = SDNN(hidden=8)
        with torch.no_grad():
            for number, block in enumerate(network.blocks[1:]):
                weight = block.synapse.weight
                weight[weight.abs() < weight.abs().quantile(0.8 if number == 0 else 0.2)] = 0
        return network

    @staticmethod
    def trained(network: SDNN, found) -> dict[str, torch.Tensor]:
        """Zeros by layer after some steps of an optimiser with momentum and weight decay."""
        optimizer = torch.optim.RAdam(network.parameters(), lr=0.1, weight_decay=0.01)
        for _ in range(12):
            optimizer.zero_grad()
            network(torch.rand(2, 257, 4)).square().mean().backward()
            optimizer.step()
            if found is not None:
                found.step()
        return {name: weight == 0 for name, weight in network.named_parameters() if name.endswith("synapse.weight")}

    @pytest.mark.parametrize("name", ["plain", "magnitude", "layer", "events", "noise", "saliency"])
    def test_stay_zero_whatever_is_done_next(self, pruned, name):
        before = {key: value == 0 for key, value in pruned.state_dict().items() if key.endswith("synapse.weight")}
        settings = {
            "plain": {},
            "magnitude": load().network("prune75").methods,
            "layer": {"magnitude": load().network("prune75").methods["magnitude"] | {"scope": "layer", "target": 0.85}},
            "events": {"events": {"psi": "l1", "weight": 0.1}},
            "noise": {"noise": {"target": 0.9, "gain_limit": 4}},
            "saliency": {"saliency": {"target": 0.9, "exponent": 1, "neurons": True, "frequency": 1}},
        }[name]
        found = sparsifier(pruned, settings, 10, seed=1, keep_zeros=True)
        after = self.trained(pruned, found)
        assert all((after[key] | ~zeros).all() for key, zeros in before.items())

    def test_grow_back_without_that(self, pruned):
        self.trained(pruned, None)
        assert sparsity(pruned).total < 0.1

    def test_method_that_cannot_keep_them_refuses(self, pruned):
        with pytest.raises(SpandexError, match="masks cannot keep the zeros"):
            sparsifier(pruned, load().training("masks75")["methods"], 10, seed=1, keep_zeros=True)

    def test_network_without_zeros_needs_no_keeping(self):
        assert sparsifier(SDNN(hidden=8), {}, 10, seed=1, keep_zeros=True) is None

    def test_are_continued_with_a_run(self, pruned):
        first, other = KeptZeros(pruned), KeptZeros(copy.deepcopy(pruned))
        first.step()
        other.load_state_dict(first.state_dict())
        assert other.iteration == 1
        assert all(torch.equal(first.masks[name], other.masks[name]) for name in first.masks)
        with pytest.raises(SpandexError, match="do not fit a network"):
            KeptZeros(SDNN(hidden=4)).load_state_dict(first.state_dict())
