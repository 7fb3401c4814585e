"""Commands for one's own networks: look at them, run them, denoise with them, judge them."""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from spandex.cli.application import RENAMED, Panel, command, mirror_of, params_of, refuse
from spandex.cli.named import TYPED, Typed, located
from spandex.params.networks import PACKAGED
from spandex.params.section import DENSITY_THRESHOLD, MOST_LOOKAHEAD, MOST_THREADS, Device

own = command(Panel.OWN)


Backend = Literal["events", "lava", "torch"]
ExactBackend = Literal["events", "lava"]
Reading = Literal["spikes", "voltage"]
Encoding = Literal["rate", "current"]
Benchmark = Literal["inference", "training", "dnsmos", "synthesis", "loader", "cost", "build"]


def _json_path(path: Path | None) -> Path | None:
    """Refuse an option that stands where a path is missing."""
    if path is not None and path != STANDARD_OUTPUT and str(path).startswith("-"):
        raise typer.BadParameter(f"{str(path)!r} is no path")
    return path


def _lookahead(steps: int) -> int:
    if not 0 <= steps <= MOST_LOOKAHEAD:
        raise typer.BadParameter(f"{steps} is not from 0 to {MOST_LOOKAHEAD}")
    return steps


STANDARD_OUTPUT = Path("-")
JSON_OPTION = typer.Option(
    "--json", metavar="PATH", callback=_json_path, help="JSON file to write; - prints it, and nothing else."
)
Json = Annotated[Path | None, JSON_OPTION]
OF_NETWORK = "Network as lava-dl exports it (HDF5): its file or its name."
Network = Annotated[Path, typer.Argument(help=OF_NETWORK, **TYPED)]
SparsityMap = Annotated[
    str,
    typer.Option(help="Which layers get sparse synapses: auto, sparse, dense, a list as 1,0,1, or pairs as 1:1,3:0."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Files or clips at once; one a core if not given.")
]
JudgedOn = Annotated[
    Device, typer.Option(help="Where float networks and DNSMOS run; auto takes a GPU where there is one.")
]
Lookahead = Annotated[
    int, typer.Option(callback=_lookahead, help="1 takes the mask of the next step, a hop (8 ms) later.")
]
DensityThreshold = Annotated[float, typer.Option(help="Largest density that the map auto makes sparse.")]


@own
def info(
    network: Network,
    output: Json = None,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
) -> None:
    """Layers, sparsity, delays and size of a network as Lava deploys it.

    \b
    Examples:
      spandex info network.net
      spandex info network.net --json - --sparsity-map 1,1,0
    """
    from spandex.steps import info as steps

    with _json_file(output) as file:
        steps.info(network, file, sparsity_map, density_threshold)


@own
def convert(
    network: Network,
    output: Annotated[Path, typer.Option(help="Network to write (HDF5).")],
) -> None:
    """Write a network for stock netx and Lava, which lack pools: each as a convolution, with the same bits.

    \b
    Example:
      spandex convert network.net --output lava.net
    """
    from spandex.steps import convert as steps

    steps.convert(network, output)


@own
def run(
    network: Network,
    inputs: Annotated[Path, typer.Option("--input", help="NumPy file, whole numbers (inputs, steps).")],
    output: Annotated[Path, typer.Option(help="NumPy file to write, int32 (outputs, steps).")],
    backend: Annotated[ExactBackend, typer.Option(help="The exact executor, or Lava itself.")] = "events",
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
    read: Annotated[Reading, typer.Option(help="What to write of the last layer at every step.")] = "spikes",
    layers: Annotated[
        Path | None, typer.Option(help="NumPy archive to write: of every layer its spikes, and its state at the end.")
    ] = None,
    input_message_bits: Annotated[
        int | None,
        typer.Option(min=0, max=32, help="Of what arrives at a network without an input layer; 0 for spikes."),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(metavar="X,Y,CHANNELS", help="Of what arrives, where no input layer tells it."),
    ] = None,
    num_layers: Annotated[int | None, typer.Option(min=1, help="Read so many layers of the file.")] = None,
    skip_layers: Annotated[int, typer.Option(min=0, help="Of these, leave out so many at the beginning.")] = 0,
    reset_interval: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Steps after which integrators start again from zero.")
    ] = None,
    reset_offset: Annotated[
        int, typer.Option(min=0, help="With --reset-interval: step of the first reset of the first layer.")
    ] = 0,
    spike_exp: Annotated[
        int, typer.Option(min=0, max=12, help="Bits behind the point in messages of sigma-delta neurons.")
    ] = 6,
    unroll: Annotated[
        bool,
        typer.Option("--unroll", help="In Lava, simulate convolutions as sparse synapses: faster, in more memory."),
    ] = False,
) -> None:
    """Run a network in Lava's fixed-point arithmetic; the layers' latency stays in the output.

    \b
    Examples:
      spandex run network.net --input X.npy --output Y.npy
      spandex run network.net --input X.npy --output Y.npy --backend lava
      spandex run network.net --input X.npy --output Y.npy --sparsity-map 1,1,0
      spandex run network.net --input X.npy --output Y.npy --layers layers.npz
    """
    from spandex.deploy.layers import NetxOptions
    from spandex.steps import run as steps

    if reset_offset and reset_interval is None:
        raise typer.BadParameter("--reset-offset needs --reset-interval")
    options = NetxOptions(
        num_layers, skip_layers, _shape(input_shape), input_message_bits, reset_interval, reset_offset, spike_exp
    )
    steps.run(network, inputs, output, backend, sparsity_map, density_threshold, options, read, layers, unroll)


