import pytest

from spandex.errors import SpandexError
from spandex.sparsify import Cubic


def test_cubic_starts_and_ends_where_it_is_told():
    schedule = Cubic(initial=0.1, final=0.75, steps=1000)
    assert schedule(0) == pytest.approx(0.1, abs=1e-15)
    assert schedule(1000) == 0.75


def test_cubic_stays_at_the_final_sparsity_afterwards():
    assert {Cubic(0.0, 0.5, 10)(step) for step in (10, 11, 10**6)} == {0.5}


def test_cubic_follows_the_equation():
    schedule = Cubic(0.0, 0.8, 4)
    # s_f (1 - (3/4)^3), s_f (1 - (1/2)^3), s_f (1 - (1/4)^3)
    assert [schedule(t) for t in (1, 2, 3)] == pytest.approx([0.8 * 37 / 64, 0.8 * 7 / 8, 0.8 * 63 / 64], abs=1e-15)


def test_cubic_never_shrinks():
    schedule = Cubic(0.05, 0.9, 97)
    values = [schedule(t) for t in range(120)]
    assert values == sorted(values)


@pytest.mark.parametrize("initial, final", [(-0.1, 0.5), (0.6, 0.5), (0.0, 1.0)])
def test_impossible_sparsities_are_named(initial, final):
    with pytest.raises(SpandexError, match=f"{initial:g} to {final:g}"):
        Cubic(initial, final, 10)


def test_no_steps_are_refused():
    with pytest.raises(SpandexError, match="0 iterations"):
        Cubic(0.0, 0.5, 0)
