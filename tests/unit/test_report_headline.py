"""The sentence that a build begins with, and what is said of clips and of losses."""

import pytest

from spandex.metrics.bootstrap import Interval
from spandex.report.clip_names import described
from spandex.report.headline import headline
from spandex.report.losses import loss_sentences

MINUS = "\N{MINUS SIGN}"


def build(**networks: tuple[float, float]):
    """Scores and changes of networks, from M-Ops/s and the change in dB of each."""
    scores = {name: {"deployed_power_proxy_ops_per_s": 1e6 * power} for name, (power, _) in networks.items()}
    changes = {name: {"si_snr_db": Interval(db, db - 0.01, db + 0.01)} for name, (_, db) in networks.items()}
    return scores | {"dense": {"deployed_power_proxy_ops_per_s": 10e6}}, "dense", changes, list(networks)


def test_cheapest_that_loses_little_leads_and_the_cheapest_of_all_follows():
    assert headline(*build(half=(6, -0.1), most=(5, -0.15), all=(2, -0.6))) == (
        f"most takes 5.00 M-Ops/s, 50 % of the 10.00 of dense, at a change in SI-SNR of {MINUS}0.15 dB "
        f"({MINUS}0.16 to {MINUS}0.14): the cheapest of those that lose at most 0.2 dB. "
        f"all takes 2.00 M-Ops/s, 20 % of the 10.00 of dense, at a change in SI-SNR of {MINUS}0.60 dB "
        f"({MINUS}0.61 to {MINUS}0.59): the cheapest of all."
    )


def test_one_network_stands_for_both_where_it_is_both():
    found = headline(*build(half=(6, -0.1), most=(5, 0.1)))
    assert found.startswith("most takes 5.00 M-Ops/s") and "half" not in found
    assert found.endswith("(+0.09 to +0.11); no other sparse network trained here takes less.")


def test_losses_are_told_where_all_lose_much():
    found = headline(*build(half=(6, -1), most=(5, -2)))
    assert found.startswith("Every sparse network loses more than 0.2 dB of SI-SNR: half takes")
    assert "; most takes" in found and found.endswith("and takes least.")
    assert headline(*build(half=(6, -1))).endswith("and loses least.")


def test_build_without_sparse_networks_says_so():
    assert headline(*build()) == "This build has no sparse network to compare with dense."


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("000-fr-ch-anika_000_engine_0000_snr4_tl-21_fileid_0.wav", "an engine at 4 dB SNR"),
        ("v_001_fan_0000-rain_0002_snr-3_tl-21_fileid_1.wav", f"a fan and rain at {MINUS}3 dB SNR"),
        ("reader_06709_1-187207-A_snr5_tl-24_fileid_2.wav", "noise at 5 dB SNR"),
        ("clip.wav", "clip.wav"),
    ],
)
def test_clips_are_told_in_words(name, expected):
    assert described(name) == expected


def test_losses_in_fixed_point_are_told_with_their_causes_beyond_a_bound():
    def loss(db, **more):
        return {"fixed_minus_float_db": db, "intervals": {"fixed_minus_float_db": [db - 0.01, db + 0.01]}, **more}

    causes = {"framing": -0.001, "delay_clamp": 0.0, "rounding": -0.03, "exponents": 0.001, "output_wrap": 0.0}
    networks = {"a": loss(-0.019), "b": loss(-0.03, fixed_minus_float_db_by_cause=causes), "c": loss(-0.04), "d": {}}
    b, c = loss_sentences(networks)
    assert b.startswith(f"b changes by {MINUS}0.030 dB ({MINUS}0.040 to {MINUS}0.020) from float to fixed point: ")
    assert f"sums and events as integers {MINUS}0.030 dB" in b
    assert c.endswith("; its causes were not measured.")
