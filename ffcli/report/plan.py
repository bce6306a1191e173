"""Which protocols the stored runs have, and the horizon of epochs at which the tables of each read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter

from ffcli.config import PRESETS, RunConfig
from ffcli.records import RunSummary
from ffcli.report.protocol import SHARED, Protocol, Signature, data_kind, fitting_rules, signature
from ffcli.schedule import LrScaling


def plan(groups: Mapping[Signature, Sequence[RunSummary]], epochs: int | None = None) -> list[tuple[Protocol, int]]:
    """The protocols of the runs of `by_signature`, presets and full data first, each with its horizon: the epochs at
    which its tables read the runs.

    That is `epochs` where given, else the preset's where a run has got so far (no preset: the most that were asked for
    and reached), else as far as any run has got.
    """
    planned = []
    for shared, runs in groups.items():
        for protocol in protocols(shared, [run.config for run in runs]):
            planned.append((protocol, epochs or _horizon(protocol, [r for r in runs if protocol.fits(r.config)])))
    return sorted(planned, key=lambda pair: order(pair[0]))


def by_signature(
    runs: Iterable[RunSummary], of: Callable[[RunConfig], Signature] = signature
) -> dict[Signature, list[RunSummary]]:
    """Runs by what they share. Superseded ones are left out."""
    groups: dict[Signature, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if run.status != "superseded":
            groups[of(run.config)].append(run)
    return groups


def protocols(shared: Signature, configs: Sequence[RunConfig]) -> list[Protocol]:
    """One with this signature for each scaling rule and blur that the runs show."""
    # By what decides: thousands of runs differ in seed or data alone.
    deciding = {_deciding(config): config for config in configs}
    shown = {(rule, config.mask_blur) for config in deciding.values() if (rule := _first_rule(config)) is not None}
    blurs = {blur for _, blur in shown if blur is not None} or {Protocol().mask_blur}
    wanted = {(rule, b) for rule, blur in shown for b in (blurs if blur is None else {blur})}
    base = Protocol(data=data_kind(configs[0]), **dict(zip(SHARED, shared[1:], strict=True)))
    return [base.model_copy(update={"lr_scaling": rule, "mask_blur": blur}) for rule, blur in wanted]


_deciding = attrgetter("lr", "lr_positive", "lr_negative", "mask_blur", "schedule.positive", "schedule.negative")


def _first_rule(config: RunConfig) -> LrScaling | None:
    return next(iter(fitting_rules(config)), None) if config.lr_negative == config.lr else None


def _horizon(protocol: Protocol, runs: Sequence[RunSummary]) -> int:
    longest = max(run.epochs_done for run in runs)
    asked = {protocol.preset.epochs} if protocol.preset else {run.config.epochs for run in runs}
    return max((epochs for epochs in asked if epochs <= longest), default=longest or max(asked))


def order(protocol: Protocol) -> tuple[object, ...]:
    """A sort key: full data first, then the presets."""
    presets = [preset.label for preset in PRESETS.values()]
    place = presets.index(protocol.preset.label) if protocol.preset else len(presets)
    return (protocol.data, place, len(protocol.differences()), protocol.label)
