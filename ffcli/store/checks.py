"""Find values that ffcli never writes. SQLite stores any value in any column, and other programs change files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, get_args, get_origin

from sqlalchemy import Column, Double, Integer

from ffcli.choices import FailureKind, Status
from ffcli.records import ID_DIGITS
from ffcli.schedule import Phase
from ffcli.store.tables import EPOCH, RUN, TRACE, AsJson, UtcDateTime, Values

_is_id = re.compile("[0-9a-f]{32}").fullmatch
"""An id becomes part of file names."""


def shown_id(id: Any) -> str:
    """Return an id as it is shown in messages: its first digits, or if it is damaged, all of it as printable text."""
    if isinstance(id, str) and _is_id(id):
        return id[:ID_DIGITS]
    return id if isinstance(id, str) and id.isprintable() and id.isascii() else ascii(id)


def wrong_column(*columns: Column[Any]) -> Callable[[Sequence[Any]], str | None]:
    """Return a function that finds a wrong value in rows of these columns, or of the first ones of them.

    It returns the name of a column whose value ffcli never writes, None if there is none.
    """
    types = tuple(map(_types, columns))
    rules = [(index, _RULES[column]) for index, column in enumerate(columns) if column in _RULES]

    def find(row: Sequence[Any]) -> str | None:
        if not all(map(isinstance, row, types)):
            return columns[list(map(isinstance, row, types)).index(False)].name
        for index, accepts in rules:
            if index < len(row) and not accepts(row[index]):
                return columns[index].name
        return None

    return find


def _types(column: Column[Any]) -> tuple[type, ...]:
    """The types of the values of a column that can be read."""
    match column.type:
        case AsJson(type_=type_):
            types: tuple[type, ...] = (get_origin(type_) or type_,)
        case UtcDateTime():
            types = (datetime,)
        case Double():
            types = (float, int)
        case Integer():
            types = (int,)
        case Values():
            types = (list,)
        case _:
            types = (str,)
    return (*types, type(None)) if column.nullable else types


def _text(value: str | None) -> bool:
    """Whether a text was UTF-8 (see `ffcli.store.sqlite`)."""
    return value is None or value.isascii() or not re.search("[\ud800-\udfff]", value)


def _from_zero(value: float) -> bool:
    return 0 <= value < math.inf


def _from_one(value: int) -> bool:
    return value >= 1


def _percent(value: float | None) -> bool:
    return value is None or 0 <= value <= 100


def _finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


def _numbers(values: list[Any] | None) -> bool:
    return values is None or {float, int}.issuperset(map(type, values))


_RULES: dict[Column[Any], Callable[[Any], object]] = {
    RUN.c.id: _is_id,
    RUN.c.key: re.compile("[0-9a-f]{64}").fullmatch,
    RUN.c.status: frozenset(get_args(Status)).__contains__,
    RUN.c.failure_kind: frozenset((*get_args(FailureKind), None)).__contains__,
    RUN.c.name: _text,
    RUN.c.note: _text,
    RUN.c.failure: _text,
    RUN.c.epochs_done: _from_zero,
    RUN.c.best_accuracy: _percent,
    RUN.c.final_accuracy: _percent,
    RUN.c.seconds: _from_zero,
    EPOCH.c.epoch: _from_zero,
    EPOCH.c.hour: _from_zero,
    EPOCH.c.phase: frozenset((*get_args(Phase), None)).__contains__,
    EPOCH.c.accuracy: _percent,
    EPOCH.c.validation_accuracy: _percent,
    EPOCH.c.goodness_positive: _numbers,
    EPOCH.c.goodness_negative: _numbers,
    EPOCH.c.dead_units: _numbers,
    EPOCH.c.seconds: _from_zero,
    TRACE.c.hour: _from_one,
    TRACE.c.phase: _from_one,
    TRACE.c.layer: _from_one,
    **dict.fromkeys(
        (TRACE.c.goodness_positive, TRACE.c.goodness_negative, TRACE.c.drift, TRACE.c.cosine, TRACE.c.dead_units),
        _finite,
    ),
}
"""What the values of columns fulfil besides their types."""
