"""Iterative pruning of a convolutional spiking network on CIFAR-10, the earlier experiment of SPANDEX's write-up."""
