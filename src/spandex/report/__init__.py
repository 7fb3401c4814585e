"""What a run shows: the paper's table, figures, and the challenge's board entry."""
