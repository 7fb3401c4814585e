import copy
import dataclasses
import datetime
import os
import random
import signal

import numpy as np
import pytest
import torch
from lava.lib.dl.slayer.block import sigma_delta

from spandex.errors import SpandexError, Stopped
from spandex.kernels import accelerate
from spandex.metrics import si_snr
from spandex.networks import denoise
from spandex.sparsify import GradualMagnitude, sparsity
from spandex.steps.fitting import fit_accelerated
from spandex.train import Distillation, TrainingError, choose_device, fit, progress
from training import (
    SETTINGS,
    VALIDATION,
    Broken,
    Clip,
    Interrupting,
    Restless,
    Tones,
    clip,
    network,
    products,
    rows,
    train,
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    model, result = train(directory)
    return directory, model, result


def test_training_raises_si_snr(tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=4, lr=3e-3)
    _, result = train(tmp_path, Tones(batches=25), settings, target=None)
    noisy = np.mean([si_snr(c.noisy, c.clean) for c in VALIDATION])
    scores = [row["train_si_snr_db"] for row in result.epochs]
    assert scores == sorted(scores)
    assert result.validation_si_snr_db > noisy + 1.0


def test_logs_say_how_training_went(uninterrupted):
    directory, _, result = uninterrupted
    assert (directory / "log.csv").read_text().splitlines()[0] == "iteration,epoch,loss,si_snr_db,sparsity,lr"
    log = rows(directory / "log.csv")
    assert [row["iteration"] for row in log] == list(range(4, 31, 4))
    assert [row["epoch"] for row in log] == [1, 1, 2, 2, 2, 3, 3]
    epochs = rows(directory / "epochs.csv")
    assert list(epochs[0]) == [
        "iteration", "epoch", "train_loss", "train_si_snr_db", "validation_si_snr_db", "sparsity", "lr",
    ]  # fmt: skip
    assert [(row["epoch"], row["iteration"]) for row in epochs] == [(0, 0), (1, 10), (2, 20), (3, 30)]
    assert [row["validation_si_snr_db"] for row in epochs[1:]] == pytest.approx(
        [row["validation_si_snr_db"] for row in result.epochs], rel=1e-5
    )
    assert len(rows(directory / "times.csv")) == 3


def test_logs_begin_with_the_score_of_the_start(uninterrupted):
    directory, _, result = uninterrupted
    start, model = rows(directory / "epochs.csv")[0], network().eval()
    scores = [si_snr(denoise(model, torch.from_numpy(c.noisy)[None])[0], torch.from_numpy(c.clean)) for c in VALIDATION]
    assert start["validation_si_snr_db"] == pytest.approx(float(np.mean(scores)), rel=1e-5)
    assert np.isnan(start["train_loss"]) and start["sparsity"] == 0 and len(result.epochs) == 3


def test_scoring_the_start_changes_no_weight(tmp_path, monkeypatch):
    train(tmp_path / "scored", kind=Restless)
    monkeypatch.setattr("spandex.train.loop._Run.score_start", lambda run: None)
    train(tmp_path / "not", kind=Restless)
    scored, others = products(tmp_path / "scored"), products(tmp_path / "not")
    assert scored["network.pt"] == others["network.pt"] and scored["log.csv"] == others["log.csv"]
    assert scored["epochs.csv"] != others["epochs.csv"]


def test_sparsity_reaches_its_target_and_is_logged(uninterrupted):
    directory, model, result = uninterrupted
    weights = sum(w.numel() for name, w in model.state_dict().items() if name.endswith("synapse.weight"))
    assert sparsity(model).total == result.sparsity == round(0.5 * weights) / weights
    assert [row["sparsity"] for row in rows(directory / "epochs.csv")[2:]] == pytest.approx([0.5, 0.5], abs=1e-4)
    logged = [row["sparsity"] for row in rows(directory / "log.csv")]
    assert logged == sorted(logged) and logged[0] < 0.5


def test_the_best_weights_are_kept_and_only_at_the_final_sparsity(uninterrupted, tmp_path):
    _, model, result = uninterrupted
    scores = [row["validation_si_snr_db"] for row in result.epochs]
    assert result.epoch == 2 + int(np.argmax(scores[1:]))
    measured = np.mean(
        [
            si_snr(denoise(model, torch.from_numpy(c.noisy)[None])[0], torch.from_numpy(c.clean)).item()
            for c in VALIDATION
        ]
    )
    assert measured == pytest.approx(result.validation_si_snr_db, abs=1e-4)

    class Misleading(Tones):
        """From the second epoch on, asks for the noise."""

        def epoch(self, epoch, start_batch=0):
            for noisy, clean, names in super().epoch(epoch, start_batch):
                yield noisy, noisy - clean if epoch > 0 else clean, names

    settings = dataclasses.replace(SETTINGS, lr=1e-2)
    assert train(tmp_path / "dense", Misleading(), settings, target=None)[1].epoch == 1
    assert train(tmp_path / "pruned", Misleading(), settings)[1].epoch > 1


def test_the_learning_rate_drops_with_and_without_pruning(tmp_path):
    settings = dataclasses.replace(SETTINGS, lr_factor=0.7, lr_drop_epoch=2)
    for target in (0.5, None):
        directory = tmp_path / str(target)
        train(directory, settings=settings, target=target)
        assert [row["lr"] for row in rows(directory / "epochs.csv")] == pytest.approx([1e-3, 1e-3, 1e-3, 7e-4])


def test_the_learning_rate_falls_along_half_a_cosine_to_the_last_epoch(tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=5, lr_factor=0.1, lr_drop_epoch=1, lr_schedule="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=1e-4)
    for epoch in range(5):
        assert settings.learning_rate(epoch) == pytest.approx(reference.get_last_lr()[0])
        optimizer.step()
        reference.step()
    with pytest.raises(SpandexError, match="lr_schedule: 'sine' is neither drop nor cosine"):
        dataclasses.replace(settings, lr_schedule="sine")


def test_two_runs_give_the_same_bytes(uninterrupted, tmp_path):
    train(tmp_path)
    assert products(tmp_path) == products(uninterrupted[0])


def test_the_dense_control_leaves_the_weights_dense(tmp_path):
    model, result = train(tmp_path, target=None)
    assert result.sparsity == sparsity(model).total == 0


def test_on_epoch_receives_the_rows_of_epochs_csv(tmp_path):
    received = []
    _, result = train(tmp_path, on_epoch=received.append)
    assert received == result.epochs
    assert [list(row) for row in received] == 3 * [(tmp_path / "epochs.csv").read_text().splitlines()[0].split(",")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_the_batch_and_the_run_continues(uninterrupted, tmp_path, number):
    before = signal.getsignal(number)

    def stop(batch):
        if batch == 13:
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match=f"{number.name}: stopped after iteration 14"):
        train(tmp_path, Tones(on_batch=stop), settings=dataclasses.replace(SETTINGS, checkpoint_minutes=60))
    assert signal.getsignal(number) == before
    for name in ("log.csv", "epochs.csv", "times.csv"):  # as a workflow does with the outputs of a job that failed
        (tmp_path / name).unlink()
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append)
    assert seen == list(range(14, 30))
    assert lines[0] == "continuing after iteration 14"
    assert products(tmp_path) == products(uninterrupted[0])


def test_a_stop_during_validation_does_not_train_the_epoch_again(uninterrupted, tmp_path):
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
    with pytest.raises(Stopped, match="after iteration 10"):
        fit(model, Tones(), Interrupting(VALIDATION, 2), SETTINGS, tmp_path, pruner=pruner, log=lambda line: None)
    seen = []
    train(tmp_path, Tones(on_batch=seen.append))
    assert seen == list(range(10, 30))
    assert products(tmp_path) == products(uninterrupted[0])


def test_a_finished_run_returns_its_result_again(uninterrupted):
    directory, _, result = uninterrupted
    before = products(directory)
    seen = []
    _, again = train(directory, Tones(on_batch=seen.append))
    assert seen == []
    assert again == result
    assert products(directory) == before


def test_a_torn_checkpoint_costs_only_the_way_back_to_the_one_before(uninterrupted, tmp_path):
    def fail(batch):
        if batch == 17:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        train(tmp_path, Tones(on_batch=fail))
    newest = tmp_path / "checkpoints" / "checkpoint.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append)
    assert lines[0] == f"warning: {newest}: torn checkpoint; not used"
    assert lines[1] == "continuing after iteration 16"
    assert seen[0] == 16
    assert products(tmp_path) == products(uninterrupted[0])


@pytest.mark.parametrize(
    "change",
    [
        {"identity": "other data"},
        {"settings": dataclasses.replace(SETTINGS, lr=2e-3)},
        {"target": 0.6},
        {"distillation": Distillation(network(), 50.0)},
    ],
    ids=["data", "settings", "pruning", "teacher"],
)
def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path, change):
    def stop(batch):
        if batch == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tmp_path, Tones(on_batch=stop))
    seen, lines = [], []
    train(tmp_path, Tones(on_batch=seen.append), log=lines.append, **change)
    assert seen[0] == 0
    assert "belongs to other settings or data" in lines[0]


