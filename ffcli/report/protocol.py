"""How runs were trained that may stand in one table: the protocol.

A protocol is everything in a run's configuration but its data set, negatives, phases and seed. Runs of two protocols,
or of full data and of the sample, never share a table. Two settings do not show in every run: the scaling rule of the
awake learning rate only where the rules resolve to different rates, the blur only where the negatives have masks.
A run belongs to every protocol that would have trained it in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, ConfigDict

from ffcli.choices import DataKind
from ffcli.config import (
    ALGORITHM_VERSION,
    BETA1,
    BETA2,
    NO_CURE,
    PRESETS,
    Cure,
    Device,
    Precision,
    Preset,
    RunConfig,
    preset_label,
    usual_scaling,
)
from ffcli.errors import BadOption
from ffcli.records import RunSummary
from ffcli.schedule import LrScaling, positive_lr
from ffcli.text import counted, unknown

Signature = tuple[object, ...]

RULES: tuple[LrScaling, ...] = ("ratio", "none", "notebook")
"""A rule has a table only where some run fits none of the rules before it; the usual one goes first."""

DEFAULT_PRESET = PRESETS["fast"]

SHARED = (
    "lr", "updates_per_batch", "batch_size", "threshold", "hidden", "holdout", "precision", "device", "cure", "warmup",
    "beta1", "beta2", "algorithm_version",
)  # fmt: skip
_shared = attrgetter(*SHARED)

PRESET_SETTINGS = ("lr", "updates_per_batch", "beta1", "beta2")
"""What tells one preset from another."""


class Protocol(BaseModel):
    """How runs were trained that may be compared. Its defaults are those of the command line, under `fast`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: DataKind = "full"
    """`full` also holds the user's own `.npz` files."""
    lr: float = DEFAULT_PRESET.lr
    updates_per_batch: int = DEFAULT_PRESET.updates_per_batch
    lr_scaling: LrScaling = "ratio"
    batch_size: int = 512
    threshold: float = 1.5
    hidden: tuple[int, ...] = (500, 500, 500)
    mask_blur: int = 5
    holdout: int = 0
    precision: Precision = "float32"
    device: Device = "cpu"
    cure: Cure = NO_CURE
    warmup: int = 0
    beta1: float = BETA1
    beta2: float = BETA2
    algorithm_version: int = ALGORITHM_VERSION

    @property
    def preset(self) -> Preset | None:
        """The preset whose rate and updates these are."""
        return preset_names().get(preset_label(self.lr, self.updates_per_batch, self.beta1, self.beta2))

    @property
    def label(self) -> str:
        """`fast@1`, `fast@1 with threshold 2.0`, or `custom: lr 0.01`: what differs from the defaults."""
        return describe({name: getattr(self, name) for name in type(self).model_fields})

    @property
    def signature(self) -> Signature:
        """What every run of the protocol shows."""
        return (self.data, *_shared(self))

    def admits(self, config: RunConfig) -> bool:
        """Whether a run of this configuration belongs into this protocol's tables."""
        return self.signature == signature(config) and self.fits(config)

    def fits(self, config: RunConfig) -> bool:
        """`admits`, for a run whose signature is known to be this protocol's."""
        return (
            config.mask_blur in (None, self.mask_blur)
            and config.lr_negative == self.lr
            and config.lr_positive == positive_lr(self.lr, config.schedule, self.lr_scaling)
        )

    def differences(self) -> dict[str, Any]:
        """The settings that are not the defaults."""
        return {name: value for name, default in _DEFAULTS.items() if (value := getattr(self, name)) != default}


_DEFAULTS = {name: field.default for name, field in Protocol.model_fields.items()}


_WORDS: Mapping[str, Callable[[Any], str]] = {
    "lr": "lr {}".format,
    "updates_per_batch": lambda updates: f"{counted(updates, 'update')} a batch",
    "lr_scaling": "lr scaling {}".format,
    "batch_size": "batches of {}".format,
    "threshold": "threshold {}".format,
    "hidden": lambda sizes: "hidden " + ",".join(map(str, sizes)),
    "mask_blur": "mask blur {}".format,
    "holdout": lambda images: f"{counted(images, 'image')} held out",
    "precision": "{}".format,
    "device": "device {}".format,
    "cure": "{}".format,
    "warmup": "warm-up of {} hours".format,
    "beta1": "beta1 {}".format,
    "beta2": "beta2 {}".format,
    "automatic_lr": lambda _: "lr auto",
    "algorithm_version": "algorithm version {}".format,
}


