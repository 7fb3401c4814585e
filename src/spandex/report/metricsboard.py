"""Entries for the metrics board of the Intel N-DNS Challenge, track 1."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from spandex.files import write_text
from spandex.report.table import is_network

BOARD = "metricsboard_track_1_test.yml"  # of test set 1; the board of the validation set has another file
DECIMALS = 3  # of dB, MOS and milliseconds
OTHER_CLIPS = "These clips are not the challenge's test set 1: do not compare the figures with those of its board."


def board_entry(
    metrics: Mapping[str, Any], enc_dec_ms: float, team: str, date: str | None, model_path: str
) -> dict[str, Any]:
    """One entry, with the keys of the challenge.

    Args:
        metrics: scores of the network in fixed point, from ``spandex.evaluation``, with ``model``, its name. Its
            operations are those of the float network, as published ones are; None where its weights are not known. Of
            clips that something else has denoised nothing is known of the cost.
        enc_dec_ms: measured latency of encoder and decoder.
        team: who enters.
        date: YYYY-MM-DD, or None.
        model_path: where the network lies.

    Source:
        example_metricsboard_writeout.py of IntelLabs/IntelNeuromorphicDNSChallenge.
    """
    latency_ms = None
    if is_network(metrics):
        latency_ms = metrics["latency_buffer_ms"] + metrics["latency_network_ms"] + enc_dec_ms
    return {
        "team": team,
        "model": metrics["model"],
        "date": date,
        "SI-SNR": _rounded(metrics["si_snr_db"]),
        "SI-SNRi_data": _rounded(metrics["si_snri_db"]),
        "SI-SNRi_enc+dec": _rounded(metrics.get("si_snri_enc_dec_db")),
        "MOS_ovrl": _rounded(metrics.get("mos_ovrl")),
        "MOS_sig": _rounded(metrics.get("mos_sig")),
        "MOS_bak": _rounded(metrics.get("mos_bak")),
        "latency_enc+dec_ms": _rounded(enc_dec_ms) if is_network(metrics) else None,
        "latency_total_ms": _rounded(latency_ms),
        "power_proxy_Ops/s": _rounded(metrics.get("float_power_proxy_ops_per_s"), 0),
        "PDP_proxy_Ops": _rounded(metrics.get("float_pdp_proxy_ops"), 0),
        "params": metrics.get("parameters"),
        "size_kilobytes": _rounded(metrics.get("size_kb")),
        "model_path": model_path,
    }


def write_board(entries: list[dict[str, Any]], path: str | os.PathLike, comment: str = "") -> None:
    """Write the entries as YAML, below the comment, a line, if there is one."""
    head = f"# {comment}\n" if comment else ""
    write_text(path, head + yaml.safe_dump(entries, allow_unicode=True))


def _rounded(value: float | None, decimals: int = DECIMALS) -> float | None:
    return None if value is None else round(value, decimals or None)
