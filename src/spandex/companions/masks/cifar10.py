"""Weight and neuron masks on CIFAR-10 against either alone and against magnitude pruning."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

from spandex.companions import training
from spandex.companions.masks.connections import costs, living_connections, operations
from spandex.companions.masks.mask import Mask
from spandex.companions.masks.network import SpikingConvNet
from spandex.companions.masks.search import Search, magnitude_pruning
from spandex.companions.training import Labelled
from spandex.companions.work import Work
from spandex.params.companions.masks import Masks

SEARCHES = {  # what has scores, by name of the variant
    "both": {"weights": True, "neurons": True},
    "weights": {"weights": True, "neurons": False},
    "neurons": {"weights": False, "neurons": True},
}
BATCH = 100  # images, where nothing is trained


def run(settings: Masks, work: Work) -> dict[str, Any]:
    """Every variant from the same network, with as many epochs: one seed.

    Returns:
        Of what ``measure`` gives: ``dense``, and lists ``both``, ``weights``, ``neurons`` (searches, by lambda) and
        ``magnitude`` (by target).
    """
    variants = _Variants(settings, work)
    found: dict[str, Any] = {"dense": work.part("dense", variants.dense)}
    for name, kinds in SEARCHES.items():
        found[name] = [
            work.part(f"{name}, lambda {lam:g}", lambda lam=lam, kinds=kinds: variants.search(lam, **kinds))
            for lam in getattr(settings.lambdas, name)
        ]
    found["magnitude"] = [
        work.part(f"magnitude, {100 * target:g} %", lambda target=target: variants.magnitude(target))
        for target in settings.magnitude_targets
    ]
    return found


class _Variants:
    """The trained network of one seed, and what can be made of it."""

    def __init__(self, settings: Masks, work: Work):
        self.settings, self.work = settings, work
        images = work.images("cifar10", settings.train_images, settings.test_images)
        self.train, self.test = (_resized(part, settings.image_px) for part in training.prepare(images, work.device))

    def dense(self) -> dict[str, float]:
        """Nothing goes."""
        network = self._start()
        self._fit(network, self.settings.search_epochs, 1)
        return self._finish(network)

    def search(self, lam: float, weights: bool, neurons: bool) -> dict[str, float]:
        """Masks are learnt."""
        settings = self.settings
        network = self._start()
        steps = settings.search_epochs * self._steps_per_epoch()
        search = Search(network, lam, tuple(settings.beta), steps, weights, neurons)
        self._fit(network, settings.search_epochs, 1, penalty=search.penalty, after_step=search.step)
        search.end()
        return {"lambda": lam} | self._finish(network)

    def magnitude(self, target: float) -> dict[str, float]:
        """The smallest weights go."""
        settings = self.settings
        network = self._start()
        prune = magnitude_pruning(network, target, settings.search_epochs * self._steps_per_epoch())
        self._fit(network, settings.search_epochs, 1, after_step=prune)
        return {"target": target} | self._finish(network)

    def _start(self) -> SpikingConvNet:
        """The network that all variants begin with."""
        torch.manual_seed(self.work.seed)
        network = SpikingConvNet(self.settings).to(self.work.device)
        self.work.trained(network, lambda: self._fit(network, self.settings.warm_epochs, 0))
        return network

    def _finish(self, network: SpikingConvNet) -> dict[str, float]:
        self._fit(network, self.settings.finetune_epochs, 2)
        return measure(network, self.test, self.settings.energy_per_sop_fj)

    def _fit(self, network: SpikingConvNet, epochs: int, phase: int, **meanwhile: Callable[..., Any]) -> None:
        """Every variant sees the images of a phase in the same order; see ``train`` for what it calls meanwhile."""
        size, lr, seed = self.settings.batch_size, self.settings.lr, 3 * self.work.seed + phase
        training.train(network, self.train, epochs=epochs, batch_size=size, lr=lr, seed=seed, **meanwhile)

    def _steps_per_epoch(self) -> int:
        return max(len(self.train) // self.settings.batch_size, 1)


@torch.no_grad()
def measure(network: SpikingConvNet, test: Labelled, energy_per_sop_fj: float) -> dict[str, float]:
    """Accuracy, what is left of the network, and what it does for one image.

    Returns:
        accuracy (share), connections_percent, weights_percent and neurons_percent (of the convolutional layers) of the
        dense network's, sops (mean of an image), energy_nj (these times the energy of one).
    """
    network.eval()
    right, sops = 0, 0.0
    for images, labels in test.batches(BATCH):
        spikes = network.spikes(images)
        right += int((network.scores(spikes).argmax(1) == labels).sum())
        sops += operations(network, spikes) / len(test)
    return {
        "accuracy": right / len(test),
        "connections_percent": 100 * living_connections(network) / costs(network).connections,
        "weights_percent": _percent([layer.weights for layer in network.layers]),
        "neurons_percent": _percent([layer.neurons for layer in network.layers if len(layer.neurons.shape) == 3]),
        "sops": sops,
        "energy_nj": 1e-6 * energy_per_sop_fj * sops,
    }


def _percent(masks: list[Mask]) -> float:
    return 100 * sum(mask.living for mask in masks) / sum(math.prod(mask.shape) for mask in masks)


def _resized(data: Labelled, size: int) -> Labelled:
    """Images that are means over squares of pixels."""
    return Labelled(F.adaptive_avg_pool2d(data.images, size), data.labels)