def test_the_time_between_checkpoints_may_change(tmp_path):
    def stop(batch):
        if batch == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tmp_path, Tones(on_batch=stop))
    seen = []
    train(tmp_path, Tones(on_batch=seen.append), dataclasses.replace(SETTINGS, checkpoint_minutes=5))
    assert seen[0] == 6


def test_a_loss_that_is_not_finite_stops_and_names_the_clips(tmp_path):
    with pytest.raises(TrainingError, match=r"loss is nan at iteration 8, .*tone_28, tone_29, tone_30, tone_31: "):
        train(tmp_path, Broken())
    assert [row["iteration"] for row in rows(tmp_path / "log.csv")] == [4]


def test_a_batch_that_is_not_finite_is_skipped_and_named_under_a_limit(tmp_path):
    lines, seen = [], []
    settings = dataclasses.replace(SETTINGS, skip_nonfinite=1)

    def stop(batch):
        seen.append(batch)
        if batch == 12 and seen.count(12) == 1 and len(seen) == 13:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        train(tmp_path, Broken(on_batch=stop), settings, kind=Restless, log=lines.append)
    model, result = train(tmp_path, Broken(on_batch=stop), settings, kind=Restless, log=lines.append)
    assert lines[0] == (
        "warning: the loss is nan at iteration 8, with the clips tone_28, tone_29, tone_30, tone_31: "
        "batch skipped (1 of at most 1)"
    )
    assert len([line for line in lines if "skipped" in line]) == 1
    assert seen == list(range(30))
    assert (result.skipped, result.iterations) == (1, 30)
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
    assert np.isfinite([list(row.values()) for row in rows(tmp_path / "log.csv")]).all()
    assert result.sparsity == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("distillation", [None, Distillation(network(), 50.0)], ids=["alone", "teacher"])
