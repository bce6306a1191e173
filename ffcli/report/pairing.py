"""Pair runs of two sides that agree in every setting that neither side names.

If a side names `preset`, partners may differ in learning rate and updates. If the sides name different tags, partners
may differ in the whole protocol and need to agree only in cell (data, negatives, phases) and seed. A run that fits both
sides is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffcli.config import RunConfig
from ffcli.errors import BadOption
from ffcli.records import RunSummary
from ffcli.report.protocol import SHARED, data_kind
from ffcli.report.selectors import NAMES, Selector, overlap, select, shown, values_of

Pair = tuple[RunSummary, RunSummary]

LOOSE = ("lr_scaling", "mask_blur")
"""Settings that some runs do not determine: partners agree if some value fits both."""

_CELL: dict[str, Callable[[RunConfig], Any]] = {
    "content": lambda c: c.data.fingerprint,
    "data": data_kind,
    "dataset": lambda c: c.data.name,
    "neg": lambda c: c.negatives,
    "pos_phase": lambda c: c.schedule.positive,
    "neg_phase": lambda c: c.schedule.negative,
    "seed": lambda c: c.seed,
}
_SETTINGS = (*_CELL, *SHARED)

_SETTINGS_OF: Mapping[str, tuple[str, ...]] = {
    "dataset": ("dataset", "content"),
    "data": ("data", "content"),
    "unseparated": ("pos_phase", "neg_phase"),
    "preset": ("lr", "updates_per_batch"),
    "tag": (*SHARED, *LOOSE),
}
"""The settings in which partners may differ if a side names an option; by default that option alone."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """The runs of two sides, paired."""

    pairs: tuple[Pair, ...]
    agreed: tuple[str, ...]
    """The settings in which all partners agree because neither side names them; among them those of `LOOSE`."""
    unpaired: tuple[int, int]
    """Number of runs without a partner, for each side."""
    in_both: int
    """Number of runs that both sides select, which are left out."""


def setting(config: RunConfig, name: str) -> Any:
    """Return the value of a setting; `content` is the data's fingerprint."""
    return _CELL[name](config) if name in _CELL else getattr(config, name)


def pair(runs: Iterable[RunSummary], a: Selector, b: Selector, only: Sequence[Selector] = ()) -> Pairing:
    """Pair the runs of two sides. Superseded runs are left out.

    Args:
        runs: all stored runs.
        a: selects side a.
        b: selects side b.
        only: conditions on both sides.

    Raises:
        BadOption: if a side selects nothing, both select the same, no run has a partner, or one has several.
    """
    if a.conditions == b.conditions:
        raise BadOption(f"both sides are {a.text}: give two that differ, such as neg=label and neg=masks")
    current = [run for run in runs if run.status != "superseded"]
    ours, theirs = select(current, *only, a), select(current, *only, b)
    in_both = {run.id for run in ours} & {run.id for run in theirs}
    ours, theirs = ([run for run in side if run.id not in in_both] for side in (ours, theirs))
    if not (ours and theirs):
        within, other = (b, a) if ours else (a, b)
        raise BadOption(f"every run with {within.text} also has {other.text}: there is nothing to compare")
    agreed = _agreed(a, b, only)
    pairs = _partners(ours, theirs, agreed)
    if not pairs:
        raise BadOption(_no_partners(ours, theirs, agreed, a, b))
    _refuse_rivals(pairs, a, b)
    return Pairing(tuple(pairs), agreed, (len(ours) - len(pairs), len(theirs) - len(pairs)), len(in_both))


def _agreed(a: Selector, b: Selector, only: Sequence[Selector]) -> tuple[str, ...]:
    named = {name for selector in (a, b, *only) for name in selector.conditions}
    if a.conditions.get("tag") == b.conditions.get("tag"):
        named.discard("tag")
    may_differ = settings_named(named)
    if "content" not in may_differ:
        may_differ.add("dataset")  # the same content under another name is the same data
    return tuple(name for name in (*_SETTINGS, *LOOSE) if name not in may_differ)


def settings_named(names: Iterable[str]) -> set[str]:
    """Return the settings in which partners may differ if a selector names these options."""
    return {setting for name in names for setting in _SETTINGS_OF.get(name, (name,))}


def _partners(ours: Iterable[RunSummary], theirs: Iterable[RunSummary], agreed: Iterable[str]) -> list[Pair]:
    strict = [name for name in agreed if name not in LOOSE]
    loose = [name for name in agreed if name in LOOSE]
    by_settings: dict[tuple[Any, ...], list[RunSummary]] = defaultdict(list)
    for run in theirs:
        by_settings[tuple(setting(run.config, name) for name in strict)].append(run)
    return [
        (run, other)
        for run in ours
        for other in by_settings.get(tuple(setting(run.config, name) for name in strict), ())
        if all(overlap(values_of(run, name), values_of(other, name)) for name in loose)
    ]


def _refuse_rivals(pairs: Sequence[Pair], a: Selector, b: Selector) -> None:
    """Raise BadOption if two runs of a side have the same partner."""
    for side, selector in ((0, a), (1, b)):
        rivals: dict[str, list[RunSummary]] = defaultdict(list)
        for both in pairs:
            rivals[both[1 - side].id].append(both[side])
        for runs in rivals.values():
            if len(runs) > 1:
                raise BadOption(_choose(runs, selector))


def _choose(runs: Sequence[RunSummary], selector: Selector) -> str:
    config = runs[0].config
    differing = {}
    for name in (*_SETTINGS, *LOOSE):
        values = {setting(run.config, name) for run in runs} - {None}
        if len(values) > 1:
            differing[name] = [shown(value) for value in sorted(values)]
    what = "; ".join(f"{name} {', '.join(values)}" for name, values in differing.items())
    choices = [f", such as {selector.text},{name}={differing[name][0]}" for name in differing if name in NAMES]
    return (
        f"{selector.text} selects {len(runs)} runs of {config.data.label} {config.negatives} {config.schedule}"
        f" seed {config.seed}, which differ in {what}: choose one{''.join(choices[:1])}"
    )


def _no_partners(
    ours: Iterable[RunSummary], theirs: Iterable[RunSummary], agreed: Iterable[str], a: Selector, b: Selector
) -> str:
    apart = []
    for name in agreed:
        values = [{v for run in side for v in _fitting(run, name)} for side in (ours, theirs)]
        if not overlap(*values):
            apart.append("dataset" if name == "content" else name)
    why = f"they differ in {', '.join(apart)}" if apart else "no two runs agree in all other settings"
    return f"no run with {a.text} has a partner with {b.text}: {why}{_hint(ours, theirs, apart)}"


def _hint(ours: Iterable[RunSummary], theirs: Iterable[RunSummary], apart: Collection[str]) -> str:
    """How to train a plain run at the rate of a cured one, if one side is cured and the other is not."""
    sides = sorted(([run.config for run in side] for side in (ours, theirs)), key=lambda side: bool(side[0].cure))
    plain, cured = sides
    if {"lr", "warmup"}.isdisjoint(apart) or any(c.cure for c in plain) or not all(c.cure for c in cured):
        return ""
    first = cured[0]
    return (
        f"; --cure none --lr {first.lr:g} --warmup {first.warmup} trains a plain run at the rate of {first.cure} at"
        f" {first.schedule}"
    )


def _fitting(run: RunSummary, name: str) -> Iterable[Any]:
    return values_of(run, name) if name in LOOSE else (setting(run.config, name),)
