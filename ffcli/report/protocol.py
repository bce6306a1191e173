"""Protocols: which runs may share a table.

A protocol is every setting of a run except dataset, negatives, schedule, seed and device. Runs of two protocols, or of
full data and of the sample, never share a table. Devices do: they only draw other random numbers.

Two settings cannot be determined from every run: the scaling rule of the positive phase's learning rate if several
rules give the same rate, and the blur if the negatives have no masks. A run belongs to every protocol that would have
trained it in the same way.

With `--lr auto` the learning rate depends on the schedule. Such runs share one protocol, in which the preset's rate
stands for all of them and `has_automatic_lr` is set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from ffcli import settings as definitions
from ffcli.choices import DataKind
from ffcli.config import (
    ALGORITHM_VERSION,
    CUSTOM,
    DEFAULT_PRESET,
    PRESETS,
    Preset,
    RunConfig,
    automatic_lr,
    automatic_lr_origin,
    default_scaling,
    preset_label,
)
from ffcli.errors import BadOption
from ffcli.records import RunSummary
from ffcli.schedule import LrScaling, positive_lr
from ffcli.settings import PresetSettings, ProtocolSettings
from ffcli.text import unknown

Signature = tuple[object, ...]

RULES: tuple[LrScaling, ...] = ("ratio", "none", "notebook")
"""Scaling rules, the default first. A rule gets a table only if some run fits none of the earlier rules."""

_STORED = (*PresetSettings.model_fields, *ProtocolSettings.model_fields, "warmup", "algorithm_version")
"""Settings that every run determines, by their names in `RunConfig`."""

SHARED = (*_STORED, "has_automatic_lr")
"""Settings that all runs of a protocol share, by their names in `Protocol`."""

DESCRIBED = (*SHARED, "device")
"""Settings that `describe` names if they differ from the defaults."""

_shared = attrgetter(*SHARED)
_stored = attrgetter(*_STORED)


class Protocol(ProtocolSettings, PresetSettings):
    """The settings of the runs of one table. Its defaults are those of the command line."""

    data: DataKind = "full"
    """`full` includes the user's own `.npz` files."""
    lr: float = DEFAULT_PRESET.lr
    updates_per_batch: int = DEFAULT_PRESET.updates_per_batch
    beta1: float = DEFAULT_PRESET.beta1
    beta2: float = DEFAULT_PRESET.beta2
    lr_scaling: LrScaling = "ratio"
    mask_blur: int = 5
    warmup: int = 0
    algorithm_version: int = ALGORITHM_VERSION
    has_automatic_lr: bool = False
    """Whether `--lr auto` computed the rate of each run from `lr` and its schedule, with the warm-up that belongs to
    it; `warmup` is then 0."""

    @property
    def preset(self) -> Preset | None:
        """The preset that has these settings."""
        return PRESETS.get(preset_label(self))

    @property
    def label(self) -> str:
        """`fast@1`, `fast@1 with threshold 2.0`, or `custom: lr 0.01`: what differs from the defaults."""
        return describe({name: getattr(self, name) for name in _DEFAULTS})

    @property
    def signature(self) -> Signature:
        """Values that all runs of the protocol share."""
        return (self.data, *_shared(self))

    def fits(self, config: RunConfig) -> bool:
        """Return whether a run with this protocol's signature belongs to its tables."""
        lr = self.lr
        if self.has_automatic_lr:
            lr = automatic_lr(lr, config.schedule, self.updates_per_batch, self.cure)
        return (
            config.mask_blur in (None, self.mask_blur)
            and config.lr_negative == lr
            and config.lr_positive == positive_lr(lr, config.schedule, self.lr_scaling)
        )

    def differences(self) -> dict[str, Any]:
        """Return the settings that do not have their default."""
        return {name: value for name, default in _DEFAULTS.items() if (value := getattr(self, name)) != default}


_DEFAULTS = {name: field.default for name, field in Protocol.model_fields.items()}

_DEFAULTS_OF_RUNS = _DEFAULTS | {"device": "cpu"}

_LABELLED = [name for name in definitions.names() if name in _DEFAULTS_OF_RUNS and name != "data"]
"""The settings of a run in the order of the help, in which labels name them."""