def test_a_skipped_batch_changes_nothing_but_the_masks(tmp_path, distillation):
    """A run without that batch, its pruner stepped in the batch's place, ends in the same weights."""
    settings = dataclasses.replace(SETTINGS, epochs=1, skip_nonfinite=3, lr_drop_epoch=None)
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=8, frequency=1)
    seen = []

    def record(gradient):
        seen.append(gradient.clone())

    model.blocks[3].synapse.weight.register_hook(record)
    options = {"distillation": distillation, "log": lambda line: None}
    fit(model, Broken(), VALIDATION, settings, tmp_path, pruner=pruner, **options)
    assert len(seen) == 9  # no backward pass of the eighth
    assert pruner.iteration == 10 and pruner.done
    reference = network()
    other = GradualMagnitude(reference, 0.5, steps=8, frequency=1)

    class Without(Tones):
        def epoch(self, epoch, start_batch=0):
            for batch in super().epoch(epoch, start_batch):
                if "tone_30" in batch[2]:
                    other.step()
                    continue
                yield batch

        def __len__(self):
            return 9

        def __init__(self):
            super().__init__(batches=10)

    fit(reference, Without(), VALIDATION, settings, tmp_path / "w", pruner=other, **options)
    for name, tensor in reference.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_one_batch_more_than_the_limit_stops(tmp_path):
    class Often(Tones):
        def epoch(self, epoch, start_batch=0):
            for number, (noisy, clean, names) in enumerate(super().epoch(epoch, start_batch), start_batch):
                noisy[0, 0] = np.inf if number in (2, 5) else noisy[0, 0]
                yield noisy, clean, names

    with pytest.raises(TrainingError, match=r"at iteration 6, .*tone_23 \(1 batches were skipped before\): check"):
        train(tmp_path, Often(), dataclasses.replace(SETTINGS, skip_nonfinite=1))
    seen = []
    settings = dataclasses.replace(SETTINGS, skip_nonfinite=10)  # a higher limit goes on from there
    assert train(tmp_path, Often(on_batch=seen.append), settings)[1].skipped == 6
    assert seen[0] == 5


