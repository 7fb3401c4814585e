"""Networks that classify: accuracy and cost as deployed, sample by sample."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from spandex.data.threads import map_in_order
from spandex.deploy.executor import BEYOND, Executor, Run
from spandex.evaluation.summary import CONFIDENCE, summarise
from spandex.metrics.power import power_proxy


def encode_rate(values: np.ndarray, steps: int) -> np.ndarray:
    """Spikes at a rate, evenly spread: after t steps there have been floor(value t + 1/2).

    Args:
        values: 0 to 1, of any shape.
        steps: T.

    Returns:
        0 or 1, int32 (*shape, T).
    """
    fired = np.floor(np.multiply.outer(values.astype(np.float64), np.arange(steps + 1)) + 0.5)
    return np.diff(fired).astype(np.int32)


def latency_steps(executor: Executor) -> int:
    """Steps by which outputs come later than what they answer: one for every layer with synapses."""
    return len(_synaptic(executor))


def sample_scores(
    executor: Executor,
    samples: Iterable[np.ndarray],
    labels: Iterable[int],
    voltage: bool = False,
    workers: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Class and cost of every sample, in order; each starts from the initial state.

    The class is the neuron of the last layer with the largest sum over as many steps as the sample has, the first of
    several. Every layer is looked at in those steps in which the sample is there, one later for every synaptic layer
    before, so that samples could follow each other without a gap.

    Args:
        executor: of the network.
        samples: whole numbers (*input shape, steps).
        labels: of each the class, counted from 0.
        voltage: sum up the last layer's voltage instead of its spikes.
        workers: samples at once, a thread each; one a core if None. They do not change the scores.

    Yields:
        ``label``, ``predicted``, ``accuracy`` (0 or 1), ``deployed_synops_per_step``,
        ``deployed_power_proxy_ops_per_step``, and by synaptic layer ``events_per_step`` and
        ``deployed_layer_synops_per_step``; by layer, the input layer first, what left its range: see ``LayerActivity``.

    Raises:
        SpandexError: a sample does not fit, or the last layer has no voltage.
    """
    synaptic = _synaptic(executor)
    padded = (np.pad(sample, [(0, 0)] * (sample.ndim - 1) + [(0, len(synaptic))]) for sample in samples)
    runs = map_in_order(functools.partial(executor.run, voltage=voltage), padded, workers)
    for label, run in zip(labels, runs, strict=True):
        read = run.voltage if voltage else run.outputs
        predicted = int(read[..., len(synaptic) :].sum(axis=-1, dtype=np.int64).argmax())
        accuracy = {"label": int(label), "predicted": predicted, "accuracy": float(predicted == label)}
        yield accuracy | _cost(run, synaptic)


def summarise_samples(per_sample: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """Summary of ``sample_scores`` as ``summarise`` gives it, with the operations of a sample of so many steps.

    The interval of the accuracy is Wilson's, which has a width even if every sample is right.
    """
    summary = summarise(per_sample)
    right = sum(scores["label"] == scores["predicted"] for scores in per_sample)
    low, high = binomtest(right, len(per_sample)).proportion_ci(CONFIDENCE, method="wilson")
    summary["intervals"]["accuracy"] = [float(low), float(high)]
    return {
        "samples": len(per_sample),
        "events_per_sample": steps * sum(summary["events_per_step"]),
        "deployed_synops_per_sample": steps * summary["deployed_synops_per_step"],
        "deployed_power_proxy_ops_per_sample": steps * summary["deployed_power_proxy_ops_per_step"],
        **summary,
    }


def _synaptic(executor: Executor) -> list[int]:
    """Numbers of the layers with synapses."""
    return [number for number, layer in enumerate(executor.initial_state().layers) if layer.pending is not None]


def _cost(run: Run, synaptic: Sequence[int]) -> dict[str, Any]:
    """What a sample cost; the last layer has no synapses behind it, and the challenge does not count its neurons."""
    steps = run.events.shape[1] - len(synaptic)
    events, synops = (
        [float(counts[layer, late : late + steps].mean()) for late, layer in enumerate(synaptic)]
        for counts in (run.events, run.synops)
    )
    neurons = run.neuronops // run.events.shape[1]
    return {
        "deployed_synops_per_step": sum(synops),
        "deployed_power_proxy_ops_per_step": power_proxy(sum(synops), neurons, hop_s=1),
        "events_per_step": events,
        "deployed_layer_synops_per_step": synops,
        **{name: [layer.beyond[name] for layer in run.activity] for name in BEYOND},
    }
