"""The sections of params.yaml, but for those of the companion papers."""

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from spandex.params.section import Count, Device, Fraction, Positive, Section

PUBLISHED_STATES = ("ndns-baseline-pt",)  # state dicts of the catalogue's networks


class Minutes(Section):
    """Speech to synthesise for each split, in minutes."""

    train: Positive
    validation: Positive
    test: Positive


class Clips(Section):
    """Number of noisy clips in each split."""

    train: Count
    validation: Count
    test: Count


class Data(Section):
    """Speech, noise, and how they are mixed (the challenge's noisyspeech_synthesizer)."""

    source: Literal["synthetic", "mini", "dns4"]
    corpus_minutes: Minutes | None = None  # synthetic only
    noise_share: Positive = 0.5  # minutes of noise for each minute of speech, synthetic only
    archives: list[str] = Field(default=["*"])  # DNS-4 archives by name, pattern or language
    skip_missing: bool = False  # go on without files that a mirror's corpus.csv lists and the mirror lacks, mini only
    clips: Clips
    sample_rate_hz: Literal[16000]
    clip_s: Annotated[float, Field(ge=1)]
    silence_s: Annotated[float, Field(ge=0)]  # between joined utterances
    snr_db: tuple[int, int]  # integers drawn from [low, high)
    level_dbfs: tuple[int, int]  # integers drawn from [low, high)
    speech_level_dbfs: Annotated[float, Field(lt=0)]
    level_windows: Literal["all", "active"]  # that the levels of speech and noise are over
    peak: Annotated[float, Field(gt=0, le=1)]
    min_activity: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if low >= high:
                raise ValueError(f"{name}: [{low}, {high}) is empty")
        if self.is_synthetic and self.corpus_minutes is None:
            raise ValueError("corpus_minutes: the synthetic corpus needs a size")
        return self

    @property
    def synthesis(self) -> dict[str, Any]:
        """How clips are mixed, as JSON has it; the corpus and the number of clips are no part of that."""
        corpus = {"source", "corpus_minutes", "noise_share", "archives", "skip_missing"}
        return self.model_dump(mode="json", exclude={"clips", *corpus})

    @property
    def is_synthetic(self) -> bool:
        """Whether voices and noise are made by procedure; there are no recordings then."""
        return self.source == "synthetic"

    def is_linked(self, split: str) -> bool:
        """Whether the clips of a split come as they are: those of DNS-4 to test with are the challenge's."""
        return (self.source, split) == ("dns4", "test")


class Model(Section):
    """The SDNN, or a network of one's own, and what it starts from."""

    n_fft: Count  # samples
    hop: Count  # samples
    factory: str | None = None  # package.module:callable that makes other blocks, see spandex.networks.from_factory
    arguments: dict[str, Any] = Field(default={})  # of the factory; the keys below are those of the SDNN
    hidden: Count  # neurons
    threshold: Positive
    tau_grad: Positive
    scale_grad: Positive
    max_delay: Annotated[int, Field(ge=0)]  # steps
    pretrained: str | None  # a network of the catalogue, a network.pt, or null for random weights

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pretrained and self.pretrained_file is None and self.pretrained not in PUBLISHED_STATES:
            known = ", ".join(PUBLISHED_STATES)
            raise ValueError(f"pretrained: {self.pretrained!r} is neither a state dict's file nor one of {known}")
        return self

    @property
    def pretrained_file(self) -> Path | None:
        """The state dict that ``pretrained`` names by its path."""
        return Path(self.pretrained) if self.pretrained and Path(self.pretrained).suffix else None


class Train(Section):
    """Baseline training; fine-tuning uses the same optimiser, batches and loss."""

    epochs: Annotated[int, Field(ge=0)]
    epoch_batches: Count | None  # batches in an epoch; null: as many as pass over all clips
    batch_size: Count
    segment_s: Positive
    lr: Positive
    lam: Annotated[float, Field(ge=0)]  # weight of the magnitude error in the loss
    weight_decay: Annotated[float, Field(ge=0)]
    mask_limit: Positive | None  # of the network's outputs, in units of the mask; beyond it they are penalised
    gradient_clip: Positive
    skip_nonfinite: Annotated[int, Field(ge=0)]  # batches of non-finite loss or gradient passed over before it stops
    checkpoint_minutes: Positive
    gradient_dtype: Literal["float32", "bfloat16"]  # of the factors of the products that give gradients
    device: Device


class FineTuning(Section):
    """How a network is trained from another."""

    epochs: Count
    pruning_epochs: Count  # in which every method does its work
    lr_factor: Positive  # on the learning rate once it has fallen
    lr_drop_epoch: Annotated[int, Field(ge=0)] | None = None  # epochs before it falls; null: pruning_epochs
    lr_schedule: Literal["drop", "cosine"] = "drop"  # how it falls, see spandex.train.TrainSettings
    average: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of a running mean of the weights, which is kept

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("pruning_epochs", "lr_drop_epoch"):
            if (getattr(self, name) or 0) > self.epochs:
                raise ValueError(f"{name}: {getattr(self, name)} is more than epochs: {self.epochs}")
        return self


class Distill(Section):
    """Distillation from a network that is frozen."""

    weight: Positive  # of the distance to it, in the loss
    teacher: str | None = None  # its name; that of the network that training starts from if not given


class OwnFineTuning(FineTuning):
    """That of one network; what its entry does not have is that of the profile."""

    distill: Distill | None = None


class Sparsify(FineTuning):
    """Fine-tuning, and settings that methods have by default, a section a method; see spandex.sparsify.methods."""

    model_config = ConfigDict(extra="allow")

    @property
    def fine_tuning(self) -> dict[str, Any]:
        """Without the methods."""
        return self.model_dump(include=set(FineTuning.model_fields))

    @property
    def defaults(self) -> dict[str, Any]:
        """Settings by method."""
        return dict(self.model_extra or {})


class Table(Section):
    """The paper's table: every network of ``networks``, and more where they are made."""

    also: list[str] = Field(default=[])  # networks and grids


class Comparison(Section):
    """A report over networks, made on request."""

    networks: Annotated[list[str], Field(min_length=1)]  # networks and grids
    figures: list[Literal["curves", "knee", "plane", "frontier"]] = Field(default=[])
    seeds: Annotated[int, Field(ge=1, le=100)] = 1  # how often each is trained, from seed on
    claims: bool = False  # whether the methods are judged by what their papers say
    mos: bool = False  # whether networks of more seeds than the first have MOS and scores of the float network, too


class Reports(Section):
    """The table, and comparisons by name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Comparison | None]

    table: Table = Table()

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """By name, in order."""
        return {name: report for name, report in (self.model_extra or {}).items() if report is not None}


class Deploy(Section):
    """Conversion to Lava and inference there."""

    run_config: Literal["sim", "loihi2"]  # fixed point on the CPU, or the chip
    sparsity_map: Literal["auto"] | bool | list[bool]
    density_threshold: Fraction  # non-zero weights up to which "auto" makes a layer sparse
    clips: Count
    clip_s: Positive  # from the start of each clip

    @property
    def sparsity_text(self) -> str:
        """``sparsity_map`` as typed on the command line."""
        if isinstance(self.sparsity_map, bool):
            return "sparse" if self.sparsity_map else "dense"
        return self.sparsity_map if isinstance(self.sparsity_map, str) else ",".join(map(str, self.sparsity_map))


class Evaluate(Section):
    mos: bool  # DNSMOS takes most of the evaluation's time
    device: Device  # of float networks and DNSMOS


class Report(Section):
    team: str
    date: datetime.date | None  # of the entry for the challenge's board, YYYY-MM-DD
