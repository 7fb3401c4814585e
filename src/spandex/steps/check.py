"""What would stop a build after hours, asked in its first seconds."""

import shutil
import tempfile
from pathlib import Path

from spandex.data.corpus import SPLITS
from spandex.data.listing import Listing
from spandex.errors import SpandexError, prefixed
from spandex.networks.named import check_name
from spandex.params import Params
from spandex.pipeline.phases import scores
from spandex.sparsify.methods import method

SAMPLE_BYTES = 2
RECOVERED = 1.5  # times the pruning epochs, after which a searched network meets its budget, see PowerBudget
FILES_OF_A_CLIP = 3  # noisy, clean, noise
BESIDE_AUDIO_GB = 0.2  # networks, checkpoints and results


def check_build(params: Params, here: bool = True) -> None:
    """Check what the parameters name beside numbers: a place to write, a device, networks.

    Args:
        params: of the build.
        here: whether its jobs run on this machine; else nothing is said of devices.

    Raises:
        SpandexError: something is missing or does not fit; nothing was done.
    """
    _check_folders(params)
    if here and "cuda" in (params.train.device, params.evaluate.device):
        from spandex.devices import choose_device

        choose_device("cuda")
    if params.model.factory or params.model.pretrained_file or isinstance(params.deploy.sparsity_map, list):
        _check_network(params)  # which takes seconds to import
    _check_what_others_made(params)
    _check_searches(params)


def check_clips(params: Params) -> None:
    """Check that the clips which a build has mixed are there as it listed them, as far as a look at the folders tells.

    Raises:
        SpandexError: one is not; how to make it anew.
    """
    for split in SPLITS:
        Listing(params.folder("data") / split).look()


def _check_folders(params: Params) -> None:
    for top in ("data", "models", "reports"):
        folder = params.folder(top)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SpandexError(f"{folder}: cannot be written ({error.strerror})") from None
    data = params.folder("data")
    free_gb, needed_gb = shutil.disk_usage(data).free / 1e9, BESIDE_AUDIO_GB + _missing_audio_gb(params, data)
    if free_gb < needed_gb:
        raise SpandexError(f"{data}: {free_gb:.1f} GB free, what is to be written there needs {needed_gb:.1f} GB")


def _missing_audio_gb(params: Params, data: Path) -> float:
    """Of the clips that are not mixed yet, and of the synthetic corpus; downloads ask for their own space."""
    settings = params.data
    seconds = 0.0
    for split, clips in settings.clips:
        if not settings.is_linked(split) and not (data / split / "clips.json").is_file():
            seconds += FILES_OF_A_CLIP * clips * settings.clip_s
    if settings.is_synthetic and not (data / "corpus" / "manifest.csv").is_file():
        minutes = sum(amount for _, amount in settings.corpus_minutes)
        seconds += 60 * minutes * (1 + settings.noise_share)
    return seconds * settings.sample_rate_hz * SAMPLE_BYTES / 1e9


def _check_what_others_made(params: Params) -> None:
    for network in params.every:
        copy, scored = params.folder("models") / network.weights, scores(params, network.name)
        with prefixed(f"networks.{network.name}.{'file' if network.file else 'audio'}: "):
            if network.path is not None and not copy.is_file():
                from spandex.steps.common import stored_network

                stored_network(params, network.name, network.path)
            elif network.file is not None and network.path is None:
                check_name(network.file)
            elif network.audio is not None and not (Path(network.audio).is_dir() or scored.is_file()):
                raise SpandexError(f"{network.audio}: no such folder")


def _check_searches(params: Params) -> None:
    """Methods that search for masks keep no zeros of their start, and need time to meet a power budget."""
    for network in params.every:
        for name, settings in network.methods.items():
            if not getattr(method(name), "SEARCHES", False):
                continue
            if (start := params.pruned_start(network.name)) is not None:
                raise SpandexError(f"networks.{network.name}.{name}: cannot keep the zeros of {start.name}")
            epochs, pruning_epochs = (network.fine_tuning[key] for key in ("epochs", "pruning_epochs"))
            if "power_mops" in settings and RECOVERED * pruning_epochs > epochs:
                raise SpandexError(
                    f"networks.{network.name}.pruning_epochs: {pruning_epochs} is more than two thirds of epochs: "
                    f"{epochs}; {name} meets a power budget half as many epochs after its search"
                )


def _check_network(params: Params) -> None:
    from spandex.deploy.sparsity_map import resolve_sparsity_map
    from spandex.networks import load_state
    from spandex.steps.common import new_network

    network = new_network(params)
    if params.model.pretrained_file:
        with prefixed("model.pretrained: "):
            load_state(network, params.model.pretrained_file)
    with prefixed("deploy.sparsity_map: "):
        densities = dict.fromkeys(range(1, len(network.blocks)), 1.0)
        resolve_sparsity_map(params.deploy.sparsity_map, densities, params.deploy.density_threshold)
