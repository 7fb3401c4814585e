"""Lyapunov noise pruning (Chakraborty, Kang, Kumar and Mukhopadhyay, ICLR 2024)."""
