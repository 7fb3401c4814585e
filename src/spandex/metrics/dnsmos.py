"""DNSMOS (P.835): predicted mean opinion scores of denoised speech, overall, signal and background.

The network is the one that the package ``speechmos`` ships (sig_bak_ovr.onnx); it hears 9.01 s at a time, in
hops of one second. Nine tenths of what it computes for one hop it computes again for the next, so here
the spectrum and the convolutions below the last two run once over the whole clip: a hop is 100 frames, which
its two first poolings divide. What zero padding changes at the ends of a segment is computed a segment. Behind a relu
nine tenths of the pixels are zero, which the three dearest convolutions leave out, but for those on a GPU. A thread
works on a chunk of the clip or a segment by itself, so that none waits for another at every layer.

Source: Reddy, Gopal, Cutler, "DNSMOS P.835", ICASSP 2022; hops and polynomials as in dnsmos.py of
IntelLabs/IntelNeuromorphicDNSChallenge and of speechmos.
"""

import contextlib
import importlib.util
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows
from onnxruntime.tools.ort_format_model.ort_flatbuffers_py.fbs import InferenceSession as OrtFormat

from spandex.metrics.sparse_convolution import relu_convolve, row_weights

SAMPLE_RATE_HZ = 16000
SEGMENT_S = 9.01
SEGMENT_SAMPLES = 144160  # SEGMENT_S at 16 kHz
FRAME_SAMPLES, FRAME_HOP_SAMPLES = 320, 160
SEGMENT_FRAMES = 900
HOP_FRAMES = 100
POOLING = 4  # frames a column of the trunk's output: two poolings by two
EDGE_COLUMNS = 2  # columns that a cut or a zero padding reaches: four 3x3 convolutions, pooling, another
EDGE_FRAMES = 2 * EDGE_COLUMNS * POOLING  # fewest frames that leave EDGE_COLUMNS untouched by their other end
CHUNK_FRAMES = 112  # of the trunk, and 16 of overlap; activations of two chunks fit a third-level cache of 32 MB

# from raw score to MOS: quadratic, linear, constant term (challenge's dnsmos.py: get_polyfit_val)
POLYNOMIALS = {
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
    "sig": (-0.08397278, 1.22083953, 0.00524390),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
}
RAW_ORDER = ("sig", "bak", "ovrl")

Hops = Literal["challenge", "all"]


class DnsmosScore(NamedTuple):
    """Mean opinion scores, 1 (bad) to 5 (excellent)."""

    ovrl: float
    sig: float
    bak: float