def test_a_run_whose_every_validation_fails_says_so(tmp_path):
    broken = [Clip(np.full_like(c.noisy, np.nan), c.clean) for c in VALIDATION]
    with pytest.raises(TrainingError, match="no epoch ended with a finite validation SI-SNR"):
        fit(network(), Tones(), broken, SETTINGS, tmp_path, log=lambda line: None)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_are_lost(tmp_path):
    model = network()
    model.blocks[3].synapse.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = model.blocks[1].synapse.weight.clone()
    with pytest.raises(TrainingError, match=r"norm of its gradient is (nan|inf) at iteration 1, .*tone_0, "):
        fit(model, Tones(), VALIDATION, SETTINGS, tmp_path, log=lambda line: None)
    assert torch.equal(model.blocks[1].synapse.weight, before)


def test_segments_and_clips_without_speech_are_left_out_of_si_snr(tmp_path):
    class Pauses(Tones):
        def epoch(self, epoch, start_batch=0):
            for noisy, clean, names in super().epoch(epoch, start_batch):
                clean[0] = 0
                yield noisy, clean, names

    silent = Clip(VALIDATION[0].noisy, np.zeros_like(VALIDATION[0].clean))
    results = [
        fit(network(), Pauses(), clips, SETTINGS, tmp_path / str(len(clips)), log=lambda line: None)
        for clips in (VALIDATION, [*VALIDATION, silent])
    ]
    assert np.isfinite([row["train_si_snr_db"] for row in results[0].epochs]).all()
    assert results[0].epochs == results[1].epochs


def test_validation_clips_shorter_than_a_frame_count(tmp_path):
    short, model = clip(9, 200), network()  # less than half a frame
    result = fit(model, Tones(), [short], SETTINGS, tmp_path, log=lambda line: None)
    followed = torch.from_numpy(np.pad(short.noisy, (0, 312)))
    measured = si_snr(denoise(model, followed[None])[0, :200], torch.from_numpy(short.clean)).item()
    assert measured == pytest.approx(result.validation_si_snr_db, abs=1e-4)


def test_only_the_first_validation_clips_are_used(tmp_path):
    settings = dataclasses.replace(SETTINGS, validation_limit=2)
    limited = train(tmp_path / "limited", settings=settings)[1]
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
    shorter = fit(model, Tones(), VALIDATION[:2], SETTINGS, tmp_path / "short", pruner=pruner, log=lambda line: None)
    assert limited.epochs == shorter.epochs


@pytest.mark.parametrize(
    "batches, clips, steps, message",
    [
        (Tones(batches=0), VALIDATION, 19, "no training batch"),
        (Tones(), [], 19, "no validation clip"),
        (Tones(), VALIDATION, 30, "pruning takes 31 iterations, training only 30"),
    ],
)
def test_a_run_that_cannot_succeed_is_refused_at_once(tmp_path, batches, clips, steps, message):
    model = network()
    pruner = GradualMagnitude(model, 0.5, steps=steps)
    with pytest.raises(SpandexError, match=message):
        fit(model, batches, clips, SETTINGS, tmp_path, pruner=pruner)


