"""Networks as Lava processes."""

from pathlib import Path

import numpy as np
import torch

from spandex.data import Clip, NoisySpeech
from spandex.deploy import infer
from spandex.files import write_json
from spandex.metrics import si_snr
from spandex.models import SDNN, denoise, export_hdf5, load_state
from spandex.params import Deploy, Params
from spandex.provenance import produced_by
from spandex.steps.common import new_network


def export(params: Params, network_file: Path, output: Path) -> None:
    """Write a network as lava-dl HDF5."""
    network = new_network(params)
    load_state(network, network_file)
    export_hdf5(network, output)


def lava_inference(params: Params, network_file: Path, float_file: Path, clips: Path, output: Path) -> None:
    """Run clips through the Lava chain in fixed point, and the same clips through the float network."""
    float_network = new_network(params)
    load_state(float_network, float_file)
    dataset = NoisySpeech(clips.parent)
    samples = round(params.deploy.clip_s * params.data.sample_rate_hz)
    rows = []
    for index in range(min(params.deploy.clips, len(dataset))):
        row = _compare(params.deploy, network_file, float_network, dataset[index], samples)
        print("{name}: noisy {noisy_db:.2f} dB, Lava {lava_db:.2f} dB, float {float_db:.2f} dB".format(**row))
        rows.append(row)
    write_json(
        output,
        {
            "clips": rows,
            "lava_minus_float_db": float(np.mean([row["lava_db"] - row["float_db"] for row in rows])),
            "sparsity_map": params.deploy.sparsity_map,
            "produced_by": produced_by(params, [network_file, clips]),
        },
    )


def _compare(deploy: Deploy, network_file: Path, float_network: SDNN, clip: Clip, samples: int) -> dict:
    noisy, clean = clip.noisy[:samples], clip.clean[:samples]
    (lava,) = infer(
        network_file,
        [(noisy, clean, clip.name)],
        deploy.sparsity_map,
        deploy.density_threshold,
        deploy.run_config,
    )
    denoised = denoise(float_network, torch.from_numpy(noisy)[None])[0].numpy()
    return {
        "name": clip.name,
        "steps": int(lava.steps),
        "noisy_db": lava.si_snr_noisy,
        "lava_db": lava.si_snr,
        "float_db": float(si_snr(denoised, clean)),
    }
