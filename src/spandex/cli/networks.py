"""Commands for one's own networks: look at them, run them, denoise with them, judge them."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spandex.cli.application import command, params_of
from spandex.params.section import DENSITY_THRESHOLD, MOST_THREADS

network = command("Networks")


class Backend(StrEnum):
    EVENTS = "events"
    LAVA = "lava"
    TORCH = "torch"


class ExactBackend(StrEnum):
    EVENTS = "events"
    LAVA = "lava"


class Benchmark(StrEnum):
    INFERENCE = "inference"
    TRAINING = "training"
    DNSMOS = "dnsmos"
    SYNTHESIS = "synthesis"
    LOADER = "loader"
    COST = "cost"


Net = Annotated[Path, typer.Argument(metavar="NET", help="Network as lava-dl exports it (HDF5).")]
SparsityMap = Annotated[
    str,
    typer.Option(help="Which layers get sparse synapses: auto, sparse, dense, a list as 1,0,1, or pairs as 1:1,3:0."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Files or clips at once; one a core if not given.")
]
DensityThreshold = Annotated[float, typer.Option(help="Largest density that the map auto makes sparse.")]


@network
def info(
    net: Net,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output.")] = False,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
) -> None:
    """Layers, sparsity, delays and size of a network as Lava deploys it.

    \b
    Examples:
      spandex info network.net
      spandex info network.net --json --sparsity-map 1,1,0
    """
    from spandex.steps import info as steps

    steps.info(net, as_json, sparsity_map, density_threshold)


@network
def run(
    net: Net,
    inputs: Annotated[Path, typer.Option("--input", help="NumPy file, whole numbers (inputs, steps).")],
    output: Annotated[Path, typer.Option(help="NumPy file to write, int32 (outputs, steps).")],
    backend: Annotated[ExactBackend, typer.Option(help="The exact executor, or Lava itself.")] = ExactBackend.EVENTS,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
    input_message_bits: Annotated[
        int | None,
        typer.Option(min=0, max=32, help="Of what arrives at a network without an input layer; 0 for spikes."),
    ] = None,
) -> None:
    """Run a network in Lava's fixed-point arithmetic; the layers' latency stays in the output.

    \b
    Examples:
      spandex run network.net --input X.npy --output Y.npy
      spandex run network.net --input X.npy --output Y.npy --backend lava
      spandex run network.net --input X.npy --output Y.npy --sparsity-map 1,1,0
    """
    from spandex.steps import run as steps

    steps.run(net, inputs, output, backend.value, sparsity_map, density_threshold, input_message_bits)


@network
def denoise(
    net: Annotated[Path, typer.Option(help="Network as lava-dl exports it (HDF5).")],
    inputs: Annotated[Path | None, typer.Argument(metavar="IN", help="Audio file or folder of them.")] = None,
    output: Annotated[Path | None, typer.Argument(metavar="OUT", help="File or folder to write.")] = None,
    backend: Annotated[
        Backend, typer.Option(help="The exact executor, Lava itself, or the float network.")
    ] = Backend.EVENTS,
    stream: Annotated[
        bool, typer.Option("--stream", help="Raw 16 kHz 16-bit mono from stdin to stdout, 32 ms late.")
    ] = False,
    workers: Workers = None,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
) -> None:
    """Denoise audio: WAV, FLAC or OGG of any rate, number of channels and length, which come out as they went in.

    \b
    Examples:
      spandex denoise noisy.wav denoised.wav --net network.net
      spandex denoise recordings/ denoised/ --net network.net --backend torch
      arecord -t raw -f S16_LE -r 16000 -c 1 |
        spandex denoise --stream --net network.net |
        aplay -t raw -f S16_LE -r 16000 -c 1
    """
    from spandex.steps import denoise as steps

    if stream:
        if inputs is not None or backend is not Backend.EVENTS:
            raise typer.BadParameter("--stream reads standard input and uses the backend events")
        steps.denoise_stream(net, sparsity_map, density_threshold)
        return
    if inputs is None or output is None:
        raise typer.BadParameter("IN and OUT are needed, or --stream")
    steps.denoise(inputs, output, net, backend.value, sparsity_map, density_threshold, workers)


@network
def evaluate(
    context: typer.Context,
    noisy: Annotated[Path, typer.Option(help="Folder of noisy clips.")],
    clean: Annotated[Path, typer.Option(help="Folder of their clean speech, paired by fileid_N or by name.")],
    output: Annotated[Path, typer.Option("--json", help="File to write.")],
    net: Annotated[list[Path] | None, typer.Option(help="Network (HDF5), or NAME=NETWORK; any number.")] = None,
    more: Annotated[list[Path] | None, typer.Argument(metavar="NET", help="More networks.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Name of each network, in order.")] = None,
    mos: Annotated[bool, typer.Option("--mos/--no-mos", help="DNSMOS, which takes most of the time.")] = True,
    with_float: Annotated[bool, typer.Option("--float", help="Judge the float networks beside the deployed.")] = False,
    float_net: Annotated[
        list[Path] | None, typer.Option(help="State dict of each float network; from the HDF5 if not given.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="JSON of an evaluation on the same clips: scores of noisy and clean audio.")
    ] = None,
    workers: Workers = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Samples a step; a quarter of a frame if not given.")] = None,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
    shard: Annotated[
        str | None,
        typer.Option(help="Score only this share of the clips, such as 3-of-16, for the same command without it."),
    ] = None,
    pipeline: Annotated[
        bool, typer.Option("--pipeline", hidden=True, help="Record params.yaml as the origin.")
    ] = False,
) -> None:
    """Quality and cost of deployed networks on folders of clips, with 95 % intervals. Goes on where it was stopped.

    \b
    Examples:
      spandex evaluate --net a.net --noisy noisy --clean clean --json a.json
      spandex evaluate --net a.net b.net --noisy noisy --clean clean --json b.json
      spandex evaluate --net dense=a.net --noisy noisy --clean clean --json c.json
    """
    from spandex.data.shards import Shard
    from spandex.steps import evaluate as steps

    if more and net and len(net) > 1:
        raise typer.BadParameter("give all networks after one --net, or each after a --net of its own")
    names, nets = _named([*(net or []), *(more or [])], name)
    steps.evaluate(
        nets,
        noisy,
        clean,
        output,
        names=names,
        mos=mos,
        with_float=with_float or bool(float_net),
        float_nets=float_net or None,
        inputs=inputs,
        workers=workers,
        hop=hop,
        sparsity_map=sparsity_map,
        density_threshold=density_threshold,
        params=params_of(context) if pipeline else None,
        shard=Shard.parse(shard) if shard else None,
    )


@network
def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of denoised clips, 16 kHz mono.")],
    clean: Annotated[Path, typer.Option(help="Folder of their clean speech, paired by fileid_N or by name.")],
    noisy: Annotated[Path | None, typer.Option(help="Folder of the noisy clips, for improvements.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
    name: Annotated[str | None, typer.Option(help="The folder's if not given.")] = None,
    align: Annotated[bool, typer.Option("--align", help="Take a lag away before SI-SNR.")] = False,
    mos: Annotated[bool, typer.Option("--mos/--no-mos", help="DNSMOS, which takes most of the time.")] = True,
    workers: Workers = None,
) -> None:
    """Quality of clips that anything has denoised, with the table's metrics; the files are taken as they are.

    \b
    Examples:
      spandex score denoised --clean clean
      spandex score denoised --clean clean --noisy noisy --json denoised.json
    """
    from spandex.steps import score as steps

    steps.score(folder, clean, noisy, output, name=name, align=align, mos=mos, workers=workers)


def _named(nets: list[Path], names: list[str] | None) -> tuple[list[str] | None, list[Path]]:
    """The names and files of networks given as files or as NAME=FILE; None if there are no names."""
    pairs = [(None, net) if net.exists() else _split(net) for net in nets]
    if not any(name for name, _ in pairs):
        return names or None, nets
    if names:
        raise typer.BadParameter("name networks by --name or as NAME=NETWORK, not by both")
    return [name for name, _ in pairs], [net for _, net in pairs]


def _split(net: Path) -> tuple[str | None, Path]:
    name, _, file = str(net).partition("=")
    return (name, Path(file)) if name and file else (None, net)


@command("Networks", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    benchmark: Annotated[Benchmark, typer.Argument(metavar="BENCHMARK", help="What to measure.")],
    output: Annotated[Path | None, typer.Option("--json", help="File to write.")] = None,
) -> None:
    """Measure speed against the stock libraries, both in one run, with the repository's benchmarks.

    Other options are the benchmark's own; python benchmarks/NAME.py --help lists them.

    \b
    Examples:
      spandex bench inference
      spandex bench inference --json inference.json
    """
    from spandex.steps import bench as steps

    os.environ["SPANDEX_SET"] = context.meta["overrides"]["set"]  # where benchmarks look for the mirror
    steps.bench(benchmark.value, output, context.args)
