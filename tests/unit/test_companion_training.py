"""Small classifiers learn, reproducibly, and their penalty counts."""

import numpy as np
import pytest
import torch

from spandex.companions.images import Images
from spandex.companions.training import Labelled, accuracy, prepare, train


@pytest.fixture
def data() -> Labelled:
    """Two classes told apart by which half of the image is brighter."""
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(64) % 2
    images = torch.rand(64, 1, 4, 4, generator=generator)
    images[labels == 1, :, :2] += 1
    images[labels == 0, :, 2:] += 1
    return Labelled(images, labels)


def linear(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))


def test_images_have_zero_mean_and_unit_deviation_in_each_training_channel():
    pixels = np.random.default_rng(1).integers(0, 256, (20, 3, 5, 5)).astype(np.uint8)
    pixels[:, 1] //= 4
    labels = np.arange(20) % 10
    training, test = prepare(Images(pixels, labels, pixels[:4], labels[:4]))
    expected = pixels / 255.0
    expected = (expected - expected.mean((0, 2, 3), keepdims=True)) / expected.std((0, 2, 3), ddof=1, keepdims=True)
    np.testing.assert_allclose(training.images, expected, atol=1e-5)
    np.testing.assert_allclose(test.images, expected[:4], atol=1e-5)
    assert test.labels.tolist() == [0, 1, 2, 3]
    plain, _ = prepare(Images(pixels, labels, pixels[:4], labels[:4]), standardise=False)
    np.testing.assert_allclose(plain.images, pixels / 255.0, atol=1e-6)


def test_a_separable_problem_is_learnt(data):
    model = linear()
    train(model, data, epochs=30, batch_size=16, lr=0.01, seed=1)
    assert accuracy(model, data, batch_size=10) == 1.0


def test_steps_are_those_of_adam_on_cross_entropy_and_penalty(data):
    model, other = linear(), linear()
    train(model, data, epochs=2, batch_size=64, lr=0.01, seed=1, penalty=lambda: 3 * model[1].weight.square().sum())
    optimizer = torch.optim.Adam(other.parameters(), 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        scores = other(data.images).log_softmax(1)
        (3 * other[1].weight.square().sum() - scores[torch.arange(64), data.labels].mean()).backward()
        optimizer.step()
    torch.testing.assert_close(model[1].weight, other[1].weight)


def test_the_seed_alone_decides_the_result(data):
    results = []
    for torch_state, seed in ((1, 5), (2, 5), (1, 6)):
        model = linear()
        torch.manual_seed(torch_state)
        train(model, data, epochs=1, batch_size=16, lr=0.01, seed=seed)
        results.append(model[1].weight)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_after_step_hears_of_every_step(data):
    heard = []
    train(linear(), data, epochs=2, batch_size=30, lr=0.01, seed=1, after_step=heard.append)
    assert heard == [1, 2, 3, 4]


def test_a_batch_larger_than_the_data_is_all_of_them(data):
    heard = []
    train(linear(), data, epochs=1, batch_size=1000, lr=0.01, seed=1, after_step=heard.append)
    assert heard == [1]


def test_split_takes_the_last_images_apart(data):
    first, last = data.split(10)
    assert (len(first), len(last)) == (54, 10)
    assert torch.equal(torch.cat([first.images, last.images]), data.images)
