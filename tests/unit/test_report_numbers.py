import json

import pytest

from spandex.errors import SpandexError
from spandex.files.text import read_csv
from spandex.report.numbers import measures, write_numbers

NOISY = {"si_snr_db": 9.0, "mos_ovrl": 2.5, "per_clip": []}
NETWORK = {
    "si_snr_db": 12.34567891,
    "fixed_minus_float_db": -0.000001,
    "mos_ovrl": None,
    "float_power_proxy_ops_per_s": 9_320_000.0,
    "deployed_power_proxy_ops_per_s": 8_740_000.0,
    "deployed_pdp_proxy_ops": 279_680.0,
    "parameters": 344_392,
    "sparsity": 0.5,
}
EPOCHS = "iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db,sparsity,lr\n30,1,95.5,4.5,4.25,0.25,0.001\n"


@pytest.fixture
def logs(tmp_path):
    (tmp_path / "prune50.csv").write_text(EPOCHS)
    (tmp_path / "baseline.csv").write_text(EPOCHS.splitlines()[0] + "\n")
    return {name: tmp_path / f"{name}.csv" for name in ("baseline", "prune50")}


def test_measures_are_in_the_units_that_their_names_say():
    found = measures(NOISY, {"prune50": NETWORK})
    assert found["noisy"] == {"si_snr_db": 9.0, "mos_ovrl": 2.5}
    assert found["prune50"] == {
        "si_snr_db": 12.3457,
        "fixed_minus_float_db": 0.0,
        "float_power_proxy_mops_per_s": 9.32,
        "deployed_power_proxy_mops_per_s": 8.74,
        "deployed_pdp_proxy_mops": 0.2797,
        "params": 344392,
        "sparsity": 0.5,
    }
    assert "-0.0" not in json.dumps(found)


def test_last_bits_of_a_mean_do_not_change_the_file(tmp_path, logs):
    write_numbers(tmp_path / "a", NOISY, {"prune50": NETWORK}, logs)
    write_numbers(tmp_path / "b", NOISY, {"prune50": NETWORK | {"si_snr_db": 12.345678910000002}}, logs)
    for name in ("metrics.json", "plots/curves.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_curves_name_the_network_in_every_row(tmp_path, logs):
    written = write_numbers(tmp_path, NOISY, {"baseline": NETWORK, "prune50": NETWORK}, logs)
    assert all(path.is_file() for path in written)
    row = {"model": "prune50", "epoch": "1", "iteration": "30", "train_loss": "95.5", "validation_si_snr_db": "4.25"}
    assert read_csv(tmp_path / "plots/curves.csv") == [row]


def test_log_without_a_column_is_named(tmp_path, logs):
    logs["prune50"].write_text("iteration,epoch\n30,1\n")
    with pytest.raises(SpandexError, match=r"prune50\.csv: no column 'train_loss'"):
        write_numbers(tmp_path, NOISY, {"prune50": NETWORK}, logs)
