"""Activity regularization (Narduzzi, Bigdeli, Liu and Dunbar, ICASSP 2022)."""
