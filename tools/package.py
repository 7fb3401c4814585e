"""Put a network of a finished build into the package, with its card: python tools/package.py PROFILE NETWORK.

The build has a mirror, whose noise is ESC-10: that of the public ESC-50 is not for commercial use.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from spandex import params
from spandex.data.catalog import catalog
from spandex.errors import SpandexError
from spandex.files import atomic_path, write_text
from spandex.files.text import read_json
from spandex.metrics.bootstrap import Interval
from spandex.params.networks import SHIPPED
from spandex.pipeline.recipes import sidecar
from spandex.report.wording import interval
from spandex.sparsify.methods import check

REPOSITORY = Path(__file__).parents[1]
LARGEST_KB = 400  # of 1024 bytes, since every wheel has it
ROWS = {  # of the card: heading, decimals, scale
    "si_snr_db": ("SI-SNR (dB)", 2, 1),
    "mos_ovrl": ("DNSMOS overall, over the challenge's hops", 2, 1),
    "deployed_power_proxy_ops_per_s": ("power proxy as deployed (M-Ops/s)", 2, 1e-6),
}


def compress(network: Path, output: Path) -> None:
    """Write a network's file anew with its matrices compressed (gzip), as netx reads it.

    Raises:
        SpandexError: it is still too large.
    """
    with atomic_path(output) as temporary:
        with h5py.File(network) as original, h5py.File(temporary, "w") as packed:

            def pack(name: str, item: h5py.Dataset | h5py.Group) -> None:
                if isinstance(item, h5py.Dataset):
                    small = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.ndim > 1 else {}
                    packed.create_dataset(name, data=item[()], dtype=item.dtype, **small)

            original.visititems(pack)
        if (size_kb := temporary.stat().st_size / 1024) > LARGEST_KB:
            raise SpandexError(f"{network}: takes {size_kb:.0f} KB compressed; the package takes up to {LARGEST_KB}")


def card(profile: str, name: str, folder: Path = REPOSITORY) -> str:
    """What the network was made of, how good it is and what it costs, as Markdown.

    Raises:
        SpandexError: the build is not finished, its corpus is another, or the network was not trained in it.
    """
    overrides = params.with_environment({"set": os.environ.get("SPANDEX_SET"), "profile": profile})
    parameters = params.load(folder / "params.yaml", overrides, check)
    if not parameters.network(name).is_trained:
        raise SpandexError(f"{name}: others made it, or it is where training starts; the card is of a fine-tuned one")
    manifest = folder / "data" / profile / "corpus" / "manifest.csv"
    if parameters.data.source != "mini" or read_json(sidecar(manifest))["params"]["mirror"] is None:
        raise SpandexError(f"{manifest}: not LibriSpeech and ESC-10 of a mirror, which is what the card speaks of")
    scores = read_json(folder / "reports" / profile / "evaluate" / f"{name}.json")
    noisy, own = scores["noisy"], scores["networks"][name]
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.get_template("card.md.jinja").render(
        network=parameters.network(name),
        params=parameters,
        catalog=catalog(),
        scores=scores,
        own=own,
        rows=[
            (heading, *(_shown(of, key, decimals, scale) for of in (noisy, own)))
            for key, (heading, decimals, scale) in ROWS.items()
            if key in own
        ],
    )


def _shown(scores: Mapping[str, Any], key: str, decimals: int, scale: float) -> str:
    if key not in scores:
        return ""
    return interval(Interval(*(scale * value for value in (scores[key], *scores["intervals"][key]))), decimals)


def main(profile: str, name: str, folder: Path = REPOSITORY, shipped: Path = SHIPPED) -> None:
    text = card(profile, name, folder)
    compress(folder / "models" / profile / "exported" / name / "network.net", shipped)
    write_text(shipped.with_suffix(".md"), text)
    print(f"{shipped}: {shipped.stat().st_size / 1024:.0f} KB, with {shipped.with_suffix('.md').name}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SpandexError as error:
        sys.exit(f"make package: {error}")
