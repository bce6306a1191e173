"""Group stored runs by their protocols."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter

from ffcli.config import PRESETS, RunConfig
from ffcli.records import RunSummary
from ffcli.report.protocol import SHARED, Protocol, Signature, data_kind, fitting_rules, signature
from ffcli.schedule import LrScaling


def by_signature(
    runs: Iterable[RunSummary], of: Callable[[RunConfig], Signature] = signature
) -> dict[Signature, list[RunSummary]]:
    """Return the runs by their signature. Superseded runs are left out."""
    groups: dict[Signature, list[RunSummary]] = defaultdict(list)
    for run in runs:
        if run.status != "superseded":
            groups[of(run.config)].append(run)
    return groups


def protocols(shared: Signature, configs: Sequence[RunConfig]) -> list[Protocol]:
    """Return the protocols of runs with one signature: one for each scaling rule and blur that occurs.

    Args:
        shared: the signature of all the runs.
        configs: their configurations, at least one.
    """
    # Thousands of runs differ in seed or data alone: keep one of each kind.
    deciding = {_deciding(config): config for config in configs}
    shown = {(rule, config.mask_blur) for config in deciding.values() if (rule := _first_rule(config)) is not None}
    blurs = {blur for _, blur in shown if blur is not None} or {Protocol().mask_blur}
    wanted = {(rule, b) for rule, blur in shown for b in (blurs if blur is None else {blur})}
    base = Protocol(data=data_kind(configs[0]), **dict(zip(SHARED, shared[1:], strict=True)))
    return [base.model_copy(update={"lr_scaling": rule, "mask_blur": blur}) for rule, blur in wanted]


_deciding = attrgetter("lr", "lr_positive", "lr_negative", "mask_blur", "schedule.positive", "schedule.negative")


def _first_rule(config: RunConfig) -> LrScaling | None:
    return next(iter(fitting_rules(config)), None) if config.lr_negative == config.lr else None


def order(protocol: Protocol) -> tuple[object, ...]:
    """Return a sort key: full data first, then the presets in their order, then other protocols."""
    presets = [preset.label for preset in PRESETS.values()]
    place = presets.index(protocol.preset.label) if protocol.preset else len(presets)
    return (protocol.data, place, len(protocol.differences()), protocol.label)
