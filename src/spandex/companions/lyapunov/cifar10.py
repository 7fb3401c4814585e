"""Classification of CIFAR-10 images by a recurrent spiking network with a trained linear readout.

The encoder is fixed: an image of half the height and width is shown from top to bottom, one row of 16 pixels with three
colours for a few steps, as currents through random weights. The readout sees how often each neuron fired in each of a
few windows of time.
"""

from typing import Any

import numpy as np
import torch

from spandex.companions.images import CLASSES, Images
from spandex.companions.lyapunov.network import Recurrent, Simulation, input_weights
from spandex.companions.lyapunov.readout import Readout
from spandex.companions.lyapunov.variants import run_variants
from spandex.companions.work import Work
from spandex.params.companions.lyapunov import Lyapunov

BATCH = 500  # images at a time
INPUTS = 21  # offset of the seed


def run(settings: Lyapunov, work: Work) -> dict[str, Any]:
    """Accuracies and synaptic operations of all variants, for one seed."""
    images = work.images("cifar10", settings.cifar10.train, settings.cifar10.test)
    return run_variants(settings, work, Classification(settings, work, images))


def rows(images: np.ndarray) -> np.ndarray:
    """Rows from top to bottom (images, 16, 48) of uint8 images (images, 3, 32, 32), means of 2 x 2 pixels, 0 to 1."""
    count, colours, height, width = images.shape
    small = images.reshape(count, colours, height // 2, 2, width // 2, 2).mean(axis=(3, 5), dtype=np.float32) / 255
    return small.transpose(0, 2, 1, 3).reshape(count, height // 2, colours * width // 2)


class Classification:
    """The task: standardised rows of pixels, and labels.

    Attributes:
        settings: sizes.
        train, test: (images, rows, values of a row).
        train_labels, test_labels: 0 to 9 (images,).
        inputs: fixed random weights (neurons of the unpruned network, values of a row).
        device: where the networks run.
    """

    def __init__(self, settings: Lyapunov, work: Work, images: Images):
        self.settings, self.device = settings.cifar10, work.device
        train, test = rows(images.train), rows(images.test)
        mean, scale = train.mean(axis=(0, 1)), train.std(axis=(0, 1)) + 1e-6
        self.train, self.test = (train - mean) / scale, (test - mean) / scale
        self.train_labels, self.test_labels = images.train_labels, images.test_labels
        network = settings.network
        self.inputs = input_weights(network.neurons, train.shape[2], network.input_strength, 1000 * work.seed + INPUTS)

    def rates(self, network: Recurrent) -> np.ndarray:
        """Spikes of each neuron in a step (neurons,) while the training images are shown."""
        return self._counts(network, self.train).sum(axis=1).mean(axis=0) / self._steps

    def score(self, network: Recurrent) -> dict[str, float]:
        """Train a readout and test it.

        Returns:
            accuracy: percent of the test images.
            rate: spikes of a neuron in a step.
            operations: synaptic operations in a step, on average over an image, those of the readout included.
        """
        counts = self._counts(network, self.train)
        readout = Readout.fit(counts.reshape(len(counts), -1), np.eye(CLASSES)[self.train_labels])
        counts = self._counts(network, self.test)
        predicted = readout(counts.reshape(len(counts), -1)).argmax(axis=1)
        rates = counts.sum(axis=1).mean(axis=0) / self._steps
        return {
            "accuracy": float(100 * np.mean(predicted == self.test_labels)),
            "operations": float(rates @ (network.fan_out + CLASSES)),
        }

    @property
    def _steps(self) -> int:
        return self.train.shape[1] * self.settings.row_steps

    def _counts(self, network: Recurrent, images: np.ndarray) -> np.ndarray:
        """Spikes (images, windows, neurons)."""
        weights = torch.as_tensor(self.inputs[network.origin].T, dtype=torch.float32, device=self.device)
        windows = self.settings.windows
        counts = []
        for first in range(0, len(images), BATCH):
            shown = torch.as_tensor(images[first : first + BATCH], dtype=torch.float32, device=self.device) @ weights
            simulation = Simulation(network, len(shown), self.device)
            count = torch.zeros(len(shown), windows, network.neurons, device=self.device)
            for step in range(self._steps):
                count[:, step * windows // self._steps] += simulation.step(shown[:, step // self.settings.row_steps])
            counts.append(count.cpu().numpy())
        return np.concatenate(counts).astype(np.float64)
