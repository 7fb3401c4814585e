"""Unstructured pruning framework (Shi, Ding, Hao and Yu, ICLR 2024)."""
