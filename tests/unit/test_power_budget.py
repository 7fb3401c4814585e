"""Pruning until a network costs no more than a power budget."""

import dataclasses

import pytest
import torch
from tests.chains import complex_rf, recurrent_alif

import training
from evaluations import scores_of
from spandex.deploy.power import DeployedPower
from spandex.errors import SpandexError
from spandex.kernels import accelerate
from spandex.networks import SDNN, export_hdf5, magnitudes
from spandex.sparsify import OneShot, PowerBudget, Pruner, shrink, sparsity
from spandex.sparsify.budget import LEAST_SHARE, RESOLUTION
from spandex.sparsify.methods import check, sparsifier
from spandex.train import TrainingError, fit
from training import VALIDATION, Tones, by_weights

METHODS = {
    "magnitude": {"schedule": "cubic", "scope": "global", "frequency": 2},
    "iterative": {"schedule": "iterative", "scope": "layer", "rounds": 3},
    "one-shot": {"schedule": "one-shot", "scope": "global"},
    "saliency": {"exponent": 1, "neurons": True, "frequency": 2},
    "masks": {"weight": 5.0, "beta": [200, 400]},
    "noise": {"gain_limit": 4},
}
WEIGHTS = 2 * 257 * 16 + 16 * 16  # of training.network()


def make(network, method, budget, power=by_weights, steps=19):
    settings = METHODS[method] | {"power_mops": budget}
    name = method if method in ("saliency", "masks", "noise") else "magnitude"
    return sparsifier(network, {name: check(name, settings)}, steps + 1, seed=1, power=power)


def train(network, budget, epochs=3, batches=10, seen=lambda: None):
    """Epochs of SGD; ``seen`` is called after each step."""
    inputs = magnitudes(torch.from_numpy(training.clip(1, 16_000).noisy)[None], network.n_fft, network.hop)
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1, momentum=0.9)
    for _epoch in range(epochs):
        for _ in range(batches):
            optimizer.zero_grad()
            loss = network.train()(inputs).sub(0.3).square().mean()
            penalty = budget.penalty()
            (loss if penalty is None else loss + penalty).backward()
            optimizer.step()
            budget.step()
            seen()
        budget.end_epoch()
        seen()


@pytest.fixture
def network():
    torch.manual_seed(1)
    return SDNN(hidden=24, max_delay=4)


@pytest.fixture
def deployed():
    return DeployedPower([training.clip(1, 16_000)])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_meets_the_budget_and_nothing_returns(network, deployed, method):
    aim = 0.6 * deployed(network)
    budget = make(network, method, aim, deployed)
    pruned = {name: ~mask for name, mask in budget.method.masks.items()}

    def grows():
        for name, mask in budget.method.masks.items():
            assert not (pruned[name] & mask).any()
            pruned[name] = ~mask

    train(network, budget, seen=grows)
    assert budget.done and not budget.missed
    budget.remove()
    assert LEAST_SHARE * aim <= deployed(network) <= aim
    assert budget.power == deployed(network)


@pytest.mark.parametrize("method", METHODS)
def test_power_told_at_the_end_of_an_epoch_is_that_of_the_network_and_asking_again_changes_nothing(
    network, deployed, method
):
    budget = make(network, method, 0.6 * deployed(network), deployed)
    train(network, budget, epochs=3 if method == "masks" else 2)  # which are hard from then on
    told, masks = budget.power, {name: mask.clone() for name, mask in budget.method.masks.items()}
    budget.end_epoch()
    assert budget.power == told
    assert all(torch.equal(masks[name], mask) for name, mask in budget.method.masks.items())
    budget.remove()
    assert told == deployed(network)


@pytest.mark.parametrize("method", ["magnitude", "saliency", "masks"])
def test_least_sparsity_within_the_budget_is_found_by_measurement(method):
    network = training.network()
    budget = make(network, method, 4.0)
    budget.frequency = 100  # no estimate before
    train(network, budget)
    least = 1 - (4.0 - 1) / 9  # of the weights, in closed form
    assert least <= sparsity(network).total <= least + RESOLUTION + 1 / WEIGHTS
    assert budget.power == by_weights(network)


@pytest.mark.parametrize("method", ["magnitude", "saliency"])
def test_estimates_lead_near_the_budget_and_not_below_it(network, deployed, method):
    start = deployed(network)
    aim = 0.5 * start
    budget = make(network, method, aim, deployed, steps=20)
    found = []
    train(network, budget, epochs=1, batches=20, seen=lambda: found.append(deployed(network)))
    assert budget.power == found[-1] and not budget.done  # it is due at the next step
    assert found[0] == pytest.approx(start, rel=0.1)
    assert aim < found[-1] < aim + 0.4 * (start - aim)


def test_deployed_power_is_that_of_an_evaluation(tmp_path, network):
    with torch.no_grad():
        network.blocks[2].synapse.weight[:, 5:12] = 0  # nothing listens to these neurons
    export_hdf5(shrink(network), tmp_path / "small.net")
    clip = training.clip(1, 16_000)
    _, scores = scores_of(tmp_path / "small.net", clip.noisy, clip.clean, tmp_path)
    assert scores["neuronops_per_step"] == 257 + 17 + 24
    assert DeployedPower([clip])(network) == pytest.approx(scores["deployed_power_proxy_ops_per_s"] / 1e6, rel=1e-12)


