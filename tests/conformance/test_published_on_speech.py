"""The published networks on speech in noise, through the chain of stock Lava processes once for all comparisons."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from denoising import real_pair
from evaluations import double_si_snr, scores_of
from spandex.deploy import infer
from spandex.deploy.denoise import denoiser
from spandex.deploy.inference import Inference
from spandex.metrics import si_snr
from spandex.networks import denoise, from_hdf5

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*clamped")]


class Chain(NamedTuple):
    """What stock Lava makes of a clip; ``noisy`` and ``clean`` are (samples,)."""

    path: Path
    noisy: np.ndarray
    clean: np.ndarray
    result: Inference


@pytest.fixture(scope="module", params=["baseline", "prune50"])
def chain(request, mirror) -> Chain:
    path = mirror / "ndns" / request.param / "network.net"
    noisy, clean = real_pair(mirror, seconds=1)
    (result,) = infer(path, [(noisy, clean, request.param)], sparsity_map=True)
    return Chain(path, noisy, clean, result)


def test_fixed_point_is_within_a_tenth_of_a_decibel_of_float_on_speech(chain):
    in_float = denoise(from_hdf5(chain.path), torch.from_numpy(chain.noisy)[None])[0].numpy()
    assert chain.result.si_snr > chain.result.si_snr_noisy
    assert chain.result.si_snr == pytest.approx(si_snr(in_float, chain.clean), abs=0.1)
    assert si_snr(chain.result.denoised, in_float) > 40  # dB; a mask one step late leaves about 25


def test_published_networks_score_as_in_the_lava_chain(chain, tmp_path):
    _, scores = scores_of(chain.path, chain.noisy, chain.clean, tmp_path, with_float=True)
    assert scores["si_snr_db"] == double_si_snr(chain.result.denoised, chain.clean)
    assert scores["fixed_minus_float_db"] == pytest.approx(0, abs=0.05)


def test_events_give_the_bits_of_the_lava_chain_on_speech(chain):
    denoised = denoiser(chain.path, sparsity_map=True).denoise(chain.noisy)
    assert np.array_equal(denoised, chain.result.denoised)
    assert chain.result.si_snr > chain.result.si_snr_noisy + 1