def describe(settings: Mapping[str, Any]) -> str:
    """Return what differs from the defaults in words, after the preset if the preset's settings are among `settings`.

    Examples: `fast@1 with threshold 2.0`, `custom: lr 0.01`, `threshold 2.0`.
    """
    labels = {
        name: definitions.label(name, settings[name])
        for name in _LABELLED
        if name in settings and settings[name] != _DEFAULTS_OF_RUNS[name]
    }
    if settings.get("has_automatic_lr"):
        labels[definitions.AUTO] = "lr auto"
    if settings.get("algorithm_version", ALGORITHM_VERSION) != ALGORITHM_VERSION:
        labels["algorithm_version"] = f"algorithm version {settings['algorithm_version']}"
    if not settings.keys() >= {"lr", "updates_per_batch"}:
        return ", ".join(labels.values())
    values = {name: settings.get(name, _DEFAULTS[name]) for name in PresetSettings.model_fields}
    preset = preset_label(PresetSettings.model_construct(**values))
    if preset == CUSTOM:
        return "custom: " + ", ".join(labels.values())
    others = [text for name, text in labels.items() if name not in values]
    return preset + (f" with {', '.join(others)}" if others else "")


def settings_of(config: RunConfig) -> dict[str, Any]:
    """Return the settings of a run for `describe`.

    The scaling rule is included only if it is not the default, the blur only if there are masks.
    """
    settings = shared_settings(config) | {"device": config.device}
    if (rules := fitting_rules(config)) and rules[0] != default_scaling(config.cure):
        settings["lr_scaling"] = rules[0]
    return settings if config.mask_blur is None else settings | {"mask_blur": config.mask_blur}


def select(
    records: Iterable[RunSummary], *, preset: str | None = None, data: DataKind | None = None, tag: str | None = None
) -> list[RunSummary]:
    """Return the records of one preset (`fast`, `fast@1`, `custom`), of full data or the sample, with a tag.

    Raises:
        BadOption: if there is no such preset.
    """
    if preset is not None and preset not in {*PRESETS, CUSTOM}:
        raise BadOption(unknown("preset", preset, [*PRESETS, CUSTOM]))
    return [
        run
        for run in records
        if (preset is None or preset in (label := run.config.preset, label.partition("@")[0]))
        and (data is None or data == data_kind(run.config))
        and (tag is None or tag in run.tags)
    ]


_Table = TypeVar("_Table")


def with_label(tables: Sequence[_Table], wanted: str | None, label: Callable[[_Table], str]) -> list[_Table]:
    """Return the tables with this label, or if there are none, with this text in their label; None admits all.

    Raises:
        BadOption: if there are none.
    """
    if wanted is None or not tables:
        return list(tables)
    found = [table for table in tables if label(table) == wanted]
    found = found or [table for table in tables if wanted.casefold() in label(table).casefold()]
    if not found:
        names = "; ".join(dict.fromkeys(map(label, tables)))
        raise BadOption(f"no table's protocol has '{wanted}' in its name: there are {names}")
    return found


def default_protocol(preset: str | None = None, data: DataKind | None = None) -> Protocol:
    """Return the protocol of `ff train` with these options alone, which is shown if nothing is measured."""
    chosen = PRESETS.get(preset or "", DEFAULT_PRESET)
    return Protocol(data=data or "full", **{name: getattr(chosen, name) for name in PresetSettings.model_fields})


def data_kind(config: RunConfig) -> DataKind:
    """Return whether a run used full data or the sample."""
    return "sample" if config.data.source == "sample" else "full"


def shared_settings(config: RunConfig) -> dict[str, Any]:
    """Return the settings that a run shares with all runs of its protocols, by the names of `SHARED`.

    An automatic learning rate and its warm-up are replaced by the preset's rate and `has_automatic_lr`.
    """
    settings = dict(zip(_STORED, _stored(config), strict=True)) | {"has_automatic_lr": False}
    if (lr := automatic_lr_origin(config)) is not None:
        settings |= {"lr": lr, "warmup": 0, "has_automatic_lr": True}
    return settings


def signature(config: RunConfig) -> Signature:
    """Return the values of `shared_settings` and the kind of data as one hashable value."""
    return (data_kind(config), *shared_settings(config).values())


def fitting_rules(config: RunConfig) -> list[LrScaling]:
    """Return the scaling rules that give this run's positive learning rate: the default first, then as in `RULES`."""
    fitting = [rule for rule in RULES if config.lr_positive == positive_lr(config.lr, config.schedule, rule)]
    return sorted(fitting, key=lambda rule: rule != default_scaling(config.cure))
