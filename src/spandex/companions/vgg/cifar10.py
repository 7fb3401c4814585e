"""One network trained dense, then pruned in rounds with retraining, exported and run in Lava; CIFAR-10."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from spandex.companions.training import Labelled, accuracy, prepare, train
from spandex.companions.vgg import PRUNED
from spandex.companions.vgg.fan_out import synapses, traffic
from spandex.companions.vgg.in_lava import run_image
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
        variants: metrics of both, see ``measured``, and of the pruned one what became of it in Lava:
        sparse_layers, sparse_synapses, differing (share of an image's output spikes that Lava has otherwise).
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


def measured(network: SpikingVgg, whole: int, test: Labelled, path: Path) -> dict[str, Any]:
    """What there is to know of a finished network.

    Args:
        network: without what pruning made idle.
        whole: weights before pruning.
        test: images.
        path: of the network's file, which is written.

    Returns:
        accuracy; deployed_sparsity (share of the original weights that the file does not have, in 8 bits); neurons (of
        all layers with synapses); spikes and synops (of an image); layers (see ``Traffic``); dense_synapses (in the
        fully connected layers, as Lava holds them).
    """
    found = traffic(network, test, BATCH)
    right = accuracy(network, test, BATCH)
    export_hdf5(network, path)
    return {
        "accuracy": right,
        "deployed_sparsity": 1 - sum(int(synapses(layer).sum()) for layer in network.layers) / whole,
        "neurons": sum(layer.neuron.shape.numel() for layer in network.layers),
        "spikes": sum(found.spikes),
        "synops": sum(found.operations),
        "layers": asdict(found),
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
    path = work.folder / f"{name.replace(' ', '_')}.net"
    found = measured(network, whole, test, path)
    if name == PRUNED:
        image = test.images[work.seed % len(test)]  # another one in every run
        deployed = run_image(path, network, image)
        with torch.no_grad():
            expected = network.spikes(image[None])[-1][0].cpu().numpy()
        found["lava"] = {
            "sparse_layers": deployed.sparse_layers,
            "sparse_synapses": deployed.sparse_synapses,
            "spikes": int(expected.sum()),
            "differing": float((deployed.spikes != expected).mean()),
        }
    return found


def _trained(settings: Vgg, work: Work, learning: Labelled) -> SpikingVgg:
    """The dense network from which both start; trained once a run."""
    torch.manual_seed(work.seed)
    network = accelerate(SpikingVgg(settings).to(work.device))
    size, lr = settings.batch_size, settings.lr
    work.trained(
        network, lambda: train(network, learning, epochs=settings.epochs, batch_size=size, lr=lr, seed=work.seed)
    )
    return network
