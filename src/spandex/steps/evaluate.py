"""Quality, operations, latency and size."""

from pathlib import Path

import torch
from tqdm import tqdm

from spandex import metrics
from spandex.data import NoisySpeech
from spandex.files import read_json, write_json
from spandex.kernels import accelerate
from spandex.models import istft, load_state, stft
from spandex.params import Params
from spandex.provenance import produced_by
from spandex.steps.common import new_network


def evaluate_noisy(params: Params, clips: Path, output: Path) -> None:
    """Score the untouched test clips."""
    dataset = NoisySpeech(clips.parent)
    torch.set_num_threads(params.threads)
    with tqdm(total=len(dataset), desc="noisy", unit=" clips", disable=None) as bar:
        scores = metrics.evaluate_noisy(
            dataset, _dnsmos(params), params.model.n_fft, params.model.hop, progress=bar.update
        )
    write_json(output, scores | {"produced_by": produced_by(params, [clips])})
    print(f"noisy: SI-SNR {scores['si_snr_db']:.2f} dB on {scores['clips']} clips")


def evaluate_network(
    params: Params, model: str, network_file: Path, float_file: Path, clips: Path, noisy: Path, output: Path
) -> None:
    """Score one network on all test clips."""
    network = new_network(params)
    load_state(network, float_file)
    dataset = NoisySpeech(clips.parent)
    torch.set_num_threads(params.threads)
    with tqdm(total=len(dataset), desc=model, unit=" clips", disable=None) as bar:
        scores = metrics.evaluate_network(
            model,
            accelerate(network),
            network_file,
            dataset,
            read_json(noisy),
            _dnsmos(params),
            progress=bar.update,
        )
    write_json(output, scores | {"produced_by": produced_by(params, [network_file, clips])})
    print(f"{model}: SI-SNR {scores['si_snr_db']:.2f} dB on {scores['clips']} clips")


def latency(params: Params, clips: Path, output: Path) -> None:
    """Measure encoder and decoder on one clip."""
    n_fft, hop = params.model.n_fft, params.model.hop

    def encode_and_decode(audio):
        return istft(*stft(torch.from_numpy(audio)[None], n_fft, hop), len(audio), n_fft, hop)

    seconds = metrics.codec_latency_s(encode_and_decode, NoisySpeech(clips.parent)[0].noisy, hop)
    write_json(output, {"latency_enc_dec_ms": 1e3 * seconds, "produced_by": produced_by(params, [clips])})


def _dnsmos(params: Params) -> metrics.Dnsmos | None:
    return metrics.Dnsmos(threads=params.threads) if params.evaluate.mos else None