def describe(settings: Mapping[str, Any]) -> str:
    """What of these settings differs from the defaults, beginning with the preset where rate and updates are among
    them: `fast@1 with threshold 2.0`, `custom: lr 0.01`, `threshold 2.0`. `data` has no words here."""
    words = {
        name: _WORDS[name](value) for name, value in settings.items() if name in _WORDS and value != _DEFAULTS.get(name)
    }
    if not settings.keys() >= {"lr", "updates_per_batch"}:
        return ", ".join(words.values())
    preset = preset_label(*(settings.get(name, _DEFAULTS[name]) for name in PRESET_SETTINGS))
    if preset == "custom":
        return "custom: " + ", ".join(words.values())
    others = [word for name, word in words.items() if name not in PRESET_SETTINGS]
    return preset + (f" with {', '.join(others)}" if others else "")


def settings_of(config: RunConfig) -> dict[str, Any]:
    """What `describe` is told of a run: the scaling rule where it is not the usual, the blur only where there are
    masks, and in place of a rate and warm-up that are automatic the preset's and none, with `automatic_lr`."""
    settings = {name: getattr(config, name) for name in SHARED}
    if (lr := automatic_from(config)) is not None:
        settings |= {"lr": lr, "warmup": 0, "automatic_lr": True}
    if (rules := fitting_rules(config)) and rules[0] != usual_scaling(config.cure):
        settings["lr_scaling"] = rules[0]
    return settings if config.mask_blur is None else settings | {"mask_blur": config.mask_blur}


def automatic_from(config: RunConfig) -> float | None:
    """The preset's rate that `--lr auto` has made the run's from; None where the run does not look like that."""
    if not config.warmup:
        return None
    from ffcli.options import WARMUP, automatic_rate

    if config.warmup != WARMUP:
        return None
    rates = (preset.lr for preset in nearest_presets(config))
    made = (config.schedule, config.updates_per_batch, config.cure)
    return next((lr for lr in rates if config.lr == automatic_rate(lr, *made)), None)


def nearest_presets(config: RunConfig) -> list[Preset]:
    """Those with as many updates first."""
    return sorted(PRESETS.values(), key=lambda preset: preset.updates_per_batch != config.updates_per_batch)


def select(
    records: Iterable[RunSummary], *, preset: str | None = None, data: DataKind | None = None, tag: str | None = None
) -> list[RunSummary]:
    """The records of one preset (`fast`, `fast@1`, `custom`), of full data or the sample, under a tag.

    Raises BadOption where there is no such preset.
    """
    if preset is not None and preset not in {*preset_names(), "custom"}:
        raise BadOption(unknown("preset", preset, [*PRESETS, "custom"]))
    return [
        run
        for run in records
        if (preset is None or preset in (run.config.preset, run.config.preset.partition("@")[0]))
        and (data is None or data == data_kind(run.config))
        and (tag is None or tag in run.tags)
    ]


def default_protocol(preset: str | None = None, data: DataKind | None = None) -> Protocol:
    """What is shown where nothing is measured: the protocol of `ff train` with these options alone."""
    chosen = preset_names().get(preset or "", DEFAULT_PRESET)
    return Protocol(data=data or "full", lr=chosen.lr, updates_per_batch=chosen.updates_per_batch)


def preset_names() -> dict[str, Preset]:
    """The presets by name, and by label."""
    return PRESETS | {preset.label: preset for preset in PRESETS.values()}


def data_kind(config: RunConfig) -> DataKind:
    return "sample" if config.data.source == "sample" else "full"


def signature(config: RunConfig) -> Signature:
    """What a run has in common with all others of its protocols, as one hashable value."""
    return (data_kind(config), *_shared(config))


def fitting_rules(config: RunConfig) -> list[LrScaling]:
    """The scaling rules that give this run's awake rate, the usual one first, then as in `RULES`."""
    fitting = [rule for rule in RULES if config.lr_positive == positive_lr(config.lr, config.schedule, rule)]
    return sorted(fitting, key=lambda rule: rule != usual_scaling(config.cure))
