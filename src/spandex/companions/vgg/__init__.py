"""Iterative pruning of a convolutional spiking network on CIFAR-10, the earlier experiment of SPANDEX's write-up."""

PRUNED = "neurons and weights"  # the variant that is the write-up's
