"""Which runs stand beside a cure: a family agrees in all but data set, negatives, phases, seed, rate, cure and epochs.

A cure is trained at a rate that falls with the length of its phases, so a protocol, which has one rate, would hold a
single column of its table. A family has a rule for the rate instead: `auto`, or one rate for all phases where cured
runs do not follow that. A run belongs to every family that would have trained it in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ffcli.config import (
    CURED_SCALING,
    NO_CURE,
    PLAIN_SCALING,
    WARMUP,
    Cure,
    RunConfig,
    automatic_lr,
    automatic_lr_origin,
    nearest_presets,
)
from ffcli.records import RunSummary
from ffcli.report.plan import by_signature, order, protocols
from ffcli.report.protocol import Protocol, Signature, signature
from ffcli.schedule import LrScaling, Schedule
from ffcli.settings import AUTO

RateRule = float | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Family:
    """Cured runs, and the plain ones that they are held against."""

    protocol: Protocol
    """Of the plain runs at the preset's rate."""
    scaling: LrScaling
    """Of the awake rate of its cured runs."""
    rate: RateRule
    warmup: int
    """Hours of warm-up of its cured runs, and of the plain ones at their rate."""

    def rate_at(self, schedule: Schedule, cure: Cure) -> float:
        """The rate of a run with these phases, plain or cured (see `ffcli.settings.PresetSettings`)."""
        if isinstance(self.rate, float):
            return self.rate
        return automatic_lr(self.protocol.lr, schedule, self.protocol.updates_per_batch, cure)

    def follows(self, config: RunConfig) -> bool:
        """Whether a run of this family's signature, plain or cured, was trained by its rule for the rate."""
        if (config.lr, config.warmup) != (self.rate_at(config.schedule, config.cure), self.warmup):
            return False
        return _at(self.protocol, config.lr, self.scaling).fits(config)

    def is_at_presets_rate(self, config: RunConfig) -> bool:
        """Whether a run of this family's signature is a plain one of tables 1 and 2."""
        return not config.cure and not config.warmup and self.protocol.fits(config)


def families(runs: Iterable[RunSummary]) -> list[tuple[Family, list[RunSummary]]]:
    """The families that cured runs have, presets and full data first, each with all runs of its signature.

    Superseded runs are left out. A rate has a family of its own only where some cured run does not follow `auto`.
    """
    found = []
    for shared, members in by_signature(runs, _signature).items():
        cured = [run.config for run in members if run.config.cure]
        for protocol in protocols(shared, cured) if cured else ():
            found += [(family, members) for family in _of_protocol(protocol, cured)]
    return sorted(found, key=_place)


def _place(found: tuple[Family, list[RunSummary]]) -> tuple[object, ...]:
    family, _ = found
    return (order(family.protocol), family.scaling != CURED_SCALING, isinstance(family.rate, float), family.rate)


def set_aside(runs: Sequence[RunSummary]) -> tuple[list[RunSummary], list[RunSummary]]:
    """The runs for tables 1 and 2, and those for the table of cures alone: the cured ones, and the plain ones of a
    protocol that is no preset's and has nothing but controls: the rate and the phases of some cured run."""
    cured = [run.config for run in runs if run.config.cure]
    if not cured:
        return list(runs), []
    treated = {(signature(config.model_copy(update={"cure": NO_CURE})), config.schedule) for config in cured}
    plain: dict[Signature, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if not run.config.cure:
            plain[signature(run.config)].append(run)
    controls = {
        shared
        for shared, group in plain.items()
        if all(run.config.preset == "custom" and (shared, run.config.schedule) in treated for run in group)
    }
    aside = {run.id for run in runs if run.config.cure or signature(run.config) in controls}
    return [run for run in runs if run.id not in aside], [run for run in runs if run.id in aside]


def _signature(config: RunConfig) -> Signature:
    """With the preset's rate, no cure and no warm-up, whatever the run's are."""
    return signature(config.model_copy(update={"lr": _presets_rate(config), "cure": NO_CURE, "warmup": 0}))


def _presets_rate(config: RunConfig) -> float:
    """The rate that an automatic one may have started from, else the run's own where a preset has it, else that of the
    preset with as many updates, the first of several."""
    rates = [preset.lr for preset in nearest_presets(config)]
    if config.warmup == WARMUP:
        return automatic_lr_origin(config) or rates[0]
    return config.lr if config.lr in rates else rates[0]


def _at(protocol: Protocol, lr: float, scaling: LrScaling) -> Protocol:
    return protocol.model_copy(update={"lr": lr, "lr_scaling": scaling})


def _of_protocol(protocol: Protocol, cured: Iterable[RunConfig]) -> list[Family]:
    """`protocol` has the scaling of the cured runs; beside their usual one stands the usual one of plain runs."""
    scaling = protocol.lr_scaling
    plain = PLAIN_SCALING if scaling == CURED_SCALING else scaling
    family = partial(Family, protocol.model_copy(update={"lr_scaling": plain}), scaling)
    auto = family(AUTO, WARMUP)
    own = [config for config in cured if _at(protocol, config.lr, scaling).fits(config)]
    others = {(config.lr, config.warmup) for config in own if not auto.follows(config)}
    found = [auto] if any(map(auto.follows, own)) else []
    return found + [family(lr, warmup) for lr, warmup in sorted(others)]