def test_longer_clips_count_more(network):
    clips = [training.clip(1, 16_000), training.clip(2, 48_000)]
    both, *alone = (DeployedPower(chosen)(network) for chosen in (clips, clips[:1], clips[1:]))
    steps = [128, 378]  # the clip's, and three in which the last frame comes out
    assert both == pytest.approx(sum(power * n for power, n in zip(alone, steps, strict=True)) / sum(steps), rel=1e-3)


def test_the_first_clips_of_many_are_measured(network, monkeypatch):
    clips = [training.clip(seed, 16_000) for seed in range(3)]
    monkeypatch.setattr("spandex.deploy.power.MOST_CLIPS", 2)
    assert DeployedPower(clips)(network) == DeployedPower(clips[:2])(network) != DeployedPower(clips[1:])(network)


@pytest.mark.parametrize("budget", [10.0, 10.5, 0.32, 0.3])
def test_budget_that_asks_for_nothing_or_for_the_inputs_is_refused(budget):
    with pytest.raises(SpandexError, match=rf"power_mops {budget:g}: the network costs 10\.00 M-Ops/s on .* 0\.32;"):
        make(training.network(), "magnitude", budget)


@pytest.mark.parametrize("build", [recurrent_alif, complex_rf])
def test_network_whose_events_cannot_be_estimated_is_refused(build):
    with pytest.raises(SpandexError, match="a power budget takes no complex or recurrent layers"):
        PowerBudget(build(), lambda zeros: None, 2.0, 9, by_weights)


def test_budget_needs_clips():
    with pytest.raises(SpandexError, match="no clips to count events on"):
        DeployedPower([])


def test_state_of_another_method_is_refused():
    network = training.network()
    plain = Pruner(training.network(), OneShot(0.5, 0)).state_dict()
    with pytest.raises(SpandexError, match="not the state of a PowerBudget: it holds iteration, initial, masks"):
        make(network, "magnitude", 4.0).load_state_dict(plain)


def fitted(directory, method, budget, power, batches=None, **settings):
    network = training.network()
    pruner = make(network, method, budget, power)
    settings = dataclasses.replace(training.SETTINGS, **settings)
    result = fit(
        accelerate(network), batches or Tones(), VALIDATION, settings, directory, pruner=pruner, log=lambda line: None
    )
    pruner.remove()
    return network, result


@pytest.mark.parametrize("method", ["magnitude", "saliency", "masks", "noise"])
def test_killed_training_goes_on_to_the_same_bytes(tmp_path, method):
    class KilledError(Exception):
        pass

    def killed(at):
        def kill(number):
            if number == at:
                raise KilledError

        return Tones(on_batch=kill)

    power = DeployedPower(VALIDATION)
    budget = 0.8 * power(training.network())
    whole, _ = fitted(tmp_path / "whole", method, budget, power)
    assert LEAST_SHARE * budget <= power(whole) <= budget
    for at in (14, 25):  # before the budget is due, and after
        with pytest.raises(KilledError):
            fitted(tmp_path / "killed", method, budget, power, killed(at))
    continued, _ = fitted(tmp_path / "killed", method, budget, power)
    assert all(torch.equal(tensor, continued.state_dict()[key]) for key, tensor in whole.state_dict().items())


def test_missed_budget_is_told_with_both_values_and_keeps_the_checkpoint(tmp_path):
    def rises(network):
        """The network costs 10 at first, and more and more than any pruning saves."""
        rises.asked += 1
        return 9.0 + rises.asked

    rises.asked = 0
    with pytest.raises(TrainingError, match=r"the budget is 4 M-Ops/s, and the network costs \d+\.00"):
        fitted(tmp_path, "magnitude", 4.0, rises)
    assert list((tmp_path / "checkpoints").iterdir())


def test_network_recovers_from_masks_that_became_hard_before_the_budget_is_met(tmp_path, deployed):
    network, epochs = training.network(), []
    aim = 0.6 * deployed(network)
    pruner = make(network, "masks", aim, deployed)
    note = epochs.append
    result = fit(network, Tones(), VALIDATION, training.SETTINGS, tmp_path, pruner=pruner, log=print, on_epoch=note)
    assert epochs[1]["sparsity"] > 0.2  # they are hard, and keep more than the budget allows
    assert epochs[2]["sparsity"] > epochs[1]["sparsity"] and result.epoch == 3
    assert LEAST_SHARE * aim <= pruner.power <= aim


def test_training_that_ends_before_it_has_recovered_is_refused(tmp_path, deployed):
    network = training.network()
    pruner = make(network, "masks", 0.6 * deployed(network), deployed, steps=29)
    with pytest.raises(SpandexError, match="pruning takes 44 iterations, training only 30"):
        fit(network, Tones(), VALIDATION, training.SETTINGS, tmp_path, pruner=pruner)


def test_chosen_epoch_is_one_that_uses_the_budget(tmp_path):
    """Power that falls by itself later on leaves those epochs out."""
    epochs = [0]

    def falls(network):
        return by_weights(network) * (0.5 if epochs[-1] == 2 else 1.0)

    network = training.network()
    pruner = make(network, "magnitude", 4.0, falls, steps=9)
    batches = Tones(on_batch=lambda number: epochs.append(number // 10))
    result = fit(network, batches, VALIDATION, training.SETTINGS, tmp_path, pruner=pruner, log=lambda line: None)
    assert result.epoch in (1, 2) and pruner.power < LEAST_SHARE * 4.0
