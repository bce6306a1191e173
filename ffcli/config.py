"""A resolved run: the one frozen object that is passed down, and the key that identifies the run.

`ffcli.planning` makes a `RunConfig` from the `Settings` that a user gave and the data that the run will use.
`RunConfig.key` is the SHA-256 of everything that decides the trajectory. Epochs, names and paths are requests, labels
and places; they are not part of it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, computed_field

from ffcli.schedule import LrScaling, Phase, Schedule
from ffcli.settings import Cure, Frozen, Key, PresetSettings, ProtocolSettings, Setting

ALGORITHM_VERSION = 1
"""Raised whenever the same key would no longer give the same mathematics."""

DataSource = Literal["full", "sample", "file"]
Device = Literal["cpu", "cuda"]


class Preset(PresetSettings):
    """Values for the settings of a preset, with a version, so that recalibrating never rewrites a result."""

    name: str
    version: int
    epochs: int

    @property
    def label(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def option(self) -> str:
        """Value of `--preset`: the name for the latest version, otherwise the label."""
        return self.name if PRESETS[self.name] is self else self.label


_ALL_PRESETS = [
    Preset(name="fast", version=1, updates_per_batch=1, lr=0.05, epochs=20),
    Preset(name="paper", version=1, updates_per_batch=50, lr=1e-3, epochs=500),
    # Time-scaled Adam (docs/reproduction.md): per hour, the moments decay as with 50 updates.
    Preset(name="scaled", version=1, updates_per_batch=5, lr=0.01, beta1=0.348678, beta2=0.990045, epochs=500),
]
PRESETS = {preset.name: preset for preset in _ALL_PRESETS} | {preset.label: preset for preset in _ALL_PRESETS}
"""The latest version of every preset by its name (`fast`), and every version by its label (`fast@1`)."""

DEFAULT_PRESET = PRESETS["fast"]
CUSTOM = "custom"
"""Label of a run whose settings are no preset's."""


def all_presets() -> list[Preset]:
    """Return every version of every preset, each once."""
    return _ALL_PRESETS


def presets_named(name: str) -> list[Preset]:
    """Return the presets with this label (`fast@1`), or all versions of one name (`fast`)."""
    return [preset for preset in _ALL_PRESETS if name in (preset.name, preset.label)]


def has_preset(settings: PresetSettings, name: str) -> bool:
    """Return whether the settings are those of a preset: by its label, by its name in any version, or `custom`."""
    label = preset_label(settings)
    return name in (label, label.partition("@")[0])


def preset_label(settings: PresetSettings) -> str:
    """Return the label of the preset that has these settings, or `custom`."""
    names = PresetSettings.model_fields
    same = (p.label for p in _ALL_PRESETS if all(getattr(p, name) == getattr(settings, name) for name in names))
    return next(same, CUSTOM)


PLAIN_SCALING: LrScaling = "ratio"
CURED_SCALING: LrScaling = "none"
"""With a cure each update uses both halves of the loss, so a longer phase does not have to learn more slowly."""


def default_scaling(cure: Cure) -> LrScaling:
    """Return the default of `lr_scaling`."""
    return CURED_SCALING if cure else PLAIN_SCALING


WARMUP = 256
"""Hours of warm-up with `--lr auto`: without one, the first phases kill units that no later phase revives."""


class DataRef(Frozen):
    """The data of a run: name, origin and content."""

    name: str
    """Name of a known dataset, or of the user's file or folder."""
    source: DataSource
    fingerprint: str
    """SHA-256 of pixels, labels and shapes."""
    features: int
    classes: int
    train: int
    """Number of training images."""
    test: int
    """Number of test images."""
    largest_class: float
    """Share of the test set's largest class in percent."""
    path: str | None = None
    """Path of the user's file or folder; None for known datasets. Not part of the key."""

    @property
    def label(self) -> str:
        return f"{self.name} (sample)" if self.source == "sample" else self.name