def _shape(text: str | None) -> tuple[int, ...] | None:
    """The numbers of x,y,channels."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"{text!r} is not X,Y,CHANNELS, such as 34,34,2", param_hint="--input-shape")
    return tuple(map(int, parts))


@own
def denoise(
    inputs: Annotated[Path | None, typer.Argument(metavar="IN", help="Audio file or folder of them.")] = None,
    output: Annotated[Path | None, typer.Argument(metavar="OUT", help="File or folder to write.")] = None,
    network: Annotated[Path, typer.Option(help=OF_NETWORK, **TYPED)] = PACKAGED,
    backend: Annotated[Backend, typer.Option(help="The exact executor, Lava itself, or the float network.")] = "events",
    stream: Annotated[
        bool, typer.Option("--stream", help="Raw 16 kHz 16-bit mono from stdin to stdout, 512 samples behind.")
    ] = False,
    lookahead: Lookahead = 0,
    workers: Workers = None,
    sparsity_map: SparsityMap = "auto",
    density_threshold: DensityThreshold = DENSITY_THRESHOLD,
) -> None:
    """Denoise audio: WAV, FLAC or OGG of any rate, number of channels and length, which come out as they went in.

    \b
    Examples:
      spandex denoise noisy.wav denoised.wav --network network.net
      spandex denoise recordings/ denoised/ --network network.net --backend torch
      arecord -t raw -f S16_LE -r 16000 -c 1 |
        spandex denoise --stream --network network.net |
        aplay -t raw -f S16_LE -r 16000 -c 1
    """
    from spandex.steps import denoise as steps

    if stream:
        if inputs is not None or backend != "events":
            raise typer.BadParameter("--stream reads standard input and uses the backend events")
        steps.denoise_stream(network, sparsity_map, density_threshold, lookahead)
        return
    if inputs is None or output is None:
        raise typer.BadParameter("IN and OUT are needed, or --stream")
    steps.denoise(inputs, output, network, backend, sparsity_map, density_threshold, lookahead, workers)


OF_CLIPS = (
    "noisy",
    "clean",
    "mos",
    "with_float",
    "float_network",
    "inputs",
    "hop",
    "lookahead",
    "device",
    "shard",
    "pipeline",
)
OF_SAMPLES = ("sample_steps", "encode", "read")


@own
def evaluate(
    context: typer.Context,
    networks: Annotated[
        list[str] | None, typer.Argument(metavar="NETWORK", help="Networks (HDF5), or NAME=NETWORK; any number.")
    ] = None,
    noisy: Annotated[Path | None, typer.Option(help="Folder of noisy clips.")] = None,
    clean: Annotated[
        Path | None, typer.Option(help="Folder of their clean speech, paired by fileid_N or by name.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="For classifiers, in the place of clips: NumPy archive of samples x and labels y; or mnist, cifar10.",
        ),
    ] = None,
    output: Json = None,
    name: Annotated[list[str] | None, typer.Option(help="Name of each network, in order.")] = None,
    mos: Annotated[bool, typer.Option("--mos/--no-mos", help="DNSMOS, which takes most of the time.")] = True,
    with_float: Annotated[bool, typer.Option("--float", help="Judge the float networks beside the deployed.")] = False,
    float_network: Annotated[
        list[Path] | None,
        typer.Option(help="State dict of each float network; from the HDF5 if not given.", **TYPED),
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="JSON of an evaluation on the same clips: scores of noisy and clean audio.")
    ] = None,
    sample_steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=100_000, help="For which each sample of --data is shown.")
    ] = None,
    encode: Annotated[
        Encoding | None,
        typer.Option(help="Spikes at a rate or an input layer's current; what the network takes if not given."),
    ] = None,
    read: Annotated[Reading, typer.Option(help="What of the last layer is summed up for --data.")] = "spikes",
    workers: Workers = None,
    hop: Annotated[int | None, typer.Option(min=1, help="Samples a step; a quarter of a frame if not given.")] = None,
    lookahead: Lookahead = 0,
    device: JudgedOn = "cpu",
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
    """Quality and cost of deployed networks, on clips or labelled samples. Goes on where it was stopped.

    \b
    Examples:
      spandex evaluate a.net --noisy noisy --clean clean --json a.json
      spandex evaluate a.net b.net --noisy noisy --clean clean --json b.json
      spandex evaluate dense=a.net --noisy noisy --clean clean --json -
      spandex evaluate classifier.net --data images.npz --steps 32
    """
    from spandex.data.shards import Shard

    names, files = _named(context, networks or [], name)
    if data is not None:
        refuse(context, OF_CLIPS, "for clips, not for --data")
        from spandex.companions.images import SETS
        from spandex.steps.classify import classify

        with _json_file(output) as file:
            classify(
                files,
                data,
                file,
                names=names,
                steps=sample_steps,
                encode=encode,
                read=read,
                workers=workers,
                mirror=mirror_of(context) if data in SETS else None,
                sparsity_map=sparsity_map,
                density_threshold=density_threshold,
            )
        return
    from spandex.steps import evaluate as steps

    refuse(context, OF_SAMPLES, "for --data, not for clips")
    if noisy is None or clean is None or output is None:
        raise typer.BadParameter("--noisy, --clean and --json are needed, or --data")
    if shard and output == STANDARD_OUTPUT:
        raise typer.BadParameter("--shard needs the --json PATH of the command without it")
    with _json_file(output) as file:
        steps.evaluate(
            files,
            noisy,
            clean,
            file,
            names=names,
            mos=mos,
            with_float=with_float or bool(float_network),
            float_networks=float_network or None,
            inputs=inputs,
            workers=workers,
            hop=hop,
            sparsity_map=sparsity_map,
            density_threshold=density_threshold,
            lookahead=lookahead,
            device=device,
            params=params_of(context) if pipeline else None,
            shard=Shard.parse(shard) if shard else None,
        )


@own
def score(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of denoised clips, 16 kHz mono.")],
    clean: Annotated[Path, typer.Option(help="Folder of their clean speech, paired by fileid_N or by name.")],
    noisy: Annotated[Path | None, typer.Option(help="Folder of the noisy clips, for improvements.")] = None,
    output: Json = None,
    name: Annotated[str | None, typer.Option(help="The folder's if not given.")] = None,
    align: Annotated[bool, typer.Option("--align", help="Take a lag away before SI-SNR.")] = False,
    mos: Annotated[bool, typer.Option("--mos/--no-mos", help="DNSMOS, which takes most of the time.")] = True,
    workers: Workers = None,
    device: JudgedOn = "cpu",
) -> None:
    """Quality of clips that anything has denoised, with the table's metrics; the files are taken as they are.

    \b
    Examples:
      spandex score denoised --clean clean
      spandex score denoised --clean clean --noisy noisy --json denoised.json
    """
    from spandex.steps import score as steps

    with _json_file(output) as file:
        steps.score(folder, clean, noisy, file, name=name, align=align, mos=mos, workers=workers, device=device)


@contextlib.contextmanager
def _json_file(path: Path | None) -> Iterator[Path | None]:
    """Where to write JSON that is asked for at ``path``; what is for standard output stands there alone."""
    if path != STANDARD_OUTPUT:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "out.json")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield file
        finally:
            if file.is_file():
                print(file.read_text(encoding="utf-8"), end="")


def _named(
    context: typer.Context, networks: list[str], names: list[str] | None
) -> tuple[list[str | None] | None, list[Path]]:
    """The names and files of networks given as files, as names, or as NAME=NETWORK; None if there are no names."""
    pairs = [(None, network) if Path(network).exists() else _split(network) for network in networks]
    if names and any(name for name, _ in pairs):
        raise typer.BadParameter("name networks by --name or as NAME=NETWORK, not by both")
    files = located([Typed(typed) for _, typed in pairs], lambda: mirror_of(context))
    known = [name or (None if file == Path(typed) else typed) for (name, typed), file in zip(pairs, files, strict=True)]
    return names or known, files


def _split(network: str) -> tuple[str | None, str]:
    name, _, typed = network.partition("=")
    return (name, typed) if name and typed else (None, network)


@command(Panel.OWN, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def bench(
    context: typer.Context,
    benchmark: Annotated[Benchmark, typer.Argument(metavar="BENCHMARK", help="What to measure.")],
    output: Json = None,
) -> None:
    """Measure speed against the stock libraries, both in one run, with the repository's benchmarks.

    Other options are the benchmark's own; python benchmarks/NAME.py --help lists them.

    \b
    Examples:
      spandex bench inference
      spandex bench inference --json inference.json
    """
    from spandex.steps import bench as steps

    for option in (argument.partition("=")[0] for argument in context.args):
        if option in RENAMED:
            raise typer.BadParameter(f"no such option: {option}; it is {RENAMED[option][0]}")
    os.environ["SPANDEX_SET"] = context.meta["overrides"]["set"]  # where benchmarks look for the mirror
    with _json_file(output) as file:
        steps.bench(benchmark, file, context.args)
