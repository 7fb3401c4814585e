"""Gradual magnitude pruning (GMP): the smallest weights of the whole network go, a few at a time."""

import torch

from spandex.sparsify.pruner import Pruner
from spandex.sparsify.schedule import Cubic
from spandex.sparsify.weights import Layers


class GradualMagnitude(Pruner):
    """``Pruner`` by magnitude on a cubic schedule: the method of SPANDEX.

        pruner = GradualMagnitude(network, 0.75, steps=2000)
        for batch in batches:
            ...
            optimizer.step()
            pruner.step()

    Sources: Zhu and Gupta 2017; SPANDEX (Michaeljurado42/SPANDEX, train_sdnn_custom.py), with steps = pruning epochs *
    iterations an epoch - 1 and a new target every 30 iterations. Unlike there, iterations are counted through and not
    anew in every epoch, the last step reaches the target exactly, and equal magnitudes do not change the count.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        target: float,
        steps: int,
        frequency: int = 30,
        *,
        initial: float = 0.0,
        scope: str = "global",
        layers: Layers | None = None,
    ):
        """
        Args:
            network: a network with dense or convolutional lava-dl synapses.
            target: final sparsity, a fraction of the weights.
            steps: the iteration, counted from 0, at which the target is reached.
            frequency: iterations between two pruning steps.
            initial: sparsity at iteration 0; the ``sparsity`` there is if that is more.
            scope: "global" or "layer", as for ``Pruner``.
            layers: which synapses, as for ``Pruner``.

        Raises:
            SpandexError: the target is not between the initial sparsity and 1, ``steps`` or ``frequency`` is below 1,
                or the network has nothing to prune.
        """
        super().__init__(network, Cubic(target, steps, frequency, initial=initial), scope=scope, layers=layers)