class RunConfig(ProtocolSettings, PresetSettings):
    """A resolved run: no value depends on a default any more."""

    # Stored configs hold values that are computed here.
    model_config = ConfigDict(extra="ignore")

    data: Annotated[DataRef, Key.NEVER]
    negatives: Annotated[str, Key.ALWAYS]
    schedule: Annotated[Schedule, Key.NEVER]
    epochs: Annotated[int, Field(ge=1), Key.NEVER]
    lr_positive: Annotated[float, Field(gt=0, allow_inf_nan=False), Key.ALWAYS]
    lr_negative: Annotated[float, Field(gt=0, allow_inf_nan=False), Key.ALWAYS]
    lr_scaling: Annotated[LrScaling, Key.NEVER]
    mask_blur: Annotated[int | None, Key.ALWAYS]
    """Times that a mask is blurred; None if the negatives have no masks."""
    seed: Annotated[int, Field(ge=0, lt=2**63), Key.ALWAYS]
    device: Annotated[Device, Key.ALWAYS]
    warmup: Annotated[int, Field(ge=0)] = 0
    """Hours in which the learning rate rises linearly to its value."""
    algorithm_version: Annotated[int, Key.ALWAYS] = ALGORITHM_VERSION

    @computed_field  # type: ignore[prop-decorator]
    @property
    def preset(self) -> str:
        """Label of the preset that has these settings, or `custom`. An automatic learning rate counts as the preset's
        rate that it was computed from."""
        lr = automatic_lr_origin(self)
        return preset_label(self if lr is None else self.model_copy(update={"lr": lr}))

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the trajectory, as JSON values by name.

        Settings that were added after the first version are absent at their default, so that a run has the same key
        in every version of the program.
        """
        always, unless_default = _key_fields(Key.ALWAYS), _key_fields(Key.UNLESS_DEFAULT)
        changed = {name for name in unless_default if getattr(self, name) != type(self).model_fields[name].default}
        return {
            "data": self.data.fingerprint,
            "schedule": [self.schedule.positive, self.schedule.negative],
            **self.model_dump(mode="json", include=always | changed),
        }

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
        """Accuracy in percent of a network that learned nothing: 100/K, or the share of the largest class."""
        return max(100 / self.data.classes, self.data.largest_class)

    @property
    def batches(self) -> int:
        """Full batches in the training images that are not held out."""
        return (self.data.train - self.holdout) // self.batch_size

    @property
    def hours(self) -> int:
        """Hours of the whole run. The last batch of an epoch may be smaller unless the negatives need full ones."""
        from ffcli.data.negatives import STRATEGIES

        partial = (
            bool((self.data.train - self.holdout) % self.batch_size) and not STRATEGIES[self.negatives].full_batches
        )
        return self.epochs * (self.batches + partial)


def automatic_lr(most: float, schedule: Schedule, updates: int, cure: Cure) -> float:
    """Return the learning rate of `--lr auto`: `most`, or less if one phase would move a weight further than the cure
    tolerates."""
    from ffcli.engine.cures import CURES

    longest = max(schedule.positive, schedule.negative)
    return min(most, CURES[cure.name].displacement / (longest * updates)) if longest else most


def automatic_lr_origin(config: RunConfig) -> float | None:
    """Return the preset's learning rate from which `--lr auto` computed that of the run; None if it did not."""
    if config.warmup != WARMUP:
        return None
    made = (config.schedule, config.updates_per_batch, config.cure)
    rates = (preset.lr for preset in nearest_presets(config))
    return next((lr for lr in rates if config.lr == automatic_lr(lr, *made)), None)


def nearest_presets(settings: PresetSettings) -> list[Preset]:
    """Return all presets, those that differ from `settings` in fewest values, apart from the learning rate, first."""
    names = PresetSettings.model_fields.keys() - {"lr"}
    return sorted(all_presets(), key=lambda preset: sum(getattr(preset, n) != getattr(settings, n) for n in names))


def _key_fields(key: Key) -> set[str]:
    return {name for name in RunConfig.model_fields if _key_of(name) is key}


def _key_of(name: str) -> Key:
    metadata = RunConfig.model_fields[name].metadata
    declared = [m if isinstance(m, Key) else m.key for m in metadata if isinstance(m, (Key, Setting))]
    return declared[0] if declared else Key.UNLESS_DEFAULT
