"""Pair runs of two sides that agree in every setting that neither side names.

If a side names `preset`, partners may differ in the settings of a preset. The rule for the learning rate is part of a
cure: if the sides name different cures, partners may differ in whether the rate is automatic and in its scaling, and a
run with the usual rule for its cure is preferred to others. If the sides name different tags, partners
may differ in the whole protocol and need to agree only in cell (data, negatives, phases) and seed. A run that fits both
sides is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from ffcli.config import RunConfig, default_scaling
from ffcli.errors import BadOption
from ffcli.records import RunSummary
from ffcli.report.protocol import DESCRIBED, data_kind, fitting_rules, shared_settings
from ffcli.report.selectors import NAMES, Selector, overlap, select, shown, values_of
from ffcli.settings import AUTO, PresetSettings

Pair = tuple[RunSummary, RunSummary]

MAX_SEARCHED = 100
"""Runs of each side among which an error looks for those that are most alike."""

MAX_VALUES = 4
"""Values of a setting that an error lists for each side."""

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
_SETTINGS = (*_CELL, *DESCRIBED)

_SETTINGS_OF: Mapping[str, tuple[str, ...]] = {
    "dataset": ("dataset", "content"),
    "data": ("data", "content"),
    "unseparated": ("pos_phase", "neg_phase"),
    "preset": tuple(PresetSettings.model_fields),
    "lr": ("lr", "has_automatic_lr"),
    "warmup": ("warmup", "has_automatic_lr"),
    "cure": ("cure", "has_automatic_lr", "lr_scaling"),
    "tag": (*DESCRIBED, *LOOSE),
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
    """Return the value of a setting; `content` is the data's fingerprint. Rates are those of `shared_settings`."""
    if name in ("lr", "warmup", "has_automatic_lr"):
        return shared_settings(config)[name]
    return _CELL[name](config) if name in _CELL else getattr(config, name)


def differing_values(name: str, *sides: Iterable[RunSummary]) -> tuple[str, list[list[Any]]]:
    """Return the name of a setting for the user, and its sorted values on each side; an automatic rate is `auto`."""
    if name == "has_automatic_lr":
        name = "lr"

    def value(config: RunConfig) -> Any:
        return AUTO if name == "lr" and setting(config, "has_automatic_lr") else setting(config, name)

    values = ({value(run.config) for run in side} - {None} for side in sides)
    return "dataset" if name == "content" else name, [sorted(some, key=_mixed) for some in values]


def _mixed(value: Any) -> tuple[bool, Any]:
    """A sort key: numbers before text."""
    return isinstance(value, str), value


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
    if {"has_automatic_lr", "tag"}.isdisjoint({*agreed, *a.conditions, *b.conditions}):
        pairs = _with_usual_rates(pairs)
    if not pairs:
        raise BadOption(_no_partners(ours, theirs, agreed, a, b))
    _refuse_rivals(pairs, a, b)
    return Pairing(tuple(pairs), agreed, (len(ours) - len(pairs), len(theirs) - len(pairs)), len(in_both))


def _agreed(a: Selector, b: Selector, only: Sequence[Selector]) -> tuple[str, ...]:
    named = {name for selector in (a, b, *only) for name in selector.conditions}
    named -= {name for name in ("tag", "cure") if a.conditions.get(name) == b.conditions.get(name)}
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


def _with_usual_rates(pairs: Sequence[Pair]) -> list[Pair]:
    """Leave out runs with an unusual rule for the rate, if their partner has one with the usual rule."""
    kept = list(pairs)
    for side in (0, 1):
        rivals: dict[str, list[Pair]] = defaultdict(list)
        for both in kept:
            rivals[both[1 - side].id].append(both)
        kept = [
            both
            for group in rivals.values()
            for both in [found for found in group if _has_usual_rate(found[side].config)] or group
        ]
    return kept


def _has_usual_rate(config: RunConfig) -> bool:
    automatic = setting(config, "has_automatic_lr")
    return automatic == bool(config.cure) and default_scaling(config.cure) in fitting_rules(config)


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
    for each in (*_SETTINGS, *LOOSE):
        name, [values] = differing_values(each, runs)
        if len(values) > 1:
            differing[name] = [shown(value) for value in values]
    what = "; ".join(f"{name} {', '.join(values)}" for name, values in differing.items())
    choices = [f", such as {selector.text},{name}={differing[name][0]}" for name in differing if name in NAMES]
    return (
        f"{selector.text} selects {len(runs)} runs of {config.data.label} {config.negatives} {config.schedule}"
        f" seed {config.seed}, which differ in {what}: choose one{''.join(choices[:1])}"
    )


def _no_partners(
    ours: Sequence[RunSummary], theirs: Sequence[RunSummary], agreed: Sequence[str], a: Selector, b: Selector
) -> str:
    apart = [
        name
        for name in agreed
        if not overlap(*({v for run in side for v in _fitting(run, name)} for side in (ours, theirs)))
    ]
    if apart:
        why = f"they differ in {_differences(apart, ours, theirs)}"
    else:
        one, other = _nearest(ours, theirs, agreed)
        names = [name for name in agreed if not overlap(_fitting(one, name), _fitting(other, name))]
        why = f"the two that are most alike differ in {_differences(names, [one], [other])}"
    return f"no run with {a.text} has a partner with {b.text}: {why}"


def _nearest(
    ours: Sequence[RunSummary], theirs: Sequence[RunSummary], agreed: Iterable[str]
) -> tuple[RunSummary, RunSummary]:
    """The two runs, among the newest of each side, that differ in the fewest settings."""
    among = product(ours[:MAX_SEARCHED], theirs[:MAX_SEARCHED])
    return min(among, key=lambda both: sum(not overlap(*(_fitting(run, name) for run in both)) for name in agreed))


def _differences(names: Iterable[str], ours: Sequence[RunSummary], theirs: Sequence[RunSummary]) -> str:
    """`lr 0.05 | auto, seed 0, 1 | 2`: the values of settings on both sides."""
    texts = {}
    for each in names:
        name, sides = differing_values(each, ours, theirs)
        listed = [", ".join(map(shown, values[:MAX_VALUES])) + ", ..." * (len(values) > MAX_VALUES) for values in sides]
        texts[name] = f"{name} {' | '.join(listed)}" if each != "content" else name
    return "; ".join(texts.values())


def _fitting(run: RunSummary, name: str) -> Collection[Any]:
    return values_of(run, name) if name in LOOSE else (setting(run.config, name),)
