"""One network on one set of images: trained with each penalty, converted, and measured.

All variants start from the same weights, trained for ``pretrain_epochs`` without a penalty (or not at all), and see
the same images in the same order for ``epochs`` more. The unregularised network does so too.

How strong a penalty is: penalties act through their gradients alone, so lambda comes from a strength s, the same for
all psi::

    lambda = s * pull(cross-entropy) / pull(psi),    pull(f) = sum over active hidden units of |df / dx|

taken at the unregularised network, as mean over validation images: with s = 1 the penalty pulls at its activations as
hard as the cross-entropy of images that it has not seen. The value of psi is no such measure: it may have any
constant in it (as that of L0.01 almost has), and that of Hoyer does not fall with the activations.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

from spandex.companions.activity.conversion import normalised, simulate
from spandex.companions.activity.networks import ReluNetwork, relu_network
from spandex.companions.activity.operations import operations, spike_fan_outs
from spandex.companions.images import SETS
from spandex.companions.training import Labelled, accuracy, prepare, train
from spandex.companions.work import Work
from spandex.errors import SpandexError
from spandex.params.companions.activity import Activity, Network
from spandex.sparsify.activity import PSI, Psi

PRETRAINING, TRAINING, SEEDS = 0, 1, 2  # two seeds for each of the run's: of its first weights, and for all variants
BATCH = 500  # images evaluated at a time


class Experiment:
    """Of one seed.

    Args:
        name: of the images, "mnist" or "cifar10".
        settings: of the paper.
        work: seed, device, and where to keep what was found.

    Raises:
        SpandexError: the images cannot be had, or are fewer than are to be set aside.
    """

    def __init__(self, name: str, settings: Activity, work: Work):
        self.name = name
        self.settings = settings
        self.own: Network = getattr(settings, name)
        self.work = work
        images = work.images(name, self.own.train_images, self.own.test_images)
        training, self.test = prepare(images, work.device, standardise=False)
        if len(training) < self.own.validation_images + 1:
            raise SpandexError(f"{name}: of {len(training)} training images {self.own.validation_images} are set aside")
        self.training, self.validation = training.split(self.own.validation_images)

    def run(self) -> dict[str, Any]:
        """The unregularised network, "plain", and the "variants" by psi and strength."""
        plain = self.work.part("plain", self._plain)
        variants = [
            self.work.part(f"{psi} {strength:g}", partial(self._variant, psi, strength, plain))
            for psi in self.settings.psi
            for strength in self.settings.strengths
        ]
        return {"steps": self.settings.steps, "plain": plain, "variants": variants}

    def _plain(self) -> dict[str, Any]:
        network = self._trained()
        wanted = pull(network, self.validation)
        unit = {psi: wanted / pull(network, self.validation, penalty(network, PSI[psi])) for psi in self.settings.psi}
        return self._measured(network) | {"unit": unit}

    def _variant(self, psi: str, strength: float, plain: dict[str, Any]) -> dict[str, Any]:
        weight = strength * plain["unit"][psi]
        network = self._trained(lambda network: penalty(network, PSI[psi], weight))
        return {"psi": psi, "strength": strength, "lambda": weight} | self._measured(network)

    def _trained(self, objective: Callable[[ReluNetwork], Callable[[], torch.Tensor]] | None = None) -> ReluNetwork:
        network = self._pretrained()
        self._train(network, self.own.epochs, TRAINING, None if objective is None else objective(network))
        return network

    def _pretrained(self) -> ReluNetwork:
        torch.manual_seed(SEEDS * self.work.seed + PRETRAINING)
        network = relu_network(SETS[self.name], self.own.channels, self.own.hidden).to(self.work.device)
        self.work.trained(network, lambda: self._train(network, self.own.pretrain_epochs, PRETRAINING))
        return network

    def _train(
        self, network: ReluNetwork, epochs: int, offset: int, extra: Callable[[], torch.Tensor] | None = None
    ) -> None:
        own = self.own
        seed = SEEDS * self.work.seed + offset
        train(network, self.training, epochs=epochs, batch_size=own.batch_size, lr=own.lr, seed=seed, penalty=extra)

    def _measured(self, network: ReluNetwork) -> dict[str, Any]:
        """Accuracies, and operations of a test image."""
        effective, product = operations(network, self.test.images)
        active = [float((activations > 0).float().mean()) for activations in network.activations]
        settings = self.settings
        spiking = normalised(network, self.training.images[: settings.calibration_images], settings.percentile)
        chosen_by = measure_spiking(spiking, self.validation, settings.steps[-1:])
        return {
            "accuracy": accuracy(network, self.test),
            "active": active,
            "effective_operations": effective,
            "product_of_counts": product,
            "validation_spiking_accuracy": chosen_by["spiking_accuracy"][0],
            "validation_synops": chosen_by["synops"][0],
            **measure_spiking(spiking, self.test, settings.steps),
        }


def penalty(network: ReluNetwork, psi: Psi, weight: float = 1.0) -> Callable[[], torch.Tensor]:
    """weight * sum over hidden layers of psi of its activations for one image, mean over those of the last batch."""
    return lambda: weight * sum(psi(activations.flatten(1)).mean() for activations in network.activations)


def measure_spiking(network: ReluNetwork, data: Labelled, steps: list[int]) -> dict[str, Any]:
    """Of the spiking network after each of the numbers of steps.

    Args:
        network: normalised.
        data: images and labels.
        steps: at which to look.

    Returns:
        "spiking_accuracy": share of images whose class has the highest score. "synops": of an image up to then, the sum
        over steps and hidden layers of fan-out times spikes.
    """
    fan_outs = spike_fan_outs(network, data.images.shape[1:])
    right, synops = dict.fromkeys(steps, 0), dict.fromkeys(steps, 0.0)
    for images, labels in data.batches(BATCH):
        count = 0.0
        for step, (scores, spikes) in enumerate(simulate(network, images, max(steps)), start=1):
            count += sum(
                float(layer.flatten(1).sum(0).double() @ fan_out)
                for layer, fan_out in zip(spikes, fan_outs, strict=True)
            )
            if step in right:
                right[step] += int((scores.argmax(1) == labels).sum())
                synops[step] += count
    return {
        "spiking_accuracy": [right[step] / len(data) for step in steps],
        "synops": [synops[step] / len(data) for step in steps],
    }


def pull(network: ReluNetwork, data: Labelled, objective: Callable[[], torch.Tensor] | None = None) -> float:
    """Sum over active hidden units of the magnitude of an objective's derivative, by default of the cross-entropy.

    Args:
        network: on the data's device.
        data: images; the mean over batches is taken.
        objective: asked after each forward pass, a mean over the batch.
    """
    total, batches = 0.0, 0
    for images, labels in data.batches(BATCH):
        scores = network(images)
        value = F.cross_entropy(scores, labels) if objective is None else objective()
        gradients = torch.autograd.grad(value, network.activations)
        total += sum(
            float(gradient.abs()[activations > 0].sum())
            for gradient, activations in zip(gradients, network.activations, strict=True)
        )
        batches += 1
    return total / batches
