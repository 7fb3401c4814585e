import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spandex.errors import SpandexError
from spandex.sparsify import SCHEDULES, Cubic, Iterative, Linear, OneShot, make_schedule

sparsities = st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)).map(sorted)
steps = st.integers(10, 10**5)
frequencies = st.integers(1, 50)
rounds = st.integers(2, 10)
any_schedule = st.builds(
    lambda name, ends, *, steps, **own: replace(make_schedule(name, ends[1], steps, **own), initial=ends[0]),
    st.sampled_from(sorted(SCHEDULES)),
    sparsities,
    steps=steps,
    frequency=frequencies,
    rounds=rounds,
)


@given(any_schedule, st.data())
def test_sparsity_never_shrinks_and_is_the_target_from_the_last_step_on(schedule, data):
    earlier = data.draw(st.integers(0, 2 * schedule.steps))
    later = data.draw(st.integers(earlier, 3 * schedule.steps))
    # A power and its inverse may lose the last bits.
    assert schedule.initial - 1e-12 <= schedule(earlier) <= schedule(later) <= schedule.target + 1e-12
    assert schedule(schedule.steps) == schedule(schedule.steps + 1 + later) == schedule.target


@given(sparsities, steps, frequencies, st.data())
def test_gradual_schedules_follow_their_equations_at_multiples_of_the_frequency(ends, steps, frequency, data):
    start, end = ends
    step = data.draw(st.integers(0, steps - 1))
    pruned_at = frequency * (step // frequency)
    for kind, power in ((Cubic, 3), (Linear, 1)):
        expected = end + (start - end) * math.pow(1 - pruned_at / steps, power)
        assert kind(end, steps, frequency, initial=start)(step) == pytest.approx(expected, abs=1e-12)


def test_cubic_has_the_values_of_the_equation():
    # s_f (1 - (3/4)^3), s_f (1 - (1/2)^3), s_f (1 - (1/4)^3)
    schedule = Cubic(0.8, steps=4, frequency=1)
    assert [schedule(t) for t in (1, 2, 3)] == pytest.approx([0.8 * 37 / 64, 0.8 * 7 / 8, 0.8 * 63 / 64], abs=1e-15)


def spandex_targets(epochs, iterations, start, end):
    """The target in force at every iteration, as train_sdnn_custom.py of SPANDEX computes it."""
    last, targets = epochs * iterations - 1, []
    for epoch in range(epochs):
        for i in range(iterations):
            if i % 30 == 0:
                target = start + (end - start) * (1 - (1 - (epoch * iterations + i) / last) ** 3)
            targets.append(target)
    return targets


@pytest.mark.parametrize(("iterations", "missed"), [(938, 0.02), (100, 33), (30, 42_369)])
def test_spandex_misses_its_target_by_more_in_shorter_epochs_and_cubic_in_none(iterations, missed):
    weights, start, end = 525_312, 0.0708, 0.75  # of the baseline, below 1e-5 in magnitude
    theirs = spandex_targets(2, iterations, start, end)
    assert (end - theirs[-1]) * weights == pytest.approx(missed, rel=0.1 if missed < 1 else 1e-3)
    cubic = Cubic(end, 2 * iterations - 1, initial=start)
    assert cubic(2 * iterations - 1) == end
    assert [cubic(t) for t in range(iterations)] == pytest.approx(theirs[:iterations])  # the first epoch is the same


@given(sparsities, st.integers(0, 1000))
def test_one_shot_jumps_once(ends, steps):
    schedule = OneShot(ends[1], steps, initial=ends[0])
    assert [schedule(t) for t in range(steps + 3)] == [ends[0]] * steps + [ends[1]] * 3


@given(sparsities, rounds, st.integers(10, 300))
def test_every_round_removes_the_same_share_of_what_is_left(ends, rounds, steps):
    start, end = ends
    schedule = Iterative(end, steps, rounds, initial=start)
    values = [schedule(t) for t in range(steps + 1)]
    when = [t for t in range(steps + 1) if t == 0 or values[t] != values[t - 1]]
    if start < end - 1e-6:
        # Rounds are spread evenly, the first at 0 and the last at the end.
        assert when == [math.ceil(j * steps / (rounds - 1)) for j in range(rounds)]
    share = 1 - ((1 - end) / (1 - start)) ** (1 / rounds)
    left = 1 - start
    for j in range(rounds):
        left *= 1 - share
        assert 1 - values[math.ceil(j * steps / (rounds - 1))] == pytest.approx(left, abs=1e-9)


def test_rounds_of_a_half_halve_what_is_left():
    schedule = Iterative(0.875, steps=100, rounds=3)
    assert [schedule(t) for t in (0, 49, 50, 99, 100)] == pytest.approx([0.5, 0.5, 0.75, 0.75, 0.875])


@pytest.mark.parametrize("initial, target", [(-0.1, 0.5), (0.6, 0.5), (0.0, 1.0), (0.0, math.nan)])
@pytest.mark.parametrize("kind", SCHEDULES.values(), ids=SCHEDULES)
def test_impossible_sparsities_are_named(kind, initial, target):
    with pytest.raises(SpandexError, match=f"{initial:g} to {target:g}"):
        kind(target, 10, initial=initial)


@pytest.mark.parametrize("name, fewest", [("cubic", 1), ("linear", 1), ("one-shot", 0), ("iterative", 3)])
def test_too_few_steps_are_refused(name, fewest):
    assert make_schedule(name, 0.5, fewest, rounds=4)(fewest) == 0.5
    with pytest.raises(SpandexError, match=f"{fewest - 1} iterations: it takes at least {fewest}"):
        make_schedule(name, 0.5, fewest - 1, rounds=4)


def test_no_iteration_between_pruning_steps_is_refused():
    with pytest.raises(SpandexError, match="every 0 iterations"):
        Cubic(0.5, 10, frequency=0)


def test_one_round_is_refused():
    with pytest.raises(SpandexError, match="1 rounds"):
        Iterative(0.5, 10, rounds=1)


def test_a_schedule_is_made_by_name_with_what_it_knows():
    numbers = {"frequency": 7, "rounds": 4}
    assert make_schedule("cubic", 0.5, 100, **numbers) == Cubic(0.5, 100, frequency=7)
    assert make_schedule("linear", 0.5, 100, **numbers) == Linear(0.5, 100, frequency=7)
    assert make_schedule("one-shot", 0.5, 0, **numbers) == OneShot(0.5, 0)
    assert make_schedule("iterative", 0.5, 100, **numbers) == Iterative(0.5, 100, rounds=4)


def test_an_unknown_schedule_is_named_with_those_there_are():
    with pytest.raises(SpandexError, match="'quartic': there are cubic, linear, one-shot, iterative"):
        make_schedule("quartic", 0.5, 100)
