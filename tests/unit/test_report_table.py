import csv
import io
from pathlib import Path

import pytest
import yaml

from spandex.errors import SpandexError
from spandex.report.figures import learning_curves, sparsity_figure
from spandex.report.metricsboard import board_entry, write_board
from spandex.report.table import (
    COLUMNS,
    our_rows,
    printed_table,
    published_rows,
    to_csv,
    to_latex,
    to_markdown,
    with_latency,
    write_tables,
)

PUBLISHED = Path(__file__).parents[2] / "reports" / "reference"

NOISY = {"model": "noisy", "si_snr_db": 9.01, "mos_ovrl": 2.4, "mos_sig": 3.1, "mos_bak": 2.7}
NOISY |= {"mos_ovrl_all_hops": 2.5, "mos_sig_all_hops": 3.2, "mos_bak_all_hops": 2.8}


def metrics(model: str, **changes) -> dict:
    return {
        "model": model,
        "si_snr_db": 12.0789,
        "float_si_snr_db": 12.0912,
        "fixed_minus_float_db": -0.0123,
        "si_snri_db": 3.0689,
        "si_snri_enc_dec_db": -0.001,
        "mos_ovrl_improvement": 0.3,
        "mos_ovrl": 2.7,
        "mos_sig": 3.2,
        "mos_bak": 3.4,
        "mos_ovrl_all_hops": 2.71,
        "mos_sig_all_hops": 3.21,
        "mos_bak_all_hops": 3.41,
        "float_mos_ovrl": 2.8,
        "float_mos_sig": 3.3,
        "float_mos_bak": 3.3,
        "fixed_minus_float_mos_ovrl": -0.1,
        "fixed_minus_float_mos_sig": -0.1,
        "fixed_minus_float_mos_bak": 0.1,
        "float_power_proxy_ops_per_s": 9_320_000.0,
        "deployed_power_proxy_ops_per_s": 8_740_000.0,
        "float_pdp_proxy_ops": 298_240.0,
        "deployed_pdp_proxy_ops": 279_680.0,
        "latency_buffer_ms": 32.0,
        "latency_network_ms": 0.5,
        "parameters": 344_392,
        "size_kb": 304.760986328125,
        "sparsity": 0.5,
        "deployed_sparsity": 0.59048,
    } | changes


def rows(**changes):
    models = [metrics("dense"), metrics("prune50", **changes)]
    return our_rows(NOISY, models) + published_rows(PUBLISHED)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_our_rows_stand_before_the_published_ones():
    table = parsed(to_csv(rows()))
    assert [(row["source"], row["model"]) for row in table] == [
        ("this run", "noisy"),
        ("this run", "dense"),
        ("this run", "prune50"),
        ("N-DNS test set 1", "Test Set 1 (noisy input)"),
        ("N-DNS test set 1", "Baseline SDNN 02/20/2023"),
        ("N-DNS test set 1", "50% Sparsity SDNN 2023-08-18"),
        ("N-DNS test set 1", "75% Sparsity SDNN 2023-08-18"),
        ("SPANDEX write-up", "50% Sparse SDNN"),
        ("SPANDEX write-up", "75% Sparse SDNN"),
    ]


def test_values_are_in_the_units_of_the_paper():
    expected = metrics("prune50")
    for key in ("model", "latency_buffer_ms", "latency_network_ms"):
        del expected[key]
    for key, column, value in (
        ("si_snri_db", "si_snri_data_db", 3.0689),
        ("float_power_proxy_ops_per_s", "float_power_proxy_mops_per_s", 9.32),
        ("deployed_power_proxy_ops_per_s", "deployed_power_proxy_mops_per_s", 8.74),
        ("float_pdp_proxy_ops", "float_pdp_proxy_mops", 0.2982),
        ("deployed_pdp_proxy_ops", "deployed_pdp_proxy_mops", 0.2797),
        ("parameters", "params_thousand", 344.392),
        ("size_kb", "size_kb", 304.761),
        ("sparsity", "sparsity_percent", 50.0),
        ("deployed_sparsity", "deployed_sparsity_percent", 59.048),
    ):
        del expected[key]
        expected[column] = value
    row = parsed(to_csv(rows()))[2]
    assert {key: float(value) for key, value in row.items() if key not in ("source", "model")} == expected


