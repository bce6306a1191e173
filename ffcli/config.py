"""What was asked of a run, resolved: the one frozen object that is passed down, and the key that identifies a run.

`TrainOptions` is what a user may ask for, as flags or as TOML. `resolve` turns it, together with the data it
will run on, into a `RunConfig`, in which nothing is left open. `RunConfig.key` is the SHA-256 of all that decides
the trajectory; epochs, names and places are requests and labels and do not enter it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ffcli.errors import BadOption, unknown

ALGORITHM_VERSION = 1
"""Raised whenever the same key would no longer give the same mathematics."""

DataSource = Literal["full", "sample", "file"]
Wanted = Literal["auto", "full", "sample"]
LrScaling = Literal["ratio", "notebook", "none"]
Precision = Literal["float32", "float64", "bf16"]
"""`bf16`: matrix products in bfloat16; parameters, moments, goodness and loss in float32."""
Device = Literal["cpu", "cuda"]

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
AskedCount = Annotated[int, Field(ge=1, le=10**9)]
AskedRate = Annotated[float, Field(ge=1e-12, allow_inf_nan=False)]  # no phase scales it to 0


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Preset(_Frozen):
    """Updates, rate and length of a run, named with its version so that recalibrating never rewrites a result."""

    name: str
    version: int
    updates_per_batch: int
    lr: float
    epochs: int

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


PRESETS = {
    "fast": Preset(name="fast", version=1, updates_per_batch=1, lr=0.05, epochs=20),
    "paper": Preset(name="paper", version=1, updates_per_batch=50, lr=1e-3, epochs=500),
}


class Schedule(_Frozen):
    """Lengths of the positive and the negative phase in hours (batches).

    0 and 0 means that there are no phases: both kinds of data in every hour (unseparated).
    """

    positive: int = Field(ge=0)
    negative: int = Field(ge=0)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Schedule:
        if (self.positive == 0) != (self.negative == 0):
            raise ValueError("a phase of 0 hours is no phase: give both lengths, or neither (unseparated)")
        return self

    @property
    def separated(self) -> bool:
        return self.positive > 0

    def __str__(self) -> str:
        return f"{self.positive}:{self.negative}" if self.separated else "unseparated"


UNSEPARATED = Schedule(positive=0, negative=0)


def awake_lr(lr: float, schedule: Schedule, scaling: LrScaling) -> float:
    """The rate of the positive phase.

    `ratio`: lr N/P where the positive phase is the longer one, so balanced phases are unscaled and P:1 gives lr/P.
    `notebook`: lr/P always. `none`: lr. Unseparated hours are never scaled.
    """
    positive, negative = schedule.positive, schedule.negative
    if not schedule.separated or scaling == "none":
        return lr
    if scaling == "notebook":
        return lr / positive
    return lr * negative / positive if positive > negative else lr


class DataRef(_Frozen):
    """Which data a run sees: what a data set is called, where it came from, and what it contains."""

    name: str
    """`mnist`, `fashion`, `cifar10`, or the stem of an `.npz` file."""
    source: DataSource
    fingerprint: str
    """SHA-256 of the pixels, labels and shapes: the content, not the place."""
    features: int
    classes: int
    train: int
    test: int
    largest_class: float
    """Share of the test set's largest class, in percent."""
    path: str | None = None
    """Where the `.npz` lies; None for the named data sets. Not part of the key."""

    @property
    def label(self) -> str:
        return f"{self.name} (sample)" if self.source == "sample" else self.name


