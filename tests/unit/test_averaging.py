"""Running means of the weights, and training that keeps them."""

import dataclasses
import os
import signal

import pytest
import torch

from spandex.errors import SpandexError, Stopped
from spandex.networks import load_state
from spandex.sparsify import GradualMagnitude, sparsity
from spandex.sparsify.methods import check, sparsifier
from spandex.train import fit
from spandex.train.averaging import RunningMean
from training import SETTINGS, VALIDATION, Interrupting, Tones, by_weights, network, products, rows, train

AVERAGED = dataclasses.replace(SETTINGS, average=0.9)


def test_mean_follows_its_recursion_and_is_zero_where_the_weight_is():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    mean = RunningMean([weight], 0.5)
    with torch.no_grad():
        for step, value in enumerate((3.0, 5.0, 4.0, 8.0)):
            weight.copy_(torch.tensor([value, 2.0 if step < 3 else 0.0]))
            mean.update()
    expected = 1.0
    for step, value in enumerate((3.0, 5.0, 4.0, 8.0), start=1):
        share = min(0.5, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * value
    with mean.in_place():
        assert weight.tolist() == pytest.approx([expected, 0.0])
    assert weight.tolist() == [8.0, 0.0]


def test_what_is_pruned_while_the_mean_is_in_place_is_pruned_in_both():
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    mean = RunningMean([weight], 0.5)
    with mean.in_place(), torch.no_grad():
        weight[0] = 0.0
    assert weight.tolist() == [0.0, 2.0]
    with mean.in_place():
        assert weight.tolist() == [0.0, 2.0]


def test_kept_network_is_the_mean_over_the_iterations(tmp_path):
    seen = []

    class Watched(Tones):
        """Notes the weights that every batch meets."""

        def epoch(self, epoch, start_batch=0):
            for batch in super().epoch(epoch, start_batch):
                seen.append([parameter.detach().clone() for parameter in model.parameters()])
                yield batch

    model = network()
    settings = dataclasses.replace(AVERAGED, epochs=1)
    fit(model, Watched(), VALIDATION, settings, tmp_path / "averaged", log=lambda line: None)
    plain = network()
    fit(plain, Tones(), VALIDATION, dataclasses.replace(SETTINGS, epochs=1), tmp_path / "plain", log=lambda line: None)
    expected = seen[0]
    for step, weights in enumerate([*seen[1:], list(plain.parameters())], start=1):
        share = min(0.9, (1 + step) / (10 + step))
        expected = [share * mean + (1 - share) * weight for mean, weight in zip(expected, weights, strict=True)]
    for mean, kept in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(kept, mean)


def test_mean_has_the_sparsity_that_was_asked_for(tmp_path):
    model, result = train(tmp_path, settings=AVERAGED)
    assert sparsity(model).total == result.sparsity == pytest.approx(0.5, abs=1e-4)
    assert [row["sparsity"] for row in rows(tmp_path / "epochs.csv")[2:]] == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize("reads", [3, 6, 8])  # of the validation clips, after the start's: in each of the three epochs
def test_training_goes_on_with_the_weights_wherever_it_was_stopped(tmp_path, reads):
    train(tmp_path / "whole", settings=AVERAGED)
    stopped = tmp_path / "stopped"
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
    with pytest.raises(Stopped):
        clips = Interrupting(VALIDATION, reads)
        fit(model, Tones(), clips, AVERAGED, stopped, pruner=pruner, log=lambda line: None)
    train(stopped, settings=AVERAGED)
    assert products(stopped) == products(tmp_path / "whole")


@pytest.mark.parametrize("method", ["magnitude", "masks"])
def test_budget_is_that_of_the_mean_wherever_training_was_stopped(tmp_path, method):
    settings = {
        "magnitude": {"schedule": "cubic", "scope": "global", "frequency": 5},
        "masks": {"weight": 5.0, "beta": [200, 400]},
    }

    def run(folder, batches):
        model = network()
        methods = {method: check(method, settings[method] | {"power_mops": 6.0})}
        budget = sparsifier(model, methods, 20, seed=1, power=by_weights)
        fit(model, batches, VALIDATION, AVERAGED, folder, pruner=budget, log=lambda line: None)
        budget.remove()
        return model

    def stop(batch):
        if batch == 24:
            os.kill(os.getpid(), signal.SIGTERM)

    whole = run(tmp_path / "whole", Tones())
    assert 0.98 * 6.0 <= by_weights(whole) <= 6.0
    with pytest.raises(Stopped):
        run(tmp_path / "stopped", Tones(on_batch=stop))
    again = run(tmp_path / "stopped", Tones())
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True))


def test_finished_run_holds_the_mean_again(tmp_path):
    train(tmp_path, settings=AVERAGED)
    model, _ = train(tmp_path, settings=AVERAGED)
    saved = network()
    load_state(saved, tmp_path / "network.pt")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), saved.parameters(), strict=True))


def test_decay_outside_0_to_1_is_refused():
    with pytest.raises(SpandexError, match="average: 1 is not between 0 and 1"):
        dataclasses.replace(SETTINGS, average=1.0)