def test_published_values_are_those_of_the_files():
    published = {row.model: row.values for row in published_rows(PUBLISHED)}
    for entry in parsed((PUBLISHED / "spandex_paper.csv").read_text()):
        for key in ("si_snr_db", "mos_bak", "latency_total_ms", "size_kb"):
            assert published[entry["entry"]][key] == float(entry[key])
        for key in ("power_proxy_mops_per_s", "pdp_proxy_mops"):  # of float weights
            assert published[entry["entry"]][f"float_{key}"] == float(entry[key])
        assert not any(key.startswith("deployed_") for key in published[entry["entry"]])
    assert published["Baseline SDNN 02/20/2023"]["params_thousand"] == 525
    assert "float_power_proxy_mops_per_s" not in published["Test Set 1 (noisy input)"]


def test_unknown_values_are_empty_and_missing_metrics_an_error():
    without_mos = {key: value for key, value in metrics("dense").items() if "mos_" not in key}
    table = parsed(to_csv(our_rows(NOISY, [without_mos])))
    assert table[0]["size_kb"] == table[1]["mos_ovrl"] == table[1]["fixed_minus_float_mos_sig"] == ""
    with pytest.raises(SpandexError, match="metrics of prune50: no size_kb"):
        rows(size_kb=None)


def test_operations_with_quantised_weights_stay_out_of_the_column_and_the_board_entry_of_the_published():
    alone = {key.replace("float_p", "quantised_p"): value for key, value in metrics("dense").items()}
    row = parsed(to_csv(our_rows(NOISY, [alone])))[1]
    assert row["float_power_proxy_mops_per_s"] == row["float_pdp_proxy_mops"] == ""
    assert float(row["deployed_power_proxy_mops_per_s"]) == 8.74
    entry = board_entry(alone, 0.006, "SPANDEX", None, "models/network.pt")
    assert entry["power_proxy_Ops/s"] is entry["PDP_proxy_Ops"] is None


def test_files_have_equal_bytes_twice_and_no_measured_time(tmp_path):
    first, second = write_tables(rows(), tmp_path / "a"), write_tables(rows(), tmp_path / "b")
    assert [path.name for path in first] == ["table.csv", "table.md", "table.tex"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert "latency" not in one.read_text()


def test_markdown_has_a_padded_cell_for_every_column():
    lines = to_markdown(rows()).splitlines()
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 3}
    assert len({len(line) for line in lines}) == 1
    assert [cell.strip() for cell in lines[4].split("|")][1:8] == [
        "this run",
        "prune50",
        "12.08",
        "12.09",
        "-0.012",
        "3.07",
        "0.00",
    ]


def test_latex_is_a_booktabs_tabular_with_escaped_text():
    lines = to_latex(rows()).splitlines()
    assert lines[1] == f"\\begin{{tabular}}{{ll{'r' * len(COLUMNS)}}}"
    assert lines[2] == "\\toprule" and lines[-2:] == ["\\bottomrule", "\\end{tabular}"]
    assert lines.count("\\midrule") == 3
    cells = [line for line in lines if line.endswith("\\\\")]
    assert {line.count("&") for line in cells} == {len(COLUMNS) + 1}
    assert any("50\\% Sparse SDNN" in line for line in cells)
    assert any("$-0.012$" in line for line in cells)


def test_printed_table_joins_measured_latency():
    models = [metrics("dense"), metrics("prune50")]
    text = printed_table(with_latency(rows(), models, enc_dec_ms=0.0126))
    header, _, noisy, dense = ([cell.strip() for cell in line.split("|")] for line in text.splitlines()[:4])
    ours = dict(zip(header, dense, strict=True))
    assert ours["latency enc+dec (ms)"] == "0.013"
    assert ours["latency total (ms)"] == "32.513"
    assert dict(zip(header, noisy, strict=True))["latency total (ms)"] == ""
    assert "past" not in text


