"""The tables: runs, their epochs, their traces (a row per layer and traced hour), and benchmarks of `ff bench`.

The scripts in `migrations/` create them. There are no mapped classes, because importing the ORM takes a tenth of the
time of a short command.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)

from ffcli.config import RunConfig
from ffcli.records import Provenance

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

IS_CURRENT = text("status <> 'superseded'")
"""Literal SQL, not a bound parameter: otherwise SQLite does not use the partial index."""


PARSED = 256
"""Number of JSON texts per column whose records are cached. Provenances and tags are few; caching the configs of
10,000 runs would take a fifth of a report's time, most of it at exit."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The value of a column that could not be read; the reader of the row reports it."""

    value: Any


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, which SQLite stores without their time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:
        """Return the reader of a column. That of `impl` would raise an error for the whole result."""
        return _read_datetime


def _read_datetime(value: Any) -> datetime | Unreadable | None:
    try:
        moment = None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)
    except (ValueError, TypeError):
        return Unreadable(value)
    # Another year was not written by ffcli, and may not be representable in the time zone of the user.
    return moment if moment is None or 1970 <= moment.year < 9999 else Unreadable(value)


class AsJson(TypeDecorator[Any]):
    """A record as JSON text, read by pydantic without an intermediate parse, which takes half the time.

    Records are frozen, so that equal texts may share one record.
    """

    impl = Text
    cache_ok = True

    def __init__(self, type_: Any) -> None:
        super().__init__()
        self.type_ = type_
        self.adapter = TypeAdapter[Any](type_)
        self.read = lru_cache(PARSED)(self.adapter.validate_json)

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else self.adapter.dump_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        try:
            return None if value is None else self.read(value)
        except ValidationError:
            return Unreadable(value)


class Values(TypeDecorator[Any]):
    """Plain JSON values."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any]:
        """Return the reader of a column. That of `impl` would raise an error for the whole result."""
        return _read_values


def _read_values(value: Any) -> Any:
    try:
        return None if value is None else json.loads(value)
    except (ValueError, TypeError):
        return Unreadable(value)


METADATA = MetaData(naming_convention=NAMES)


def _column(name: str, type_: Any, *constraints: Any, **options: Any) -> Column[Any]:
    """A column, NOT NULL by default."""
    return Column(name, type_, *constraints, **{"nullable": False, **options})


def _run_column() -> Column[Any]:
    """The run of a row; the row is deleted with it."""
    return _column("run_id", String(32), ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)


RUN = Table(
    "run",
    METADATA,
    _column("id", String(32), primary_key=True),
    _column("key", String(64)),
    _column("status", String(16)),
    _column("name", Text, nullable=True),
    _column("tags", AsJson(tuple[str, ...])),
    _column("note", Text, nullable=True),
    _column("failure", Text, nullable=True),
    _column("failure_kind", String(16), nullable=True),
    _column("config", AsJson(RunConfig)),
    # Copies of settings, for filters.
    _column("dataset", Text),
    _column("data_source", String(16)),
    _column("negatives", Text),
    _column("pos_phase", Integer),
    _column("neg_phase", Integer),
    _column("seed", BigInteger),
    _column("epochs_requested", Integer),
    _column("provenance", AsJson(tuple[Provenance, ...])),
    _column("started", UtcDateTime),
    _column("ended", UtcDateTime, nullable=True),
    _column("heartbeat", UtcDateTime, nullable=True),
    # The process that trains it, and the token of its claim; the token is NULL while no process trains it.
    _column("token", String(32), nullable=True),
    _column("host", Text),
    _column("pid", BigInteger),
    _column("pid_started", Double),
    _column("boot", String(36), nullable=True),
    # Aggregates of the epochs, updated with each epoch.
    _column("epochs_done", Integer),
    _column("best_accuracy", Double, nullable=True),
    _column("final_accuracy", Double, nullable=True),
    _column("seconds", Double),
    CheckConstraint(
        "status IN ('running', 'completed', 'interrupted', 'failed', 'stale', 'superseded')", name="status"
    ),
    CheckConstraint(
        "failure_kind IN ('diverged', 'out of memory', 'worker lost', 'disk full', 'bad input', 'error')",
        name="failure_kind",
    ),
    # At most one row of a key is not superseded, so that at most one is running and a look-up has one result.
    Index("uq_run_key_current", "key", unique=True, sqlite_where=IS_CURRENT),
    Index("ix_run_status", "status"),
    Index("ix_run_started", "started", "id"),
)

EPOCH = Table(
    "epoch",
    METADATA,
    _run_column(),
    _column("epoch", Integer, primary_key=True),
    _column("hour", BigInteger),
    _column("phase", String(16), nullable=True),
    _column("accuracy", Double, nullable=True),
    _column("validation_accuracy", Double, nullable=True),
    _column("loss_positive", Double, nullable=True),
    _column("loss_negative", Double, nullable=True),
    _column("goodness_positive", Values(), nullable=True),
    _column("goodness_negative", Values(), nullable=True),
    _column("dead_units", Values(), nullable=True),
    _column("seconds", Double),
    # Covers the queries of a report, which do not read the rows themselves.
    Index("ix_epoch_accuracy", "run_id", "epoch", "accuracy", "validation_accuracy"),
)

TRACE = Table(
    "trace",
    METADATA,
    _run_column(),
    _column("hour", BigInteger, primary_key=True),
    _column("layer", Integer, primary_key=True),
    _column("phase", BigInteger),
    _column("goodness_positive", Double, nullable=True),
    _column("goodness_negative", Double, nullable=True),
    _column("drift", Double, nullable=True),
    _column("cosine", Double, nullable=True),
    _column("dead_units", Double, nullable=True),
)

BENCHMARK = Table(
    "benchmarks",
    METADATA,
    _column("id", String(32), primary_key=True),
    _column("measured", UtcDateTime),
    _column("host", Text),  # A copy of the machine's host, for the filter.
    _column("machine", Values()),
    _column("rows", Values()),
    _column("breakdown", Values()),
    Index("ix_benchmarks_host", "host", "measured"),
)
