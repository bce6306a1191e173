"""Compare two single runs, and format the result for `ff compare RUN RUN`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ffcli.records import EpochMetrics, RunRecord, config_json
from ffcli.report.sheet import Document, Sheet, make_list
from ffcli.report.titles import describe
from ffcli.text import counted

DIFFERENCE = "b - a"

_DERIVED = ("data", "unseparated")
"""Entries of a config's JSON that repeat others."""


class Side(NamedTuple):
    """One of the runs that are compared."""

    run: RunRecord
    short_id: str
    epochs: Sequence[EpochMetrics]


def differences(a: RunRecord, b: RunRecord) -> dict[str, tuple[Any, Any]]:
    """Return the settings in which two runs differ, by the name of the option, each with the values of both."""
    one, other = (_settings(run) for run in (a, b))
    return {name: (one.get(name), other.get(name)) for name in one | other if one.get(name) != other.get(name)}


def _settings(run: RunRecord) -> dict[str, Any]:
    data = run.config.data
    settings = {name: value for name, value in config_json(run.config).items() if name not in _DERIVED}
    return settings | {"data": data.source, "fingerprint": data.fingerprint[:8]}


def document(a: Side, b: Side, epochs: int | None = None) -> Document:
    """Return what `ff compare RUN RUN` prints: the settings that differ, and the accuracies.

    Args:
        a: the first run.
        b: the second run.
        epochs: the epoch after which to compare the accuracy; None for the last one that both runs were evaluated in.
    """
    differing = differences(a.run, b.run)
    accuracies = [{e.epoch: e.accuracy for e in side.epochs if e.accuracy is not None} for side in (a, b)]
    shared = sorted(accuracies[0].keys() & accuracies[1].keys())
    at = epochs if epochs is not None else (shared or [0])[-1]
    final = [found.get(at) for found in accuracies]
    best = [max((value for e, value in found.items() if 0 < e <= at), default=None) for found in accuracies]
    return Document(
        sheets=(_settings_sheet(differing), _accuracy_sheet(at, final, best)),
        intro=tuple(f"{name}: run {side.short_id}, {describe(side.run.config)}" for name, side in (("a", a), ("b", b))),
        data={
            "a": a.run.id,
            "b": b.run.id,
            "differing": {name: {"a": one, "b": other} for name, (one, other) in differing.items()},
            "epochs": at,
            "final": _numbers(final),
            "best": _numbers(best),
        },
    )


def _settings_sheet(differing: Mapping[str, tuple[Any, Any]]) -> Sheet:
    lines = [{"setting": name, "a": _text(one), "b": _text(other)} for name, (one, other) in differing.items()]
    if not lines:
        return make_list([["setting", "a", "b"]], {}, caption="the settings are the same")
    return make_list([["setting", "a", "b"]], {"": lines}, least={"a": 12, "b": 12})


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _accuracy_sheet(at: int, final: Sequence[float | None], best: Sequence[float | None]) -> Sheet:
    lines = [
        {"test accuracy in %": f"{what} {counted(at, 'epoch')}", "a": _percent(a), "b": _percent(b), DIFFERENCE: d}
        for what, (a, b) in (("after", final), ("best within", best))
        for d in ["-" if a is None or b is None else f"{b - a:+z.2f}"]
    ]
    return make_list([["test accuracy in %", "a", "b", DIFFERENCE]], {"": lines}, right=("a", "b", DIFFERENCE))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _numbers(values: Sequence[float | None]) -> dict[str, float | None]:
    a, b = values
    return {"a": a, "b": b, "difference": None if a is None or b is None else b - a}