def test_row_past_the_challenge_s_latency_is_named_below_the_table():
    models = [metrics("dense"), metrics("prune50", latency_network_ms=8.0)]
    text = printed_table(with_latency(rows(), models, enc_dec_ms=0.0126))
    assert text.splitlines()[-2:] == ["", "prune50: latency of 40.013 ms, past the challenge's 40 ms"]
    assert text.count("past") == 1
    assert "32.006" in text


def test_board_entry_has_the_keys_of_the_challenge(tmp_path):
    entry = board_entry(metrics("prune50"), 0.006, "SPANDEX", "2023-08-18", "models/network.pt")
    write_board([entry], tmp_path / "board.yml")
    (read,) = yaml.safe_load((tmp_path / "board.yml").read_text())
    # example_metricsboard_writeout.py of the challenge, and model_path as on SPANDEX's own board
    assert set(read) == {
        "team", "model", "date", "SI-SNR", "SI-SNRi_data", "SI-SNRi_enc+dec", "MOS_ovrl", "MOS_sig", "MOS_bak",
        "latency_enc+dec_ms", "latency_total_ms", "power_proxy_Ops/s", "PDP_proxy_Ops", "params", "size_kilobytes",
        "model_path",
    }  # fmt: skip
    assert read["date"] == "2023-08-18"
    assert read["latency_total_ms"] == 32.506
    assert read["params"] == 344_392
    assert (read["MOS_ovrl"], read["MOS_sig"], read["MOS_bak"]) == (2.7, 3.2, 3.4)  # of the challenge's hops
    assert (read["power_proxy_Ops/s"], read["PDP_proxy_Ops"]) == (9_320_000, 298_240)  # of float weights


def test_board_of_other_clips_says_so_at_its_top(tmp_path):
    for name, comment in (("own", "These are other clips."), ("challenge", "")):
        write_board([{"team": "SPANDEX"}], tmp_path / name, comment)
    assert (tmp_path / "challenge").read_text() == "- team: SPANDEX\n"
    assert (tmp_path / "own").read_text() == "# These are other clips.\n- team: SPANDEX\n"
    assert yaml.safe_load((tmp_path / "own").read_text()) == [{"team": "SPANDEX"}]


def test_figures_have_equal_bytes_twice(tmp_path):
    (tmp_path / "log.csv").write_text(
        "iteration,epoch,loss,si_snr_db,sparsity,lr\n1,1,96,4,0,0.001\n2,1,95,5,0.3,0.001\n3,1,94,6,0.5,0.001\n"
    )
    (tmp_path / "epochs.csv").write_text(
        "iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db,sparsity,lr\n3,1,94,6,6.5,0.5,0.001\n"
    )
    (tmp_path / "untrained.csv").write_text("iteration,epoch,train_loss,train_si_snr_db,validation_si_snr_db\n")
    names = ["baseline", "50 %"]
    for folder in ("a", "b"):
        drawn = sparsity_figure({"50 %": tmp_path / "log.csv"}, names, tmp_path / folder / "figure1")
        logs = {"baseline": tmp_path / "untrained.csv", "50 %": tmp_path / "epochs.csv"}
        drawn += learning_curves(logs, names, tmp_path / folder / "curves")
        assert [path.name for path in drawn] == ["figure1.png", "figure1.pdf", "curves.png", "curves.pdf"]
    for path in (tmp_path / "a").iterdir():
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG" if path.suffix == ".png" else b"%PDF")
        assert content == (tmp_path / "b" / path.name).read_bytes()
        assert b"CreationDate" not in content


def test_log_without_a_column_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("iteration,loss\n1,2\n")
    with pytest.raises(SpandexError, match=r"log\.csv: no column 'sparsity'"):
        sparsity_figure({"a": tmp_path / "log.csv"}, ["a"], tmp_path / "figure")
    with pytest.raises(SpandexError, match=r"absent\.csv: no such file"):
        learning_curves({"a": tmp_path / "absent.csv"}, ["a"], tmp_path / "figure")
