"""Pruning by how noise spreads in a network: once, at random, with probabilities that keep what matters to it.

Source: the synapse rule of Chakraborty, Kang, Kumar and Mukhopadhyay, "Sparse spiking neural network: exploiting
heterogeneity in timescales for pruning recurrent SNN", ICLR 2024, after Moore and Chaudhuri, "Using noise to probe
recurrent neural network structure and prune synapses", NeurIPS 2020; see ``spandex.sparsify.noise_rule``. Their
Lyapunov exponents, betweenness and time constants say nothing of a feed-forward network; see
docs/explanation/lyapunov_pruning.md.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from spandex.errors import SpandexError
from spandex.metrics.weights import nonzero
from spandex.sparsify import noise_rule
from spandex.sparsify.chain import Link, chain
from spandex.sparsify.masked import MaskedWeights
from spandex.sparsify.pruner import share
from spandex.sparsify.schedule import OneShot


class NoisePruner(MaskedWeights):
    """Draws the weights to keep at its first step, divides them by their probabilities, and holds the rest at zero.

        pruner = NoisePruner(network, 0.75)
        for batch in batches:
            ...
            optimizer.step()
            pruner.step()

    The network is taken as dx/dt = -x + W x + noise over its inputs and all its neurons, W from its float weights.
    Activations, delays and thresholds do not count. All layers compete.
    """

    def __init__(self, network: torch.nn.Module, target: float, *, gain_limit: float = 4.0, seed: int = 0):
        """
        Args:
            network: a network of real-valued lava-dl dense blocks that feed one another in the order in which the
                network registers them.
            target: share of its weights that go, exactly up to one weight.
            gain_limit: largest factor on a kept weight. Without a limit the pruned weights are the original ones on
                average; but the few that are kept in spite of a low probability become large, and 8-bit weights have
                one step for all of a layer.
            seed: of the draw.

        Raises:
            SpandexError: the network is no such chain or is sparser than the target already, or a number is
                impossible.
        """
        if gain_limit < 1:
            raise SpandexError(f"gain_limit {gain_limit:g}: kept weights cannot be weakened, it must be at least 1")
        self._links = _dense_chain(network)
        self.gain_limit = gain_limit
        self.seed = seed
        self._drawn: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]] | None = None  # masks and gains
        weights = {name: weight for link in self._links for name, weight in link.weights.items()}
        zero = {name: ~nonzero(weight.value()) for name, weight in weights.items()}
        super().__init__(weights, OneShot(target, steps=0), {"the network": share(zero, zero)})

    def __repr__(self) -> str:
        return self._describe(gain_limit=self.gain_limit, seed=self.seed, layers=list(self.masks))

    def choose(self, sparsity: float) -> dict[str, torch.Tensor]:
        """A sample of the weights; what they are to be multiplied by waits until these masks are taken."""
        values = self.values()
        flat = [link.per_neuron(values).double().cpu().numpy() for link in self._links]
        total = sum(weight.size for weight in flat)
        scores = np.concatenate([score.ravel() for score in chain_importance(flat)])
        probabilities = noise_rule.keep_probabilities(scores, total - round(sparsity * total))
        kept = noise_rule.draw(probabilities, np.random.default_rng(self.seed))
        gains = np.minimum(1 / np.where(kept, probabilities, 1.0), self.gain_limit)
        ends = np.cumsum([weight.size for weight in flat])[:-1]
        masks, factors = {}, {}
        for link, mask, gain in zip(self._links, np.split(kept, ends), np.split(gains, ends), strict=True):
            value = values[link.name]
            masks[link.name] = torch.as_tensor(mask, device=value.device).reshape(value.shape)
            factors[link.name] = torch.as_tensor(gain, dtype=value.dtype, device=value.device).reshape(value.shape)
        self._drawn = masks, factors
        return masks

    def _hold(self) -> None:
        super()._hold()
        if self._drawn is not None and self._drawn[0] is self.masks:
            for name, factor in self._drawn[1].items():
                self._weights[name].scale(factor)
            self._drawn = None


def chain_importance(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Importance of every weight of layers that feed one another, see ``noise_rule.importance``.

    Each node counts in units of its own standard deviation, w_ij sd_j / sd_i and correlations in place of w_ij and C:
    a neuron whose incoming weights are doubled and whose outgoing ones are halved does the same, and its weights stay
    as important. In common units fluctuations that grow from layer to layer would take the first layer's weights.

    Args:
        weights: (neurons, inputs) of each layer; the inputs of the first are nodes with noise as well.

    Returns:
        One array a layer, of its shape.
    """
    covariance = chain_covariance(weights)
    deviations = [np.sqrt(np.diag(covariance[layer, layer])) for layer in range(len(weights) + 1)]
    found = []
    for layer, weight in enumerate(weights):
        before, after = deviations[layer], deviations[layer + 1]
        correlation = covariance[layer + 1, layer] / np.outer(after, before)
        scaled = weight * np.outer(1 / after, before)
        found.append(noise_rule.importance(scaled, np.ones(len(after)), np.ones(len(before)), correlation))
    return found


def chain_covariance(weights: Sequence[np.ndarray]) -> dict[tuple[int, int], np.ndarray]:
    """Stationary covariance of dx/dt = -x + W x + noise of unit variance, W the layers' weights below the diagonal.

    A network without loops lets the Lyapunov equation be solved block by block,

        2 C_kl = [k = l] 1 + W_k C_(k-1)l + C_k(l-1) W_l' ,

    where blocks before the first are zero; it is stable whatever the weights.

    Args:
        weights: (neurons, inputs) of each layer.

    Returns:
        C_kl by (k, l) with k at least l, counted from 0, the inputs.
    """
    sizes = [weights[0].shape[1], *(weight.shape[0] for weight in weights)]
    found: dict[tuple[int, int], np.ndarray] = {}
    for row, size in enumerate(sizes):
        for column in range(row + 1):
            block = np.eye(size) if row == column else np.zeros((size, sizes[column]))
            if row:
                above = found[row - 1, column] if column < row else found[row, row - 1].T
                block = block + weights[row - 1] @ above
            if column:
                block = block + found[row, column - 1] @ weights[column - 1].T
            found[row, column] = block / 2
    return found


def _dense_chain(network: torch.nn.Module) -> list[Link]:
    links = chain(network)
    for link in links:
        if len(link.weights) > 1 or any(size != 1 for size in link.synapse.weight.shape[2:]):
            raise SpandexError(
                f"{link.name}: noise pruning takes dense layers, neither recurrent or complex ones nor convolutions"
            )
    for before, link in pairwise(links):
        if link.inputs != before.neurons:
            raise SpandexError(f"{link.name}: noise pruning takes layers that feed one another directly")
    return links
