"""What a table of the report is about: one protocol, and the horizon of epochs at which its runs are read.

A protocol is everything in a run's configuration but its data set, negatives, phases and seed. Runs of two protocols,
or of full data and of the sample, never share a table. Two settings do not show in every run: the scaling rule of the
awake learning rate only where the rules resolve to different rates, the blur only where the negatives have masks.
A run belongs to every protocol that would have trained it in the same way.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict

from ffcli.config import (
    ALGORITHM_VERSION,
    PRESETS,
    Device,
    LrScaling,
    Precision,
    Preset,
    RunConfig,
    Schedule,
    awake_lr,
    preset_label,
)
from ffcli.errors import BadOption, unknown
from ffcli.records import Outcome, RunRecord

DataKind = Literal["full", "sample"]
Signature = tuple[object, ...]

RULES: tuple[LrScaling, ...] = ("ratio", "none", "notebook")
"""A rule has a table only where some run fits none of the rules before it."""

DEFAULT_PRESET = PRESETS["fast"]

_SHARED = (
    "lr", "updates_per_batch", "batch_size", "threshold", "hidden", "holdout", "precision", "device",
    "algorithm_version",
)  # fmt: skip
_shared = attrgetter(*_SHARED)


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
    algorithm_version: int = ALGORITHM_VERSION

    @property
    def preset(self) -> Preset | None:
        """The preset whose rate and updates these are."""
        label = preset_label(self.lr, self.updates_per_batch)
        return next((preset for preset in PRESETS.values() if preset.label == label), None)

    @property
    def label(self) -> str:
        """`fast@1`, `fast@1 with threshold 2.0`, or `custom: lr 0.01`: what differs from the defaults."""
        differences = {name: _WORDS[name](value) for name, value in self._differences().items() if name in _WORDS}
        if self.preset is None:
            return "custom: " + ", ".join(differences.values())
        settings = [words for name, words in differences.items() if name not in ("lr", "updates_per_batch")]
        return self.preset.label + (f" with {', '.join(settings)}" if settings else "")

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
            and config.lr_positive == awake_lr(self.lr, config.schedule, self.lr_scaling)
        )

    def _differences(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if getattr(self, name) != field.default
        }


_WORDS = {
    "lr": "lr {}".format,
    "updates_per_batch": "{} updates a batch".format,
    "lr_scaling": "lr scaling {}".format,
    "batch_size": "batches of {}".format,
    "threshold": "threshold {}".format,
    "hidden": lambda sizes: "hidden " + ",".join(map(str, sizes)),
    "mask_blur": "mask blur {}".format,
    "holdout": "{} images held out".format,
    "precision": "{}".format,
    "device": "device {}".format,
    "algorithm_version": "algorithm version {}".format,
}


def select(
    records: Iterable[RunRecord], *, preset: str | None = None, data: DataKind | None = None, tag: str | None = None
) -> list[RunRecord]:
    """The records of one preset (`fast`, `fast@1`, `custom`), of full data or the sample, under a tag.

    Raises BadOption where there is no such preset.
    """
    if preset is not None and preset not in {*_preset_names(), "custom"}:
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
    chosen = _preset_names().get(preset or "", DEFAULT_PRESET)
    return Protocol(data=data or "full", lr=chosen.lr, updates_per_batch=chosen.updates_per_batch)


def _preset_names() -> dict[str, Preset]:
    return PRESETS | {preset.label: preset for preset in PRESETS.values()}


def data_kind(config: RunConfig) -> DataKind:
    return "sample" if config.data.source == "sample" else "full"


def signature(config: RunConfig) -> Signature:
    """What a run has in common with all others of its protocols, as one hashable value."""
    return (data_kind(config), *_shared(config))


def plan(records: Iterable[RunRecord], epochs: int | None = None) -> list[tuple[Protocol, int]]:
    """The protocols of `records`, presets and full data first, each with the epochs at which its tables read the runs.

    That is `epochs` where given, else the preset's where a run has got so far (no preset: the most that were asked for
    and reached), else as far as any run has got.
    """
    planned = []
    for shared, runs in by_signature(records).items():
        for protocol in _protocols(shared, [run.config for run in runs]):
            planned.append((protocol, epochs or _horizon(protocol, [r for r in runs if protocol.fits(r.config)])))
    return sorted(planned, key=lambda pair: _order(pair[0]))


Stored = TypeVar("Stored", RunRecord, Outcome)


def by_signature(stored: Iterable[Stored]) -> dict[Signature, list[Stored]]:
    """Runs, or what they had reached, by what they share. Superseded runs are left out."""
    groups: dict[Signature, list[Stored]] = defaultdict(list)
    for item in stored:
        run = item.run if isinstance(item, Outcome) else item
        if run.status != "superseded":
            groups[signature(run.config)].append(item)
    return groups


def _protocols(shared: Signature, configs: Sequence[RunConfig]) -> list[Protocol]:
    shown = {(rule, config.mask_blur) for config in configs if (rule := _first_rule(config)) is not None}
    blurs = {blur for _, blur in shown if blur is not None} or {Protocol().mask_blur}
    wanted = {(rule, b) for rule, blur in shown for b in (blurs if blur is None else {blur})}
    base = Protocol(data=data_kind(configs[0]), **dict(zip(_SHARED, shared[1:], strict=True)))
    return [base.model_copy(update={"lr_scaling": rule, "mask_blur": blur}) for rule, blur in wanted]


def _first_rule(config: RunConfig) -> LrScaling | None:
    fitting = (rule for rule in RULES if config.lr_positive == awake_lr(config.lr, config.schedule, rule))
    return next(fitting, None) if config.lr_negative == config.lr else None


def _horizon(protocol: Protocol, runs: Sequence[RunRecord]) -> int:
    longest = max(run.epochs_done for run in runs)
    asked = {protocol.preset.epochs} if protocol.preset else {run.config.epochs for run in runs}
    return max((epochs for epochs in asked if epochs <= longest), default=longest or max(asked))


def _order(protocol: Protocol) -> tuple[object, ...]:
    presets = [preset.label for preset in PRESETS.values()]
    place = presets.index(protocol.preset.label) if protocol.preset else len(presets)
    return (protocol.data, place, len(protocol._differences()), protocol.label)


def command_for(protocol: Protocol, dataset: str, negatives: str, schedule: Schedule, epochs: int | None = None) -> str:
    """The command line that trains this cell under `protocol`. `dataset` is a name, or the path of an `.npz`;
    `epochs` is given where a table asks for another number than the preset's."""
    preset = protocol.preset or DEFAULT_PRESET
    flags = ["--dataset", dataset, "--neg", negatives, *_schedule_flags(schedule)]
    if preset != DEFAULT_PRESET:
        flags += ["--preset", preset.name]
    if epochs not in (None, preset.epochs):
        flags += ["--epochs", str(epochs)]
    for name, value in protocol._differences().items():
        implied = getattr(preset, name, None) == value or (name == "mask_blur" and negatives == "label")
        if name != "algorithm_version" and not implied and not (name == "data" and dataset.endswith(".npz")):
            flags += ["--" + name.replace("_", "-"), ",".join(map(str, value)) if name == "hidden" else str(value)]
    return shlex.join(["ff", "train", *flags])


def _schedule_flags(schedule: Schedule) -> list[str]:
    if not schedule.separated:
        return ["--unseparated"]
    flags = ["--pos-phase", str(schedule.positive)]
    if schedule.negative == 1:
        return flags
    return (
        [*flags, "--balanced"]
        if schedule.positive == schedule.negative
        else [*flags, "--neg-phase", str(schedule.negative)]
    )
