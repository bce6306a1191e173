"""Select runs by conditions such as `neg=masks`, or several as in `preset=paper,threshold=2`.

A condition names an option of `ff train`, or `tag`. Some runs do not determine the scaling rule of the positive phase's
learning rate or the blur of masks: a run fits each value under which it would have been trained in the same way. A run
with an automatic learning rate fits `lr=auto` and the number.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from ffcli.choices import DataKind
from ffcli.config import PRESETS, Device, RunConfig, automatic_lr_origin
from ffcli.errors import BadOption
from ffcli.records import RunSummary
from ffcli.report.protocol import data_kind, fitting_rules
from ffcli.settings import AUTO, is_flag, parse, selectable
from ffcli.text import unknown

NAMES = ("tag", *selectable(), "algorithm_version")

_MAX_SHOWN = 8
"""Stored values that an error lists."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Conditions on runs, all of which must hold."""

    text: str
    """As given."""
    conditions: Mapping[str, Any]
    """Values by the name of the option."""


def parse_selector(text: str) -> Selector:
    """Parse conditions: `preset=paper,hidden=500,500` selects by preset and by layer sizes.

    Hyphens in names are read as underscores.

    Raises:
        BadOption: if a condition is not NAME=VALUE, its name is unknown or repeated, or its value is not allowed.
    """
    conditions: dict[str, Any] = {}
    for part in re.split(r",(?=[\w-]+=)", text):
        given, _, value = (word.strip() for word in part.partition("="))
        name = given.lstrip("-").replace("-", "_")
        if not (name and value):
            raise BadOption(f"'{part}' selects nothing: give NAME=VALUE, such as neg=masks or tag=night, or two runs")
        if name == "epochs":
            raise BadOption("epochs select nothing: --epochs N reads every run after N epochs")
        if name not in NAMES:
            raise BadOption(unknown("option", name, NAMES))
        if name in conditions:
            raise BadOption(f"'{text}' gives {name} twice")
        conditions[name] = _parse(name, value)
    return Selector(text, conditions)


def _parse(name: str, text: str) -> Any:
    choices: Mapping[str, Sequence[str]] = {"data": get_args(DataKind), "device": get_args(Device)}
    if name in choices and text not in choices[name]:
        raise BadOption(unknown(name, text, choices[name]))
    if name == "preset" and text not in {*PRESETS, "custom"}:
        raise BadOption(unknown("preset", text, [*PRESETS, "custom"]))
    if name == "algorithm_version" and not text.isdecimal():
        raise BadOption(f"algorithm_version is a whole number, not '{text}'")
    if name == "algorithm_version":
        return int(text)
    if name in ("tag", "preset", *choices):
        return text
    given = {"true": True, "false": False}.get(text, text) if is_flag(name) else text
    value = getattr(parse({name: given}, ""), name)
    return str(value) if name == "cure" else value


def select(runs: Iterable[RunSummary], *selectors: Selector) -> list[RunSummary]:
    """Return the runs that fit all the selectors.

    Raises:
        NoMatch: if there are none; it names the values that are stored.
    """
    left, before = list(runs), list[str]()
    if not left:
        raise NoMatch("there are no runs yet: `ff train` makes one")
    for name, value in (condition for selector in selectors for condition in selector.conditions.items()):
        kept = [run for run in left if overlap(values_of(run, name), (value,))]
        if not kept:
            among = f" with {', '.join(before)}" if before else ""
            raise NoMatch(f"no run{among} has {name}={shown(value)}: {_stored(left, name, value)}")
        left = kept
        before.append(f"{name}={shown(value)}")
    return left


class NoMatch(BadOption):
    """No run meets the conditions."""


def matching(runs: Iterable[RunSummary], wanted: Mapping[str, Any], *, with_plain: bool = False) -> list[RunSummary]:
    """Return the runs that have these values of options; None admits every run.

    Args:
        runs: the runs, at least one.
        wanted: the values by the names of the options.
        with_plain: whether to return plain runs, too, if `cure` is wanted.

    Raises:
        NoMatch: if there are none.
    """
    asked = {name: value for name, value in wanted.items() if value is not None}
    cure = asked.pop("cure", None)
    found = select(runs, Selector("", asked))
    if cure is None:
        return found
    cured = {run.id for run in select(found, Selector("", {"cure": cure}))}
    return [run for run in found if run.id in cured or (with_plain and not run.config.cure)]


def values_of(run: RunSummary, name: str) -> Collection[Any]:
    """Return the values of the option `name` that this run fits; (None,) fits all."""
    if name == "tag":
        return run.tags
    return _VALUES[name](run.config) if name in _VALUES else (getattr(run.config, name),)


def overlap(ours: Collection[Any], theirs: Collection[Any]) -> bool:
    """Return whether two collections of `values_of` have a value in common."""
    return None in ours or None in theirs or not set(ours).isdisjoint(theirs)


_VALUES: dict[str, Callable[[RunConfig], Collection[Any]]] = {
    "dataset": lambda c: (c.data.name, c.data.path) if c.data.path else (c.data.name,),
    "data": lambda c: (data_kind(c),),
    "neg": lambda c: (c.negatives,),
    "pos_phase": lambda c: (c.schedule.positive,),
    "neg_phase": lambda c: (c.schedule.negative,),
    "unseparated": lambda c: (not c.schedule.separated,),
    "preset": lambda c: (c.preset.partition("@")[0], c.preset),
    "lr_scaling": fitting_rules,
    "cure": lambda c: (str(c.cure),),
    "lr": lambda c: (c.lr,) if automatic_lr_origin(c) is None else (c.lr, AUTO),
}


def shown(value: Any) -> str:
    """Return a value as it is given on the command line."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _stored(runs: Iterable[RunSummary], name: str, value: Any) -> str:
    values = {v for run in runs for v in values_of(run, name) if v is not None}
    if not values:
        return "none is stored" if name != "tag" else "no tag is stored"
    texts = [shown(v) for v in sorted(values, key=lambda v: (isinstance(v, str), v))]
    near = difflib.get_close_matches(shown(value), texts, n=1, cutoff=0.5) if isinstance(value, str) else []
    guess = f"did you mean '{near[0]}'? " if near else ""
    more = f", ... ({len(texts)} in all)" if len(texts) > _MAX_SHOWN else ""
    listed = [f"'{text}'" for text in texts] if isinstance(value, str) else texts
    return f"{guess}stored are {', '.join(listed[:_MAX_SHOWN])}{more}"
