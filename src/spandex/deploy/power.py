"""What a network costs as it would be deployed."""

import warnings
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from spandex.data.audio import SAMPLE_RATE_HZ
from spandex.deploy.codec import encode
from spandex.deploy.executor import Executor
from spandex.errors import SpandexError
from spandex.metrics import power_proxy
from spandex.sparsify import shrink

MOST_CLIPS = 240  # that a network is measured on, the first ones: two hours of audio, in some seconds


class Noisy(Protocol):
    """A clip, such as ``spandex.data.Clip``, with audio (samples,)."""

    noisy: np.ndarray


class DeployedPower:
    """Power proxy of networks on clips: exported, without the neurons that nothing listens to, in fixed point.

    Operations and steps are added up over the clips, at most ``MOST_CLIPS``, so that longer ones count more.
    """

    def __init__(self, clips: Sequence[Noisy]):
        """
        Args:
            clips: noisy audio, read anew for every network.

        Raises:
            SpandexError: there is none.
        """
        if not len(clips):
            raise SpandexError("no clips to count events on: a power budget needs validation clips")
        self._clips = clips
        self._count = min(len(clips), MOST_CLIPS)

    def __call__(self, network: torch.nn.Module) -> float:
        """M-Ops/s of a mask network, deployed count.

        Raises:
            SpandexError: its events cannot be counted: it cannot be exported or run in fixed point.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of delays that Loihi 2 cuts, in every network that is tried
            executor = Executor(shrink(network).cpu())
        inputs = (
            encode(clip.noisy, network.n_fft, network.hop)[0]
            for clip in map(self._clips.__getitem__, range(self._count))
        )
        synops = neuronops = steps = 0
        for run in executor.run_batch(inputs):
            synops += int(run.synops.sum())
            neuronops += run.neuronops
            steps += run.activity[0].steps
        return power_proxy(synops / steps, neuronops / steps, network.hop / SAMPLE_RATE_HZ) / 1e6
