"""The networks that params.yaml declares, each once: rows of the table, and families that grids make of one entry.

The settings of a method are plain values here; whoever loads parameters hands in the check of them.
"""

import itertools
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spandex.checkout import PACKAGE
from spandex.errors import prefixed
from spandex.params.problems import checked
from spandex.params.section import MOST_LOOKAHEAD
from spandex.params.sections import OwnFineTuning, Sparsify

ROOT = "baseline"
NAME = re.compile(r"[a-z][a-z0-9-]*")
MOST = 1000  # networks of a grid; more are a slip
TAKEN = ("noisy", "clean")  # what is shown beside networks
SOURCES = ("from", "file", "audio")
AIMS = {"target", "power_mops"}  # settings of methods that prune
SWITCHES = ("shrink", "dynamic_mixing", "augmentation")
FINE_TUNING = tuple(OwnFineTuning.model_fields)
OWN = (*SOURCES, *SWITCHES, "lookahead", "label", *FINE_TUNING)  # keys of an entry that name no method
TEXTS = (*SOURCES, "label")
PACKAGED = "packaged"  # name of the network that comes with the package
SHIPPED = PACKAGE / PACKAGED / "network.net"  # a path: no step imports its package, whose bytes are no code
NONE_SHIPPED = f"{PACKAGED}: this version ships no network"
STATES = (".pt", ".pth", "-pt")  # how names of state dicts end, of files and in the catalogue

Settings = Mapping[str, Any]
Entries = Mapping[str, Settings | None]
Check = Callable[[str, Settings], dict[str, Any]]  # settings of a method by its name, see spandex.sparsify.methods


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        name: in params.yaml, files, tables and tracking.
        start: the network that it is fine-tuned from; None for the root and for what others made.
        methods: settings by method, those that have none by default.
        fine_tuning: settings of ``OwnFineTuning``, those of the profile where it has no others.
        file: a network of others: of the catalogue, ``packaged``, or the path of an HDF5 file or a state dict.
        audio: the folder of clips that something else has denoised, in place of a network.
        shrink: whether it is exported without the neurons that nothing listens to, as with a power budget.
        dynamic_mixing: whether its training clips are mixed anew in every pass over them (Zeghidour and Grangier 2021,
            doi:10.1109/TASLP.2021.3099291).
        augmentation: whether what is mixed is varied at random, see ``spandex.data.augmentation``.
        lookahead: steps later than its own of which a frame gets the mask, in training too.
        label: what tables call it.
        repeat: 0 for the seed of the parameters, 1 for the next, ...
    """

    name: str
    start: str | None = None
    methods: Mapping[str, Settings] = field(default_factory=dict)
    fine_tuning: Settings = field(default_factory=dict)
    file: str | None = None
    audio: str | None = None
    shrink: bool = False
    dynamic_mixing: bool = False
    augmentation: bool = False
    lookahead: int = 0
    label: str = ""
    repeat: int = 0

    @property
    def is_trained(self) -> bool:
        """Whether it is fine-tuned from another."""
        return self.start is not None

    @property
    def teacher(self) -> str | None:
        """The network that it is distilled from, where that is not its start."""
        return self.fine_tuning.get("distill", {}).get("teacher")

    @property
    def by_magnitude(self) -> bool:
        """Whether magnitude pruning alone makes it sparse, to a sparsity, on clips that stay the same and without a
        teacher, as SPANDEX does it."""
        as_there = not (self.dynamic_mixing or self.lookahead or "distill" in self.fine_tuning)
        return self.target is not None and set(self.methods) == {"magnitude"} and as_there

    @property
    def path(self) -> Path | None:
        """Of the file of others; None where the catalogue has it, or where there is none."""
        if self.file == PACKAGED:
            return SHIPPED
        return Path(self.file) if self.file and (Path(self.file).suffix or "/" in self.file) else None

    @property
    def has_float(self) -> bool:
        """Whether its float weights are known, and not only those of a deployed network, rounded to 8 bits."""
        return self.audio is None and (self.file is None or self.file.endswith(STATES))

    @property
    def folder(self) -> str:
        """Where its weights lie, and the logs of its training, below the profile's folder of models."""
        if self.name == ROOT:
            return ROOT
        return f"sparsified/{self.name}" if self.has_float else f"exported/{self.name}"

    @property
    def has_logs(self) -> bool:
        """Whether it was trained here, so that there are logs."""
        return self.is_trained or self.name == ROOT

    @property
    def weights(self) -> str:
        """The file of its float weights, or else of the deployed network, below the profile's folder of models."""
        return f"{self.folder}/network.{'pt' if self.has_float else 'net'}"

    @property
    def target(self) -> float | None:
        """The sparsity that its methods lead to; None if they lead to none."""
        return self._aim("target")

    @property
    def power_mops(self) -> float | None:
        """The power budget, in M-Ops/s, that its methods lead to; None if they lead to none."""
        return self._aim("power_mops")

    @property
    def is_pruned(self) -> bool:
        """Whether its methods lead to either."""
        return (self.target, self.power_mops) != (None, None)

    def _aim(self, key: str) -> float | None:
        return next((settings[key] for settings in self.methods.values() if key in settings), None)

    def repeated(self, repeat: int, origins: Collection[str]) -> "Network":
        """The same with another seed, such as events75-2 for the second; one that is not trained is itself.

        Args:
            repeat: 0 for the seed of the parameters.
            origins: networks that are the same with every seed.
        """
        if not (repeat and self.is_trained):
            return self
        start, fine_tuning = _repeated(self.start, repeat, origins), dict(self.fine_tuning)
        if self.teacher is not None:
            fine_tuning["distill"] = {**fine_tuning["distill"], "teacher": _repeated(self.teacher, repeat, origins)}
        name = _repeated(self.name, repeat, ())
        return replace(self, name=name, start=start, fine_tuning=fine_tuning, repeat=repeat)


