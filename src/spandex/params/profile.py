"""All parameters of one profile, and the networks that follow from them."""

import contextlib
import difflib
import functools
import hashlib
import itertools
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from spandex.errors import SpandexError, prefixed
from spandex.params.companions import Companions
from spandex.params.networks import NAME, ROOT, Check, Network, declared, expanded
from spandex.params.section import MOST_SEED, MOST_THREADS, Section
from spandex.params.sections import Comparison, Data, Deploy, Evaluate, Model, Report, Reports, Sparsify, Train


class UnknownNetworkError(SpandexError, ValueError):
    """A network that is asked for, and that the parameters do not give."""


class Params(Section):
    """All parameters of one profile."""

    profile: Literal["synthetic", "mini", "dns4"]
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)]
    mirror: str | None  # a path or an address, tried before the public sources
    threads: Annotated[int, Field(ge=1, le=MOST_THREADS)]  # of training; a part of its result
    data: Data
    model: Model
    train: Train
    sparsify: Sparsify
    networks: dict[str, Any]  # rows of the table, in order; null takes one away
    grids: dict[str, Any]  # families of networks, made for the reports that name them
    reports: Reports
    deploy: Deploy
    evaluate: Evaluate
    report: Report
    companions: Companions
    _table: dict[str, Network] = PrivateAttr()
    _grids: dict[str, list[Network]] = PrivateAttr()
    _every: dict[str, Network] = PrivateAttr()
    _shown_beside: list[Network] = PrivateAttr()
    _comparable: dict[str, list[list[Network]]] = PrivateAttr()

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        if self.model.n_fft % self.model.hop:
            raise ValueError(f"model.hop: {self.model.hop} does not divide n_fft: {self.model.n_fft}")
        if self.train.segment_s > self.data.clip_s:
            raise ValueError(f"train.segment_s: {self.train.segment_s} is more than data.clip_s: {self.data.clip_s}")
        if self.model.factory is None and self.model.arguments:
            raise ValueError("model.arguments: there is no model.factory to take them")
        if self.model.factory is not None and self.model.pretrained and not self.model.pretrained_file:
            raise ValueError(
                f"model.pretrained: {self.model.pretrained} is no network of model.factory; "
                "give a state dict of that, or null and train.epochs"
            )
        if self.train.epochs == 0 and self.model.pretrained is None:
            raise ValueError("train.epochs: 0 leaves random weights, unless model.pretrained names a network")
        self._declare(info.context)
        return self

    def _declare(self, check: Check | None) -> None:
        """Work out the networks, and refuse what cannot be made of them."""
        for method, settings in self.sparsify.defaults.items():
            if not isinstance(settings, dict):
                raise ValueError(f"sparsify.{method}: unknown key")
            if check is not None:
                with prefixed("sparsify.", ValueError):
                    check(method, settings, complete=False)
        self._table = declared(self.networks, self.sparsify, check)
        self._grids = expanded(self.grids, self.sparsify, check)
        self._every = {}
        for network in itertools.chain(self._table.values(), *self._grids.values()):
            if self._every.setdefault(network.name, network) is not network:
                raise ValueError(f"networks.{network.name}: declared twice; name it once, in networks or by a grid")
        if ROOT not in self._table:
            raise ValueError(f"networks.{ROOT}: missing; all others start from it")
        for name in self._grids.keys() & self._table.keys():
            raise ValueError(f"grids.{name}: {name} is a network of the table")
        for network in list(self._every.values()):
            self._check_start(network)
            self._check_target(network)
        with prefixed("reports.table.also: ", UnknownNetworkError):
            self._shown_beside = self.chosen(self.reports.table.also)
        self._comparable = {}
        for report in self.reports.comparisons:
            if not NAME.fullmatch(report):
                raise ValueError(f"reports.{report}: a name has lower-case letters, digits and hyphens")
            with contextlib.suppress(UnknownNetworkError):  # told where the report is asked for
                self._comparable[report] = self.compared(report)
            seeds = self._comparable.get(report, [[]])
            originals = {network.name: network for shown in seeds[0] for network in self._lineage(shown)}
            for repeat, original in itertools.product(range(len(seeds)), originals.values()):
                again = self._repeated(original, repeat)
                if self._every.setdefault(again.name, again) != again:
                    raise ValueError(f"reports.{report}.seeds: {again.name} is another network already")

    def _check_start(self, network: Network, passed: tuple[str, ...] = ()) -> None:
        """Refuse a network whose start or teacher, or theirs, is missing or no network, or is itself."""
        passed = (*passed, network.name)
        for key, name in (("from", network.start), ("distill.teacher", network.teacher)):
            if name is None:
                continue
            if name not in self._every:
                raise ValueError(f"networks.{network.name}.{key}: there is no network {name}")
            if self._every[name].audio is not None:
                raise ValueError(f"networks.{network.name}.{key}: {name} is audio and no network")
            if name in passed:
                raise ValueError(f"networks.{name}.{key}: goes round in a circle, {' <- '.join([*passed, name])}")
            self._check_start(self._every[name], passed)

    def _check_target(self, network: Network) -> None:
        """Refuse a sparsity below that of a network before it."""
        for before in self._starts(network):
            if network.target is not None and network.target < (before.target or 0):
                raise ValueError(
                    f"networks.{network.name}: target {network.target:g} is below the {before.target:g} of "
                    f"{before.name}, whose zeros stay"
                )

    def _repeated(self, network: Network, repeat: int) -> Network:
        """A network with another seed, which its start and its teacher have, too."""
        origins = [other.name for other in self._every.values() if not other.is_trained]
        return network.repeated(repeat, origins)

    def _starts(self, network: Network) -> list[Network]:
        """What its training starts from, what that starts from, and so on."""
        starts = []
        while network.start is not None:
            network = self._every[network.start]
            starts.append(network)
        return starts

    def _lineage(self, network: Network) -> list[Network]:
        """A network and those that its training starts from or is taught by, and theirs."""
        before = [self._every[name] for name in (network.start, network.teacher) if name is not None]
        return [network, *(found for other in before for found in self._lineage(other))]

    def folder(self, kind: Literal["data", "models", "reports"]) -> Path:
        """Where the profile's files of a kind lie, seen from the checkout."""
        return Path(kind, self.profile)

    def chosen(self, names: Iterable[str]) -> list[Network]:
        """Networks by name; the name of a grid stands for all of its networks.

        Raises:
            ValueError: there is neither.
        """
        found: dict[str, Network] = {}
        for name in names:
            networks = self._grids.get(name) or [self.network(name)]
            found |= {network.name: network for network in networks}
        return list(found.values())

    @property
    def table(self) -> list[Network]:
        """The rows of the table, in order."""
        return list(self._table.values())

    @property
    def beside(self) -> list[Network]:
        """More rows of the table, shown where they are made."""
        return [network for network in self._shown_beside if network.name not in self._table]

    @property
    def every(self) -> list[Network]:
        """All networks: of the table, of grids, and those with other seeds."""
        return list(self._every.values())

    @property
    def models(self) -> list[str]:
        """Names of the table's rows that are networks."""
        return [network.name for network in self.table if network.audio is None]

    @property
    def fine_tuned(self) -> list[str]:
        """Names of the table's rows that are trained from another."""
        return [network.name for network in self.table if network.is_trained]

    @property
    def control(self) -> str:
        """The network that others are compared with: fine-tuned like them and not made sparse; the root without one."""
        plain = (network for network in self.table if not network.methods and not network.lookahead)
        return next((network.name for network in plain if network.is_trained), ROOT)

    def network(self, name: str) -> Network:
        """A network by name.

        Raises:
            UnknownNetworkError: there is none of this name.
        """
        if name not in self._every:
            close = difflib.get_close_matches(name, self._every, n=1)
            raise UnknownNetworkError(f"there is no network {name}" + (f"; {close[0]} is one" if close else ""))
        return self._every[name]

    def origin(self, name: str) -> Network:
        """Where the training of a network began: the root, or a network of others."""
        network = self.network(name)
        return [network, *self._starts(network)][-1]

    def pruned_start(self, name: str) -> Network | None:
        """The nearest network before this one that was pruned, whose zeros it keeps; None if there is none."""
        before = self._starts(self.network(name))
        return next((network for network in before if network.is_pruned), None)

    @property
    def comparable(self) -> dict[str, list[list[Network]]]:
        """The networks of every report whose networks are all there, as ``compared`` gives them."""
        return self._comparable

    def compared(self, report: str) -> list[list[Network]]:
        """The networks of a report, seed by seed, in the same order.

        Raises:
            SpandexError: there is no such report, or none of the networks that its figures are drawn against.
        """
        comparison = self.comparison(report)
        with prefixed(f"reports.{report}.networks: ", UnknownNetworkError):
            networks = self.chosen(comparison.networks)
        dense = any(network.is_trained and not network.methods for network in networks)
        if "frontier" in comparison.figures and not (dense and ROOT in {network.name for network in networks}):
            raise UnknownNetworkError(f"reports.{report}.networks: frontier needs {ROOT} and a dense control")
        return [[self._repeated(network, repeat) for network in networks] for repeat in range(comparison.seeds)]

    def scored_in_full(self, name: str) -> bool:
        """Whether a network's scores have MOS and those of its float version: all but repeats that no report with
        ``mos`` has."""
        in_full = (seeds for report, seeds in self.comparable.items() if self.comparison(report).mos)
        asked = {network.name for seeds in in_full for network in itertools.chain(*seeds)}
        return not self.network(name).repeat or name in asked

    def comparison(self, report: str) -> Comparison:
        """A report by name.

        Raises:
            SpandexError: there is no such report.
        """
        comparisons = self.reports.comparisons
        if report not in comparisons:
            raise SpandexError(f"no report {report}; there are {', '.join(comparisons) or 'none'} beside the table")
        return comparisons[report]

    def training(self, name: str) -> dict[str, Any]:
        """What a network's training depends on beside its inputs: where it starts, its methods, how it is fine-tuned,
        its seed, its lookahead if it has one, and how its clips are mixed if they are not files.

        Raises:
            UnknownNetworkError: there is none of this name.
        """
        network = self.network(name)
        mixing = {"synthesis": self.data.synthesis, "clips": self.data.clips.train} if network.dynamic_mixing else {}
        mixing |= {"augmentation": True} if network.augmentation else {}
        ahead = {"lookahead": network.lookahead} if network.lookahead else {}
        return {
            "from": network.start,
            "methods": network.methods,
            "fine_tuning": network.fine_tuning,
            "seed": self.seed + network.repeat,
        } | (mixing | ahead)

    def value(self, key: str, without: Collection[str] = ()) -> Any:
        """A section or a value, as JSON has it.

        Args:
            key: such as ``seed``, ``data`` or ``data.source``.
            without: keys that a section is given without, such as ``data.clips``.
        """
        found = functools.reduce(lambda nested, part: nested[part], key.split("."), self.model_dump(mode="json"))
        if isinstance(found, dict):
            return {name: value for name, value in found.items() if f"{key}.{name}" not in without}
        return found

    def digest(self, *keys: str) -> str:
        """SHA-256 (first 16 digits) of the named sections and keys; of all but ``mirror`` if none is named."""
        parts = {key: self.value(key) for key in keys or type(self).model_fields.keys() - {"mirror"}}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
