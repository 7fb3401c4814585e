"""Real clips through the chain of Lava processes."""

from pathlib import Path

import numpy as np

from spandex.data import NoisySpeech
from spandex.deploy import Executor, infer
from spandex.deploy.codec import decode, encode
from spandex.errors import SpandexError
from spandex.files import write_json
from spandex.params import Params
from spandex.pipeline.provenance import produced_by


def lava_inference(params: Params, name: str, network_file: Path, clips: Path, output: Path) -> None:
    """Run clips through the chain of Lava processes; what comes out must be what the executor computes, bit for bit.

    Raises:
        SpandexError: it is not, or a file cannot be used.
    """
    deploy = params.deploy
    framing = params.model.n_fft, params.model.hop, params.network(name).lookahead
    samples = round(deploy.clip_s * params.data.sample_rate_hz)
    dataset = NoisySpeech(clips.parent)
    executor = Executor(network_file, deploy.sparsity_map, deploy.density_threshold)
    rows = []
    for index in range(min(deploy.clips, len(dataset))):
        clip = dataset[index]
        noisy, clean = clip.noisy[:samples], clip.clean[:samples]
        (lava,) = infer(
            network_file,
            [(noisy, clean, clip.name)],
            deploy.sparsity_map,
            deploy.density_threshold,
            deploy.run_config,
            hop=params.model.hop,
            fast=True,
            lookahead=framing[-1],
        )
        inputs, spectrum = encode(noisy, *framing)
        executed = decode(executor.run(inputs).outputs, spectrum, *framing)[: len(noisy)]
        if not np.array_equal(lava.denoised, executed):
            raise SpandexError(f"{network_file}: {clip.name}: Lava's output is not that of the executor")
        print(f"{clip.name}: noisy {lava.si_snr_noisy:.2f} dB, Lava {lava.si_snr:.2f} dB, the executor the same bits")
        rows.append(
            {"name": clip.name, "steps": int(lava.steps), "noisy_db": lava.si_snr_noisy, "lava_db": lava.si_snr}
        )
    origin = produced_by([network_file, clips], params)
    write_json(output, {"clips": rows, "sparsity_map": deploy.sparsity_map, "produced_by": origin})
