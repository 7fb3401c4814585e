"""Structured pruning: whole neurons of the hidden layers go, and ``shrink`` takes them out of the network."""

from collections.abc import Callable
from itertools import pairwise

import torch

from spandex.errors import SpandexError
from spandex.metrics.weights import nonzero
from spandex.sparsify.chain import chain, clear_shifts, ends
from spandex.sparsify.masked import MaskedWeights
from spandex.sparsify.pruner import groups, share
from spandex.sparsify.schedule import Schedule
from spandex.sparsify.smallest import magnitude
from spandex.sparsify.weights import Layers, choose_layers

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def incoming_norm(incoming: torch.Tensor, outgoing: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of each neuron's incoming weights.

    Source: He et al., "Soft filter pruning for accelerating deep convolutional neural networks", 2018; Li et al.,
    "Pruning filters for efficient convnets", 2017, take the sum of magnitudes.

    Args:
        incoming: weights into each neuron, (neurons, weights).
        outgoing: weights to which each neuron goes, (neurons, weights).

    Returns:
        Scores (neurons,), at least 0; the lowest go first.
    """
    return incoming.norm(dim=1)


class NeuronPruner(MaskedWeights):
    """Prunes whole neurons of the hidden layers while a network trains.

        pruner = NeuronPruner(network, Cubic(0.5, steps=2000))
        for batch in batches:
            ...
            optimizer.step()
            pruner.step()
        pruner.remove()
        small = shrink(network)

    Of a pruned neuron all incoming and outgoing weights, the bias and the mean of its normalisation are zero: it has
    no say in the output, and where the activation of zero is zero, as relu's is, it sends no events once its state has
    run out. A neuron is a neuron of a dense or recurrent block or an output channel of a convolution block; the neurons
    of the last block stay, and one in each block. Recurrent weights are both incoming and outgoing ones.

    Sparsity in the schedule is the share of hidden neurons. Blocks must feed one another in the order in which the
    network registers them.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        schedule: Schedule,
        *,
        score: Score = incoming_norm,
        scope: str = "global",
        layers: Layers | None = None,
    ):
        """
        Args:
            network: a network of lava-dl dense, recurrent, convolution, affine and output blocks.
            schedule: how many of the hidden neurons, when. It starts at the share whose incoming weights are all zero
                (``spandex.metrics.weights``) if that is more than its ``initial``.
            score: importance of each neuron, at least 0, as ``incoming_norm``.
            scope: "global": neurons of all layers compete, by scores in units of the root mean square score of their
                layer (after Molchanov et al., "Pruning convolutional neural networks for resource efficient
                inference", 2017, who take the norm); "layer": each layer loses the same share.
            layers: which hidden layers, as for ``Pruner``; all if not given.

        Raises:
            SpandexError: the network has no hidden layer, is not such a chain of blocks, is sparser than the target
                already, or the target leaves no neuron in a layer.
        """
        self._links = chain(network)
        hidden = {link.name: link for link in self._links[:-1]}
        if not hidden:
            raise SpandexError(f"{type(network).__name__}: no hidden layer whose neurons could go")
        names = choose_layers(list(hidden), layers)
        self.score = score
        self.scope = scope
        self._groups = groups(names, scope)
        for group, members in self._groups.items():
            neurons = sum(hidden[name].neurons for name in members)
            if round(schedule.target * neurons) > neurons - len(members):
                raise SpandexError(
                    f"target share {schedule.target:g} of {neurons} neurons: each layer of {group} keeps one"
                )
        weights = {name: weight for link in self._links for name, weight in link.weights.items()}
        present = {name: nonzero(weight.value()) for name, weight in weights.items()}
        idle = {name: ~hidden[name].per_neuron(present).any(dim=1) for name in names}
        super().__init__(
            weights,
            schedule,
            {group: share(idle, members) for group, members in self._groups.items()},
        )

    def __repr__(self) -> str:
        score = getattr(self.score, "__qualname__", None) or repr(self.score)
        layers = [name for names in self._groups.values() for name in names]
        return self._describe(score=score, scope=self.scope, layers=layers)

    @property
    def neurons(self) -> dict[str, torch.Tensor]:
        """Boolean tensors (neurons,) by hidden layer; False: pruned."""
        return {link.name: link.per_neuron(self.masks).any(dim=1) for link in self._links[:-1]}

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """Masks of the rows and columns of the neurons with the lowest scores."""
        keep = self.neurons
        scores = self._scores(keep)
        for names in self._groups.values():
            keep |= magnitude({n: scores[n] for n in names}, {n: keep[n] for n in names}, sparsity)
        masks = {}
        for link, (neurons, inputs) in zip(self._links, ends(self._links, keep), strict=True):
            masks |= link.masks(neurons, inputs)
        return masks

    def _scores(self, keep: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        values = self.values()
        scores = {}
        for link, following in pairwise(self._links):
            kept = keep[link.name]
            score = self.score(link.per_neuron(values), link.per_sender(values, following))
            mean_square = score[kept].square().mean() if self.scope == "global" else score.new_zeros(())
            score = score / mean_square.sqrt() if mean_square > 0 else score.clone()
            # One neuron stays: a layer of none would cut the network.
            score[score.masked_fill(~kept, -1).argmax()] = torch.inf
            scores[link.name] = score
        return scores

    def _hold(self) -> None:
        super()._hold()
        clear_shifts(self._links, self.masks)
