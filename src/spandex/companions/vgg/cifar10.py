"""One network trained dense, then pruned in rounds with retraining, exported and run in fixed point; CIFAR-10."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import torch

from spandex.companions.training import Labelled, prepare, train
from spandex.companions.vgg import PRUNED
from spandex.companions.vgg.fan_out import mean_fan_outs, synapses
from spandex.companions.vgg.fixed_point import run_images
from spandex.companions.vgg.network import SpikingVgg
from spandex.companions.work import Work
from spandex.kernels import accelerate
from spandex.networks.files import export_hdf5
from spandex.networks.hdf5 import deployed_weights
from spandex.params.companions.vgg import Vgg
from spandex.sparsify import Iterative, NeuronPruner, Pruner, shrink
from spandex.sparsify.sparsifier import Sparsifier
from spandex.sparsify.together import Together

BATCH = 100  # images in an evaluation, which remembers the spikes of all neurons
METHODS = ("dense", PRUNED)


def run(settings: Vgg, work: Work) -> dict[str, Any]:
    """Prune a trained network, and train it on for as long without pruning: the dense control.

    Returns:
        variants: metrics of both, see ``measured``.
    """
    learning, test = prepare(work.images("cifar10", settings.train_images, settings.test_images), work.device)
    result = {
        name: work.part(name, lambda name=name: _variant(name, settings, work, learning, test)) for name in METHODS
    }
    return {"variants": result}


def pruner(network: torch.nn.Module, settings: Vgg, iterations: int) -> Sparsifier:
    """Whole neurons by the norm of their weights, as many of each layer, then single weights of all by magnitude.

    Both go in the same rounds; the last is after so many iterations.
    """
    rounds = {"steps": iterations - 1, "rounds": settings.rounds}
    return Together(
        NeuronPruner(network, Iterative(settings.neurons_pruned, **rounds), scope="layer"),
        Pruner(network, Iterative(settings.sparsity, **rounds)),
    )


@torch.no_grad()
def measured(network: SpikingVgg, whole: int, test: Labelled, path: Path, in_lava: Container[int]) -> dict[str, Any]:
    """What there is to know of a finished network.

    Args:
        network: without what pruning made idle.
        whole: weights before pruning.
        test: images.
        path: of the network's file, which is written.
        in_lava: see ``run_images``.

    Returns:
        accuracy (in lava-dl); deployed_sparsity (share of the original weights that the file does not have, in 8 bits);
        neurons (of all layers with synapses); dense_synapses (in the fully connected layers, as Lava holds them); and
        in fixed point: fixed_point_accuracy, output_spikes (of all images), differing_images (whose output spikes are
        not those of lava-dl), spikes and synops (of an image), layers (the same by layer, and ``mean_fan_outs``).

    Raises:
        SpandexError: as of ``run_images``.
    """
    network.eval()
    expected = torch.cat([network.spikes(images)[-1].cpu() for images, _ in test.batches(BATCH)])
    export_hdf5(network, path)
    found = run_images(path, test.images, network.steps, in_lava)

    def accuracy(outputs: torch.Tensor) -> float:
        return int((network.scores(outputs).argmax(1) == test.labels.cpu()).sum()) / len(test)

    return {
        "accuracy": accuracy(expected),
        "fixed_point_accuracy": accuracy(found.outputs),
        "output_spikes": int(found.outputs.sum()),
        "differing_images": int((found.outputs != expected).flatten(1).any(1).sum()),
        "deployed_sparsity": 1 - sum(int(synapses(layer).sum()) for layer in network.layers) / whole,
        "neurons": sum(layer.neuron.shape.numel() for layer in network.layers),
        "spikes": sum(found.spikes),
        "synops": sum(found.operations),
        "layers": {"spikes": found.spikes, "operations": found.operations} | mean_fan_outs(network, test.images[:1]),
        "dense_synapses": sum(layer.nonzero_weights for layer in deployed_weights(path)),
    }


def _variant(name: str, settings: Vgg, work: Work, learning: Labelled, test: Labelled) -> dict[str, Any]:
    network = _trained(settings, work, learning)
    iterations = settings.pruning_epochs * (len(learning) // settings.batch_size)
    sparsifier = pruner(network, settings, iterations) if name == PRUNED else None
    epochs, lr = settings.pruning_epochs + settings.retraining_epochs, settings.lr * settings.lr_factor
    options = {"batch_size": settings.batch_size, "seed": work.seed}
    prune = sparsifier and (lambda _: sparsifier.step())
    train(network, learning, epochs=epochs, lr=lr, after_step=prune, **options)
    whole = sum(layer.synapse.weight.numel() for layer in network.layers)
    if sparsifier is not None:
        sparsifier.remove()
        network = shrink(network)
    first = work.seed * settings.lava_images  # others in every run
    in_lava = {number % len(test) for number in range(first, first + settings.lava_images)}
    return measured(network, whole, test, work.folder / f"{name.replace(' ', '_')}.net", in_lava)


def _trained(settings: Vgg, work: Work, learning: Labelled) -> SpikingVgg:
    """The dense network from which both start; trained once a run."""
    torch.manual_seed(work.seed)
    network = accelerate(SpikingVgg(settings).to(work.device))
    size, lr = settings.batch_size, settings.lr
    work.trained(
        network, lambda: train(network, learning, epochs=settings.epochs, batch_size=size, lr=lr, seed=work.seed)
    )
    return network