class RunConfig(_Frozen):
    """A run, resolved: nothing is left to a default."""

    data: DataRef
    negatives: str
    schedule: Schedule
    preset: str
    """Label of the preset whose rate and updates these are, or `custom`."""
    epochs: int = Field(ge=1)
    updates_per_batch: Positive
    lr: Rate
    lr_positive: Rate
    lr_negative: Rate
    lr_scaling: LrScaling
    batch_size: Positive
    threshold: float = Field(allow_inf_nan=False)
    hidden: tuple[Positive, ...] = Field(min_length=1)
    mask_blur: int | None
    """Times the masks are blurred; None where the negatives have no masks."""
    holdout: int = Field(ge=0)
    seed: int = Field(ge=0, lt=2**63)
    precision: Precision
    device: Device
    algorithm_version: int = ALGORITHM_VERSION

    def identity(self) -> dict[str, Any]:
        """All that decides the trajectory, as canonical values."""
        return {
            "data": self.data.fingerprint,
            "schedule": [self.schedule.positive, self.schedule.negative],
            **self.model_dump(
                mode="json",
                include={
                    "negatives", "mask_blur", "holdout", "hidden", "lr", "lr_positive", "lr_negative", "threshold",
                    "batch_size", "updates_per_batch", "seed", "precision", "device", "algorithm_version",
                },
            ),
        }  # fmt: skip

    @property
    def key(self) -> str:
        """SHA-256 (64 hex digits) of the canonical JSON of `identity()`."""
        canonical = json.dumps(self.identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def chance(self) -> float:
        """Accuracy in percent of a network that learned nothing: 100/K, or the largest class's share."""
        return max(100 / self.data.classes, self.data.largest_class)

    @property
    def batches(self) -> int:
        """Full batches in the training images that are left after the held-out ones."""
        return (self.data.train - self.holdout) // self.batch_size


class TrainOptions(_Frozen):
    """What a user may ask of a run; None takes the preset's value. The TOML that `ff show RUN --toml` prints."""

    dataset: str = "mnist"
    data: Wanted = "auto"
    """`auto` takes the full set where it can be had, else the sample that ships with ffcli."""
    neg: str = "label"
    pos_phase: AskedCount | None = None
    neg_phase: AskedCount | None = None
    unseparated: bool = False
    preset: str = "fast"
    epochs: AskedCount | None = None
    lr: AskedRate | None = None
    lr_scaling: LrScaling = "ratio"
    updates_per_batch: AskedCount | None = None
    batch_size: AskedCount = 512
    threshold: float = Field(default=1.5, allow_inf_nan=False)
    hidden: tuple[AskedCount, ...] = Field(default=(500, 500, 500), min_length=1)
    mask_blur: int = Field(default=5, ge=0, le=12)
    seed: int = Field(default=0, ge=0, lt=2**63)
    holdout: int = Field(default=0, ge=0)
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _phases_or_none(self) -> TrainOptions:
        if self.unseparated and (self.pos_phase or self.neg_phase):
            raise ValueError("unseparated hours have no phases: leave out the phase lengths, or --unseparated")
        return self

    @property
    def schedule(self) -> Schedule:
        if self.unseparated:
            return UNSEPARATED
        return Schedule(positive=self.pos_phase or 1, negative=self.neg_phase or 1)


def resolve(options: TrainOptions, data: DataRef, *, device: Device = "cpu", uses_masks: bool) -> RunConfig:
    """Close everything that `options` leaves open.

    Raises BadOption where the options do not fit the data: more classes than features, fewer images than a batch.
    """
    preset = PRESETS.get(options.preset.partition("@")[0])
    if preset is None or options.preset not in (preset.name, preset.label):
        raise BadOption(unknown("preset", options.preset, PRESETS))
    lr = options.lr if options.lr is not None else preset.lr
    updates = options.updates_per_batch or preset.updates_per_batch
    config = RunConfig(
        data=data,
        negatives=options.neg,
        schedule=options.schedule,
        preset=preset_label(lr, updates),
        epochs=options.epochs or preset.epochs,
        updates_per_batch=updates,
        lr=lr,
        lr_positive=awake_lr(lr, options.schedule, options.lr_scaling),
        lr_negative=lr,
        lr_scaling=options.lr_scaling,
        batch_size=options.batch_size,
        threshold=options.threshold,
        hidden=options.hidden,
        mask_blur=options.mask_blur if uses_masks else None,
        holdout=options.holdout,
        seed=options.seed,
        precision=options.precision,
        device=device,
    )
    if data.classes > data.features:
        raise BadOption(
            f"{data.name} has {data.classes} classes but only {data.features} features:"
            " a label needs one feature a class"
        )
    if data.train < config.batch_size:
        raise BadOption(
            f"--batch-size {config.batch_size} is more than the {data.train} training images of {data.label}"
        )
    if config.batches < 1:
        raise BadOption(
            f"--holdout {config.holdout} leaves no batch of {config.batch_size} of the {data.train} training images of"
            f" {data.label}: give at most {data.train - config.batch_size}"
        )
    return config


def preset_label(lr: float, updates_per_batch: int) -> str:
    """`fast@1`, `paper@1`, or `custom` where neither preset has this rate and these updates."""
    for preset in PRESETS.values():
        if (preset.lr, preset.updates_per_batch) == (lr, updates_per_batch):
            return preset.label
    return "custom"
