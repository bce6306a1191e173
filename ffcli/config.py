"""What was asked of a run, resolved: the one frozen object that is passed down, and the key that identifies a run.

`ffcli.options` makes it from what a user gave and the data it will run on. `RunConfig.key` is the SHA-256 of all that
decides the trajectory; epochs, names and places are requests and labels and do not enter it.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from ffcli.schedule import LrScaling, Phase, Schedule

ALGORITHM_VERSION = 1
"""Raised whenever the same key would no longer give the same mathematics."""

DataSource = Literal["full", "sample", "file"]
Precision = Literal["float32", "float64", "bf16", "tf32"]
"""`bf16`: matrix products in bfloat16; parameters, moments, goodness and loss in float32. `tf32`: matrix products
of float32 numbers with 11 significant bits; CUDA devices from compute capability 8.0 on."""
Device = Literal["cpu", "cuda"]

Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Beta = Annotated[float, Field(ge=0, lt=1)]
REPLAYED = 512
"""Samples that `replay` keeps where no number is given."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # built once, as a whole


class Preset(Frozen):
    """Updates, rate and length of a run, named with its version so that recalibrating never rewrites a result."""

    name: str
    version: int
    updates_per_batch: int
    lr: float
    epochs: int

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"


BETA1, BETA2 = 0.9, 0.999
"""Adam's usual decay rates of its first and second moment."""

PRESETS = {
    "fast": Preset(name="fast", version=1, updates_per_batch=1, lr=0.05, epochs=20),
    "paper": Preset(name="paper", version=1, updates_per_batch=50, lr=1e-3, epochs=500),
}


class Cure(Frozen):
    """What a network keeps of one phase to go on learning by in the other (see `ffcli.engine.cures`).

    Written `none`, `gradient-memory`, `replay` or `replay:512`.
    """

    name: Literal["none", "gradient-memory", "replay"] = "none"
    samples: int | None = Field(default=None, ge=1)
    """Inputs that `replay` keeps of each phase, at each layer; None for a cure that keeps none."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, (Cure, dict)):
            return value
        if not isinstance(value, str) or not re.fullmatch("none|gradient-memory|replay(:0*[1-9][0-9]*)?", value):
            raise ValueError(f"should be none, gradient-memory, replay or replay:SAMPLES, not {value!r}")
        name, _, samples = value.partition(":")
        return {"name": name, "samples": samples or (REPLAYED if name == "replay" else None)}

    @model_serializer
    def __str__(self) -> str:
        return self.name if self.samples is None else f"{self.name}:{self.samples}"

    def __bool__(self) -> bool:
        return self.name != "none"


NO_CURE = Cure()


PLAIN_SCALING: LrScaling = "ratio"
CURED_SCALING: LrScaling = "none"
"""With a cure each update has both halves of the loss, so that a longer phase need not learn more slowly."""


def usual_scaling(cure: Cure) -> LrScaling:
    """How the awake rate is scaled where nobody says."""
    return CURED_SCALING if cure else PLAIN_SCALING


class DataRef(Frozen):
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


class RunConfig(Frozen):
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
    cure: Cure = NO_CURE
    warmup: int = Field(default=0, ge=0)
    """Hours over which the rates rise, linearly, to what they are."""
    beta1: Beta = BETA1
    beta2: Beta = BETA2
    """Decay rates of Adam's first and second moment, per update."""
    algorithm_version: int = ALGORITHM_VERSION

    def identity(self) -> dict[str, Any]:
        """All that decides the trajectory, as canonical values."""
        return {
            "data": self.data.fingerprint,
            "schedule": [self.schedule.positive, self.schedule.negative],
            # Absent where there is none, so that a plain run has the same key whether its program knew them or not.
            **({"cure": str(self.cure)} if self.cure else {}),
            **({"warmup": self.warmup} if self.warmup else {}),
            **({"beta1": self.beta1} if self.beta1 != BETA1 else {}),
            **({"beta2": self.beta2} if self.beta2 != BETA2 else {}),
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

    def learning_rate(self, phase: Phase, hour: int) -> float:
        """Return the learning rate of `hour` (counted from 0): that of its phase, reduced during the warm-up."""
        rate = {"positive": self.lr_positive, "negative": self.lr_negative, "joint": self.lr}[phase]
        return rate * min(1.0, (hour + 1) / self.warmup) if self.warmup else rate

    @property
    def chance(self) -> float:
        """Accuracy in percent of a network that learned nothing: 100/K, or the largest class's share."""
        return max(100 / self.data.classes, self.data.largest_class)

    @property
    def batches(self) -> int:
        """Full batches in the training images that are left after the held-out ones."""
        return (self.data.train - self.holdout) // self.batch_size

    @property
    def hours(self) -> int:
        """Of the whole run. Without masks an epoch's last batch may be smaller."""
        whole = self.mask_blur is not None
        return self.epochs * (self.batches if whole else -(-(self.data.train - self.holdout) // self.batch_size))


def preset_label(lr: float, updates_per_batch: int, beta1: float = BETA1, beta2: float = BETA2) -> str:
    """`fast@1`, `paper@1`, or `custom` where neither preset has this rate, these updates and Adam's usual betas."""
    for preset in PRESETS.values():
        if (preset.lr, preset.updates_per_batch, BETA1, BETA2) == (lr, updates_per_batch, beta1, beta2):
            return preset.label
    return "custom"