def test_global_state_is_as_before(tmp_path):
    def draw():
        return torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()

    threads = torch.get_num_threads()
    model = network()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(11)
    expected = draw()
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(11)
    fit(model, Tones(batches=1), VALIDATION, dataclasses.replace(SETTINGS, epochs=1), tmp_path, log=lambda line: None)
    assert draw() == expected
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_network_with_random_numbers_and_running_means_continues_to_the_same_bytes(tmp_path):
    train(tmp_path / "whole", kind=Restless)

    def fail(batch):
        if batch == 17:
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        train(tmp_path / "parts", Tones(on_batch=fail), kind=Restless)
    train(tmp_path / "parts", kind=Restless)
    assert products(tmp_path / "parts") == products(tmp_path / "whole")


@pytest.mark.parametrize("kernels", [accelerate, lambda network: network])
def test_outputs_far_beyond_the_limit_come_back_while_training(tmp_path, kernels):
    def largest_output(limit):
        model = kernels(network())
        with torch.no_grad():
            model.blocks[-1].synapse.weight *= 40  # masks far below zero, of which the loss says nothing
        settings = dataclasses.replace(SETTINGS, epochs=3, lr=3e-3, mask_limit=limit)
        fit(model, Tones(batches=20), VALIDATION, settings, tmp_path / f"{limit}", log=lambda line: None)
        outputs = []
        with torch.no_grad(), model.blocks[-1].register_forward_hook(lambda *passed: outputs.append(passed[-1])):
            denoise(model, torch.from_numpy(VALIDATION[0].noisy)[None])
        return outputs[0].abs().max().item()

    assert largest_output(limit=2.0) < 0.5 * largest_output(limit=None)


@pytest.mark.parametrize("weight", [None, 50.0], ids=["alone", "teacher"])
def test_fused_kernels_continue_to_the_same_bytes(tmp_path, monkeypatch, weight):
    start = network()

    def run(directory, on_batch=lambda number: None):
        model = copy.deepcopy(start)
        distillation = weight and Distillation(model, weight)
        pruner = GradualMagnitude(model, 0.5, steps=19, frequency=5)
        batches, options = Tones(on_batch=on_batch), {"pruner": pruner, "distillation": distillation}
        fit_accelerated(model, batches, VALIDATION, SETTINGS, directory, directory / "checkpoints", "", **options)
        return model.state_dict()

    def stock(*passed):
        raise AssertionError("lava-dl's own forward ran")

    def fail(batch):
        if batch == 17:
            raise OSError("disk gone")

    for block in (sigma_delta.Input, sigma_delta.Dense, sigma_delta.Output):
        monkeypatch.setattr(block, "forward", stock)
    whole = run(tmp_path / "whole")
    with pytest.raises(OSError, match="disk gone"):
        run(tmp_path / "parts", fail)
    parts = run(tmp_path / "parts")
    assert all(torch.equal(parts[name], tensor) for name, tensor in whole.items())


def test_the_device_is_the_gpu_only_where_there_is_one(monkeypatch):
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(SpandexError, match="device: 'tpu' is not one of auto, cpu, cuda"):
        choose_device("tpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    with pytest.raises(SpandexError, match="device: cuda was asked for, but torch sees no GPU"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device() == choose_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(SpandexError, match="process 2 of this machine has no GPU of its own, torch sees 2"):
        choose_device()


def test_time_that_is_left_is_told_once_by_the_pace_of_settled_batches(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    def pass_by(number):
        clock[0] += 100.0 if number < 5 else 2.0  # compiling, then at pace

    lines = []
    train(tmp_path, Tones(20, on_batch=pass_by), log=lines.append)
    told = [line for line in lines if "left" in line]
    # 26 of 60 batches are over, the last of an epoch is not timed; the clock stands still while validation runs
    assert told == ["about 0:01:08 left for 34 batches and 2 validations"]


def test_validation_counts_as_no_batch_where_epochs_are_short(monkeypatch):
    clock, told = [0.0], {}
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    forecast = progress.Forecast(validation_s=60.0)
    for epochs in range(20, 0, -1):
        for batch in range(8):
            if line := forecast.begin_batch(8 * epochs - batch, epochs):
                told[clock[0]] = line
            clock[0] += 1.0
        clock[0] += 60.0
    (then,) = told
    left = datetime.timedelta(seconds=round(clock[0] - then))
    assert told[then] == f"about {left} left for 132 batches and 17 validations"