class Dnsmos:
    """Scores clips; loads the network once.

    Args:
        threads: that one call uses; torch's own number if None. They do not change the scores.
        device: where the network runs.
    """

    def __init__(self, threads: int | None = None, device: torch.device | str = "cpu"):
        self.threads = threads
        self.device = torch.device(device)
        weights = {name: tensor.to(self.device) for name, tensor in _onnx_weights(model_path()).items()}
        self._fourier = torch.cat([weights["time2freq/stft-real/kernel:0"], weights["time2freq/stft-imag/kernel:0"]])
        self._fourier = self._fourier[:, :, 0].T.contiguous()
        self._power_floor = weights["mos_estimator_logpow/Maximum/x:0"]
        self._log_base = weights["mos_estimator_logpow/truediv/y:0"]
        self._convolutions = [
            (weights[f"{name}/kernel:0"].to(memory_format=torch.channels_last), weights[f"{name}/bias:0"])
            for name in ("conv2d", *(f"conv2d_{i}" for i in range(1, 7)))
        ]
        on_cpu = self._convolutions[1:4] if self.device.type == "cpu" else []
        self._sparse = [(row_weights(weight.numpy()), bias.numpy()) for weight, bias in on_cpu]
        resource = "mos_estimator_logpow/{}/{}/ReadVariableOp/resource:0"
        self._dense = [
            (weights[resource.format(name, "MatMul")].T, weights[resource.format(name, "BiasAdd")])
            for name in ("dense", "dense_1", "dense_3")
        ]

    def score(self, audio: np.ndarray, hops: Hops = "challenge") -> DnsmosScore:
        """Mean score of a clip over one-second hops; computes those alone. Of both kinds: ``mean_score``."""
        return DnsmosScore(*self.hop_scores(audio, hops).mean(axis=0).tolist())

    def hop_scores(self, audio: np.ndarray, hops: Hops = "challenge") -> np.ndarray:
        """Scores of hops, (hops, 3) in the order of ``DnsmosScore``.

        Args:
            audio: (samples,), 16 kHz, in [-1, 1]; repeated until it lasts 9.01 s.
            hops: the ``challenge_hops``, 7 in a clip of 30 s, or ``all`` that fit, 21.

        Raises:
            ValueError: the audio is empty, not one-dimensional, or not finite.
        """
        audio = np.asarray(audio, dtype=np.float32)
        if audio.ndim != 1 or audio.size == 0 or not np.isfinite(audio).all():
            raise ValueError(f"DNSMOS needs finite audio of shape (samples,), got shape {audio.shape}")
        while len(audio) < SEGMENT_SAMPLES:
            audio = np.append(audio, audio)
        count = int(len(audio) // SAMPLE_RATE_HZ - SEGMENT_S) + 1
        scored = np.arange(count) if hops == "all" else challenge_hops(count)
        audio = audio[: scored[-1] * SAMPLE_RATE_HZ + SEGMENT_SAMPLES]
        raw = self._raw_scores(torch.from_numpy(audio).to(self.device), scored).double().cpu().numpy()
        columns = {name: np.polyval(POLYNOMIALS[name], raw[:, i]) for i, name in enumerate(RAW_ORDER)}
        return np.stack([columns[name] for name in DnsmosScore._fields], axis=1)

    def _raw_scores(self, audio: torch.Tensor, hops: np.ndarray) -> torch.Tensor:
        """The network's outputs (hops, 3) at these hops."""
        threads = self.threads or torch.get_num_threads()
        with one_thread_an_operation(), ThreadPoolExecutor(threads) as pool:
            frames = self._log_power(audio)
            chunks = pool.map(partial(self._inner_columns, frames), range(0, len(frames), CHUNK_FRAMES))
            inner = torch.cat(list(chunks), dim=1)
            return torch.cat(list(pool.map(partial(self._raw_score, frames, inner), hops.tolist())))

    def _log_power(self, audio: torch.Tensor) -> torch.Tensor:
        """Logarithmic power spectrum, (frames, 161)."""
        real, imaginary = (audio.unfold(0, FRAME_SAMPLES, FRAME_HOP_SAMPLES) @ self._fourier).chunk(2, dim=1)
        power = real.square() + imaginary.square()
        return torch.log(torch.maximum(power, self._power_floor)) / self._log_base

    def _inner_columns(self, frames: torch.Tensor, start: int) -> torch.Tensor:
        """Columns of the CHUNK_FRAMES frames from ``start``, as if the trunk ran on all frames at once."""
        first = max(start - EDGE_COLUMNS * POOLING, 0)
        columns = self._trunk(frames[None, first : start + CHUNK_FRAMES + EDGE_COLUMNS * POOLING])[0]
        skipped = (start - first) // POOLING
        return columns[:, skipped : skipped + CHUNK_FRAMES // POOLING]

    def _raw_score(self, frames: torch.Tensor, inner: torch.Tensor, hop: int) -> torch.Tensor:
        """The network's outputs (1, 3) for one segment, whose inner columns are among (32, columns, 40)."""
        segment = frames[hop * HOP_FRAMES :][:SEGMENT_FRAMES]
        first, last = self._trunk(torch.stack([segment[:EDGE_FRAMES], segment[-EDGE_FRAMES:]]))
        inner = inner[:, hop * HOP_FRAMES // POOLING :][:, EDGE_COLUMNS : SEGMENT_FRAMES // POOLING - EDGE_COLUMNS]
        return self._head(torch.cat([first[:, :EDGE_COLUMNS], inner, last[:, -EDGE_COLUMNS:]], dim=1)[None])

    def _trunk(self, frames: torch.Tensor) -> torch.Tensor:
        """The first five convolutions: (batch, frames, 161) to (batch, 32, frames // 4, 40)."""
        x = self._convolve(frames[:, None].contiguous(memory_format=torch.channels_last), 0)
        x = self._middle(x) if self._sparse else self._convolve(self._convolve(self._convolve(x, 1), 2), 3)
        return F.max_pool2d(self._convolve(F.max_pool2d(x, 2), 4), 2)

    def _middle(self, x: torch.Tensor) -> torch.Tensor:
        """The second to the fourth convolution, of what is not zero."""
        images = x.permute(0, 2, 3, 1).numpy()
        for weights, bias in self._sparse:
            images = relu_convolve(images, weights, bias)
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def _head(self, x: torch.Tensor) -> torch.Tensor:
        """The last two convolutions and the dense layers: (batch, 32, 225, 40) to (batch, 3)."""
        x = self._convolve(F.max_pool2d(self._convolve(x, 5), 2), 6).amax(dim=(2, 3))
        for weight, bias in self._dense[:-1]:
            x = F.relu(F.linear(x, weight, bias))
        return F.linear(x, *self._dense[-1])

    def _convolve(self, x: torch.Tensor, i: int) -> torch.Tensor:
        return F.relu_(F.conv2d(x, *self._convolutions[i], padding=1))


def challenge_hops(count: int) -> np.ndarray:
    """The hops, of the first ``count``, that the challenge's dnsmos.py scores, and speechmos too: those of every MOS
    that was published for the challenge.

    Both cut a hop at ``int((hop + 9.01) * 16000)``, in floating point, and skip it if that makes it one sample short,
    as it does for hops 7 to 23: 7 of the 21 hops of a clip of 30 s are left.
    """
    hops = np.arange(count)
    ends = ((hops + SEGMENT_S) * SAMPLE_RATE_HZ).astype(int)
    return hops[ends - hops * SAMPLE_RATE_HZ >= SEGMENT_SAMPLES]


def mean_score(hop_scores: np.ndarray, hops: Hops = "challenge") -> DnsmosScore:
    """Mean of the scores of all hops (hops, 3), or of the ``challenge_hops`` among them."""
    if hops == "challenge":
        hop_scores = hop_scores[challenge_hops(len(hop_scores))]
    return DnsmosScore(*hop_scores.mean(axis=0).tolist())


def model_path() -> Path:
    """The DNSMOS P.835 network inside the installed package speechmos."""
    package = importlib.util.find_spec("speechmos")
    return Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"


def _onnx_weights(path: Path) -> dict[str, torch.Tensor]:
    """Floating-point initialisers of an ONNX model by name, read through onnxruntime's own flat format."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "model.ort"
        options.optimized_model_filepath = str(converted)
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        content = converted.read_bytes()
    graph = OrtFormat.InferenceSession.GetRootAs(content, 0).Model().Graph()
    tensors = [graph.Initializers(i) for i in range(graph.InitializersLength())]
    return {
        tensor.Name().decode(): torch.from_numpy(
            tensor.RawDataAsNumpy().view("<f4").reshape([tensor.Dims(i) for i in range(tensor.DimsLength())]).copy()
        )
        for tensor in tensors
        if tensor.DataType() == 1  # FLOAT
    }


@contextlib.contextmanager
def one_thread_an_operation() -> Iterator[None]:
    """Of torch, in this thread and in those started inside."""
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(previous)
