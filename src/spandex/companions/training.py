"""Training of small image classifiers, as the experiments of several papers need it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows

from spandex.companions.images import Images


@dataclass(frozen=True)
class Labelled:
    """Images and their classes on one device.

    Attributes:
        images: float32 (images, channels, height, width).
        labels: int64 (images,).
    """

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def split(self, count: int) -> tuple["Labelled", "Labelled"]:
        """All but the last ``count`` images, and those."""
        first, last = slice(0, len(self) - count), slice(len(self) - count, None)
        return Labelled(self.images[first], self.labels[first]), Labelled(self.images[last], self.labels[last])

    def batches(self, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Images and labels in order; the last batch may be smaller."""
        return zip(self.images.split(size), self.labels.split(size), strict=True)


def prepare(
    images: Images, device: torch.device | str = "cpu", *, standardise: bool = True
) -> tuple[Labelled, Labelled]:
    """Training and test images, scaled to 0..1 and then to zero mean and unit deviation of each training channel.

    Args:
        images: as integers.
        device: where to put them.
        standardise: False leaves them at 0..1, so that black stays zero.
    """
    train = torch.from_numpy(images.train).float() / 255
    test = torch.from_numpy(images.test).float() / 255
    mean, deviation = 0.0, 1.0
    if standardise:
        mean, deviation = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)
    return tuple(
        Labelled(((pixels - mean) / deviation).to(device), torch.from_numpy(labels).to(device))
        for pixels, labels in ((train, images.train_labels), (test, images.test_labels))
    )


def train(
    model: torch.nn.Module,
    data: Labelled,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    penalty: Callable[[], torch.Tensor] | None = None,
    after_step: Callable[[int], None] | None = None,
) -> None:
    """Adam on the cross-entropy, in place; the model is in training mode afterwards.

    Args:
        model: images (batch, channels, height, width) -> scores of the classes (batch, classes).
        data: on the model's device.
        epochs: passes over the images; the last batch of each is left out if it is not full.
        batch_size: images a step, at most as many as there are.
        lr: learning rate.
        seed: of the order of the images; of torch too, for whatever the model draws.
        penalty: added to the loss; asked after the forward pass.
        after_step: called after every step with the number of steps so far.
    """
    torch.manual_seed(seed)
    order = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    model.train()
    size = min(batch_size, len(data))
    steps = 0
    for _ in range(epochs):
        shuffled = torch.from_numpy(order.permutation(len(data))).to(data.labels.device)
        for chosen in shuffled.split(size)[: len(data) // size]:
            loss = F.cross_entropy(model(data.images[chosen]), data.labels[chosen])
            if penalty is not None:
                loss = loss + penalty()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
            if after_step is not None:
                after_step(steps)


@torch.no_grad()
def accuracy(model: torch.nn.Module, data: Labelled, batch_size: int = 500) -> float:
    """Share of the images whose class has the highest score, in evaluation mode."""
    model.eval()
    right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in data.batches(batch_size))
    return right / len(data)