def _repeated(name: str, repeat: int, origins: Collection[str]) -> str:
    return name if name in origins else f"{name}-{repeat + 1}"


def declared(networks: Entries, shared: Sparsify, check: Check | None = None) -> dict[str, Network]:
    """The networks of the table by name, in order; an entry that is null takes one away.

    Args:
        networks: of params.yaml.
        shared: settings of fine-tuning and of methods; those of an entry win.
        check: of a method's settings.

    Raises:
        ValueError: an entry is impossible; the message starts with its key.
    """
    with prefixed("networks.", ValueError):
        return {name: _network(name, entry, shared, check) for name, entry in networks.items() if entry is not None}


def expanded(grids: Entries, shared: Sparsify, check: Check | None = None) -> dict[str, list[Network]]:
    """The networks of every grid, one for each combination of the values that it lists under ``over``.

    Raises:
        ValueError: as ``declared``.
    """
    with prefixed("grids.", ValueError):
        return {
            name: [_network(*point, shared, check) for point in _points(name, grid)]
            for name, grid in grids.items()
            if grid is not None
        }


def _points(name: str, grid: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and entry of each network of a grid."""
    grid = _mapping(name, grid)
    axes = [
        (method, key, values)
        for method, settings in _mapping(f"{name}.over", grid.get("over")).items()
        for key, values in _mapping(f"{name}.over.{method}", settings).items()
    ]
    for method, key, values in axes:
        if method in OWN and method != "distill":
            raise ValueError(f"{name}.over.{method}: is no method")
        if not isinstance(values, list) or not values:
            raise ValueError(f"{name}.over.{method}.{key}: {values!r} is no list of values")
    if (count := math.prod(len(values) for _, _, values in axes)) > MOST:
        raise ValueError(f"{name}.over: makes {count} networks, more than {MOST}")
    for values in itertools.product(*(values for _, _, values in axes)):
        point = {key: dict(value) if isinstance(value, Mapping) else value for key, value in grid.items()}
        del point["over"]
        shown = []
        for (method, key, _), value in zip(axes, values, strict=True):
            if value is not None:
                point[method] = {**_mapping(f"{name}.{method}", point.get(method) or {}), key: value}
                shown.append(_spelt(key, value))
        yield name + "-".join(shown), point


def _spelt(key: str, value: Any) -> str:
    """A value in a name: a target as percent, other numbers as they are, a decimal point as p."""
    if isinstance(value, int | float):
        value = f"{round(100 * value, 6) if key == 'target' else value:g}"
    return str(value).replace(".", "p").lower()


def _network(name: str, entry: Any, shared: Sparsify, check: Check | None) -> Network:
    if not NAME.fullmatch(name) or name in TAKEN:
        raise ValueError(f"{name}: a name has lower-case letters, digits and hyphens, and is not {' or '.join(TAKEN)}")
    entry = _mapping(name, entry)
    for key in TEXTS:
        if not isinstance(entry.get(key, ""), str):
            raise ValueError(f"{name}.{key}: {entry[key]!r} is no text")
    if not entry.get("label", "").isprintable():
        raise ValueError(f"{name}.label: {entry['label']!r} is more than one line of a table")
    if entry.get("file") == PACKAGED and not SHIPPED.is_file():
        raise ValueError(f"{name}.file: {NONE_SHIPPED}")
    for key in SWITCHES:
        if not isinstance(entry.get(key, False), bool):
            raise ValueError(f"{name}.{key}: {entry[key]!r} is neither true nor false")
    lookahead = entry.get("lookahead", 0)
    if type(lookahead) is not int or not 0 <= lookahead <= MOST_LOOKAHEAD:
        raise ValueError(f"{name}.lookahead: {lookahead!r} is no whole number from 0 to {MOST_LOOKAHEAD}")
    if lookahead and (name == ROOT or "audio" in entry):
        raise ValueError(f"{name}.lookahead: {lookahead} is for networks with from or file")
    if entry.get("augmentation") and not entry.get("dynamic_mixing"):
        raise ValueError(f"{name}.augmentation: clips are varied where they are mixed, with dynamic_mixing: true")
    given = [key for key in SOURCES if key in entry]
    methods = {
        key: _mapping(f"{name}.{key}", value) for key, value in entry.items() if key not in OWN and value is not None
    }
    fine_tuning = {key: value for key, value in entry.items() if key in FINE_TUNING}
    trained = [*fine_tuning, *methods]  # keys of a network that is
    if name == ROOT and (given or trained):
        raise ValueError(f"{name}.{[*given, *trained][0]}: {ROOT} is where all starts; model and train make it")
    if name != ROOT and len(given) != 1:
        raise ValueError(f"{name}: takes one of {', '.join(SOURCES)}, and has {' and '.join(given) or 'none'}")
    trained += ["dynamic_mixing"] if entry.get("dynamic_mixing") else []
    if trained and name != ROOT and given != ["from"]:
        raise ValueError(f"{name}.{trained[0]}: what others made is taken as it is; let a network start from it")
    with prefixed(f"{name}.", ValueError):
        methods = {key: _settings(key, value, shared.defaults, check) for key, value in methods.items()}
        if "from" in entry:
            fine_tuning = checked(OwnFineTuning, shared.fine_tuning | fine_tuning, "")
        pruning = [key for key, settings in methods.items() if AIMS & settings.keys()]
        if len(pruning) > 1:
            raise ValueError(f"{pruning[1]}: {pruning[0]} prunes already; one method chooses the weights that go")
        if "noise" in methods and "average" in fine_tuning:
            raise ValueError("average: noise scales the weights that stay, which a running mean would follow late")
    own = {key: entry[key] for key in ("file", "audio", *SWITCHES, "lookahead", "label") if key in entry}
    network = Network(name, entry.get("from"), methods, fine_tuning, **own)
    if network.power_mops is None:
        return network
    if entry.get("shrink") is False:
        raise ValueError(f"{name}.shrink: a power budget counts the network without its idle neurons")
    return replace(network, shrink=True)


def _settings(method: str, own: Settings, defaults: Entries, check: Check | None) -> Settings:
    settings = {key: value for key, value in {**(defaults.get(method) or {}), **own}.items() if value is not None}
    return settings if check is None else check(method, settings)


def _mapping(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{key}: {value!r} is not of the form {{name: value, ...}}")
    return value
