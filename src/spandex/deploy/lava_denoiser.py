"""Denoising by the chain of Lava processes, in blocks.

::

    feed -audio-> encoder -----encoded----> network -----> decoder -denoised-> outlet
                     |                                        |
                     `-----spectrum-----> delay (1 step) -----'
"""

import os
from collections.abc import Iterable, Iterator

import numpy as np
from lava.magma.core.run_configs import Loihi2SimCfg

from spandex.deploy.codec import delay_steps, hop_by_hop, mask_steps
from spandex.deploy.denoise import Denoiser, warn_of_wrapped_masks
from spandex.deploy.execution import execution, processes_forgotten
from spandex.deploy.inference import network_framing
from spandex.deploy.lava_models import FAST_MODELS
from spandex.deploy.netx import Network
from spandex.deploy.processes import Decoder, Delay, Encoder, Feed, Outlet
from spandex.deploy.sparsity_map import SparsityMap
from spandex.params.section import DENSITY_THRESHOLD

HOPS_AT_ONCE = 128  # that wait in the channels to and from Lava


class LavaDenoiser(Denoiser):
    """Denoises with the chain of Lava processes, synapses by ``spandex.deploy.lava_models``; see ``denoiser``."""

    concurrent = False  # Lava makes operating system processes of its own

    def __init__(
        self,
        path: str | os.PathLike,
        sparsity_map: SparsityMap = "auto",
        density_threshold: float = DENSITY_THRESHOLD,
        lookahead: int = 0,
    ):
        self._network = path, sparsity_map, density_threshold
        with processes_forgotten():
            self.n_fft, self.hop = network_framing(Network(*self._network))  # refused here rather than with a clip
        self.delay = delay_steps(self.n_fft, self.hop, lookahead) * self.hop
        self._mask_steps = mask_steps(lookahead)

    def blocks(self, audio: Iterable[np.ndarray], name: str | os.PathLike = "audio") -> Iterator[np.ndarray]:
        """See ``Denoiser``. Warns of wrapped masks at the end."""
        with processes_forgotten():
            feed, decoder, outlet = self._chain()
        with execution(feed, Loihi2SimCfg(select_tag="fixed_pt", exception_proc_model_map=FAST_MODELS)) as run:

            def process(hops: np.ndarray) -> np.ndarray:
                parts = hops.reshape(-1, self.hop)
                feed.send(parts)
                run.steps(len(parts))
                return outlet.receive(len(parts)).astype(np.float32)

            yield from hop_by_hop(process, audio, self.hop, self.delay, HOPS_AT_ONCE, name)
            wrapped = int(decoder.wrapped_outputs.get()[0])
        if wrapped:
            warn_of_wrapped_masks(name)

    def _chain(self) -> tuple[Feed, Decoder, Outlet]:
        network = Network(*self._network)
        feed, encoder = Feed(self.hop, HOPS_AT_ONCE), Encoder(self.n_fft, self.hop)
        delay = Delay(encoder.spectrum_out.shape, self._mask_steps)
        decoder, outlet = Decoder(self.n_fft, self.hop), Outlet(self.hop, HOPS_AT_ONCE)
        feed.audio_out.connect(encoder.audio_in)
        encoder.spectrum_out.connect(delay.data_in)
        delay.data_out.connect(decoder.spectrum_in)
        encoder.encoded_out.connect(network.in_layer.neuron.a_in)
        network.out.connect(decoder.output_in)
        decoder.audio_out.connect(outlet.audio_in)
        return feed, decoder, outlet
