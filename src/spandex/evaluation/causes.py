"""Where a deployed network loses quality against its float version, cause by cause.

On the way from one to the other a single thing changes at a time; what each changes adds up to the difference.
"""

import copy
from collections.abc import Callable

import numpy as np
import torch

from spandex.deploy.codec import NETWORK_DELAY, OUTPUT_GAIN, decode, encode, within_range
from spandex.evaluation.pairs import Clip
from spandex.evaluation.scores import float_audio, si_snr_db
from spandex.evaluation.subject import Subject
from spandex.networks import MaskNetwork
from spandex.networks.hdf5 import MAX_DELAY

CAUSES = ("framing", "delay_clamp", "rounding", "exponents", "output_wrap")


def loss_by_cause(subject: Subject) -> Callable[[Clip], dict[str, float]]:
    """What measures the loss of a network, loaded with its float version, on one clip; for several threads.

    Returns:
        A function that gives what each step from float to fixed point adds to the SI-SNR of a clip, in dB.
        ``framing``: frames that begin in silence instead of a reflection; ``delay_clamp``: delays above 62 steps
        cut to 62; ``rounding``: weighted sums and events as integers; ``exponents``: weights moved up to 8 bits,
        and sums down again; ``output_wrap``: outputs beyond the 24 bits of Loihi 2's state, which wrap: masks of
        the other sign.
    """
    clamped = copy.deepcopy(subject.float_network)
    for block in clamped.blocks:
        if getattr(block, "delay", None) is not None:
            block.delay.delay.data.clamp_(max=MAX_DELAY)
    unscaled = subject.executor.unscaled()

    def measure(clip: Clip) -> dict[str, float]:
        framing = subject.n_fft, subject.hop, subject.lookahead
        inputs, spectrum = encode(clip.noisy, *framing)
        steps = [float_audio(subject.float_network, clip.noisy)]
        for outputs in (
            _float_outputs(subject.float_network, spectrum),
            _float_outputs(clamped, spectrum),
            within_range(unscaled.run(inputs).outputs),
            within_range(deployed := subject.executor.run(inputs).outputs),
            deployed,
        ):
            steps.append(decode(outputs, spectrum, *framing)[: len(clip.noisy)])
        changes = np.diff([si_snr_db(audio, clip.clean) for audio in steps])
        return dict(zip(CAUSES, changes.tolist(), strict=True))

    return measure


def _float_outputs(network: MaskNetwork, spectrum: np.ndarray) -> np.ndarray:
    """Masks of the float network, as late as those of the deployed one and in its units, int32 (bins, steps)."""
    magnitude = torch.from_numpy(np.abs(spectrum).astype(np.float32)).to(next(network.parameters()).device)
    with torch.no_grad():
        mask = network.mask(magnitude[None])[0].cpu().numpy()
    outputs = np.zeros(mask.shape, np.int32)
    outputs[:, NETWORK_DELAY:] = np.rint((mask[:, :-NETWORK_DELAY] - 1) * OUTPUT_GAIN)
    return outputs
