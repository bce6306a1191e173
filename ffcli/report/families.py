"""Which runs stand beside a cure: a family agrees in all but data set, negatives, phases, seed, rate, cure and epochs.

A cure is trained at a rate that falls with the length of its phases, so a protocol, which has one rate, would hold a
single column of its table. A family has a rule for the rate instead: `auto`, or one rate for all phases where cured
runs do not follow that. A run belongs to every family that would have trained it in the same way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ffcli.config import NO_CURE, PRESETS, Cure, Preset, RunConfig, Schedule
from ffcli.options import AUTO, WARMUP, automatic_rate
from ffcli.records import RunSummary
from ffcli.report.plan import order, protocols
from ffcli.report.protocol import DEFAULT_PRESET, Protocol, Signature, signature

RateRule = float | Literal["auto"]


@dataclass(frozen=True, slots=True)
class Family:
    """Cured runs, and the plain ones that they are held against."""

    protocol: Protocol
    """Of the plain runs at the preset's rate."""
    rate: RateRule

    def rate_at(self, schedule: Schedule, cure: Cure) -> float:
        """The rate of a run with these phases, plain or cured (see `ffcli.options.TrainOptions.lr`)."""
        if isinstance(self.rate, float):
            return self.rate
        return automatic_rate(self.protocol.lr, schedule, self.protocol.updates_per_batch, cure)

    @property
    def warmup(self) -> int:
        """Hours of warm-up of its cured runs, and of the plain ones at their rate."""
        return WARMUP if self.rate == AUTO else self.protocol.warmup

    def follows(self, config: RunConfig) -> bool:
        """Whether a run of this family's signature, plain or cured, was trained by its rule for the rate."""
        at_its_rate = self.protocol.model_copy(update={"lr": config.lr})
        rate = self.rate_at(config.schedule, config.cure)
        return config.lr == rate and config.warmup == self.warmup and at_its_rate.fits(config)

    def is_at_presets_rate(self, config: RunConfig) -> bool:
        """Whether a run of this family's signature is a plain one of tables 1 and 2."""
        return not config.cure and config.warmup == self.protocol.warmup and self.protocol.fits(config)


def families(runs: Iterable[RunSummary]) -> list[tuple[Family, list[RunSummary]]]:
    """The families that cured runs have, presets and full data first, each with all runs of its signature.

    Superseded runs are left out. A rate has a family of its own only where some cured run does not follow `auto`.
    """
    groups: dict[Signature, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if run.status != "superseded":
            groups[_signature(run.config)].append(run)
    found = []
    for shared, members in groups.items():
        cured = [run.config for run in members if run.config.cure]
        for protocol in protocols(shared, cured) if cured else ():
            found += [(Family(protocol, rate), members) for rate in _rates(protocol, cured)]
    return sorted(found, key=lambda pair: (order(pair[0].protocol), isinstance(pair[0].rate, float), pair[0].rate))


def set_aside(runs: Sequence[RunSummary]) -> tuple[list[RunSummary], list[RunSummary]]:
    """The runs for tables 1 and 2, and those for the table of cures alone: the cured ones, and the plain ones of a
    protocol that is no preset's and has nothing but controls: the rate and the phases of some cured run."""
    plain: dict[Signature, list[RunSummary]] = defaultdict(list)
    treated = set()
    for run in runs:
        if run.config.cure:
            treated.add((signature(run.config.model_copy(update={"cure": NO_CURE})), run.config.schedule))
        else:
            plain[signature(run.config)].append(run)
    if not treated:
        return list(runs), []
    controls = {
        shared
        for shared, group in plain.items()
        if all(run.config.preset == "custom" and (shared, run.config.schedule) in treated for run in group)
    }
    aside = {run.id for run in runs if run.config.cure or signature(run.config) in controls}
    return [run for run in runs if run.id not in aside], [run for run in runs if run.id in aside]


def _signature(config: RunConfig) -> Signature:
    """With the preset's rate and no cure, whatever the run's are, and without an automatic rate's warm-up."""
    warmup = 0 if config.warmup == WARMUP else config.warmup
    plain = {"lr": _preset(config.updates_per_batch).lr, "cure": NO_CURE, "warmup": warmup}
    return signature(config.model_copy(update=plain))


def _preset(updates: int) -> Preset:
    return next((preset for preset in PRESETS.values() if preset.updates_per_batch == updates), DEFAULT_PRESET)


def _rates(protocol: Protocol, cured: Iterable[RunConfig]) -> list[RateRule]:
    own = [config for config in cured if protocol.model_copy(update={"lr": config.lr}).fits(config)]
    auto = Family(protocol, "auto")
    rules: list[RateRule] = ["auto"] if any(map(auto.follows, own)) else []
    return rules + sorted({config.lr for config in own if not auto.follows(config)})
