"""What a run shows: the paper's table, figures, and the challenge's board entry."""

from spandex.report.table import our_rows, printed_table, published_rows, with_latency, write_tables

__all__ = ["our_rows", "printed_table", "published_rows", "with_latency", "write_tables"]
