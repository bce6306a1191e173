"""The models: a run is one trajectory, with a row for each of its epochs, and one for each layer after each hour that
was traced; a benchmark is one of `ff bench`.

`migrations/` makes their tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar

import sqlalchemy as sa
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import BigInteger, CheckConstraint, Dialect, ForeignKey, Index, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ffcli.config import RunConfig
from ffcli.records import Provenance

NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}

JSON = sa.JSON(none_as_null=True)

IS_CURRENT = sa.text("status <> 'superseded'")
"""As a literal: only so does SQLite see that the partial index serves a query."""


PARSED = 1 << 14
"""So many texts of a column are remembered with the record that each gave."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes, also where the database keeps none (SQLite)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What a column holds that gives no record. Who reads the row says which row it is."""

    text: str


class AsJson(TypeDecorator[Any]):
    """A record as JSON text, which pydantic reads in half the time of parsing it first.

    Records are frozen, so equal texts may give the same one: thousands of runs share a few provenances and tags.
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
            return Unreadable(value or "")


class Base(DeclarativeBase):
    metadata = sa.MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: sa.Double()}


class Run(Base):
    __tablename__ = "run"
    __table_args__ = (
        CheckConstraint(
            "status IN ('running', 'completed', 'interrupted', 'failed', 'stale', 'superseded')", name="status"
        ),
        # One row that is not superseded under a key: so one running row too, and one answer to a lookup. The migration
        # gives PostgreSQL the same condition; here it would load that dialect at every start.
        Index("uq_run_key_current", "key", unique=True, sqlite_where=IS_CURRENT),
        Index("ix_run_status", "status"),
        Index("ix_run_started", "started", "id"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    name: Mapped[str | None] = mapped_column(Text)
    tags: Mapped[tuple[str, ...]] = mapped_column(AsJson(tuple[str, ...]))
    note: Mapped[str | None] = mapped_column(Text)
    failure: Mapped[str | None] = mapped_column(Text)

    config: Mapped[RunConfig] = mapped_column(AsJson(RunConfig))
    # Copies out of the config, to filter by.
    dataset: Mapped[str] = mapped_column(Text)
    data_source: Mapped[str] = mapped_column(String(16))
    negatives: Mapped[str] = mapped_column(Text)
    pos_phase: Mapped[int]
    neg_phase: Mapped[int]
    preset: Mapped[str] = mapped_column(Text)
    seed: Mapped[int] = mapped_column(BigInteger)
    epochs_requested: Mapped[int]
    provenance: Mapped[tuple[Provenance, ...]] = mapped_column(AsJson(tuple[Provenance, ...]))

    started: Mapped[datetime] = mapped_column(UtcDateTime)
    ended: Mapped[datetime | None] = mapped_column(UtcDateTime)
    heartbeat: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Who trains it; the token is what its writes are committed under, and is None while nobody does.
    token: Mapped[str | None] = mapped_column(String(32))
    host: Mapped[str] = mapped_column(Text)
    pid: Mapped[int] = mapped_column(BigInteger)
    pid_started: Mapped[float]

    # Aggregates of the epochs, renewed with each.
    epochs_done: Mapped[int]
    best_accuracy: Mapped[float | None]
    final_accuracy: Mapped[float | None]
    seconds: Mapped[float]


class Epoch(Base):
    __tablename__ = "epoch"
    # All that a report asks of an epoch, without its row.
    __table_args__ = (Index("ix_epoch_accuracy", "run_id", "epoch", "accuracy", "validation_accuracy"),)

    run_id: Mapped[str] = mapped_column(String(32), ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger)
    phase: Mapped[str | None] = mapped_column(String(16))
    accuracy: Mapped[float | None]
    validation_accuracy: Mapped[float | None]
    loss_positive: Mapped[float | None]
    loss_negative: Mapped[float | None]
    goodness_positive: Mapped[list[float] | None] = mapped_column(JSON)
    goodness_negative: Mapped[list[float] | None] = mapped_column(JSON)
    dead_units: Mapped[list[float] | None] = mapped_column(JSON)
    seconds: Mapped[float]


class Trace(Base):
    __tablename__ = "trace"

    run_id: Mapped[str] = mapped_column(String(32), ForeignKey("run.id", ondelete="CASCADE"), primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    layer: Mapped[int] = mapped_column(primary_key=True)
    phase: Mapped[int] = mapped_column(BigInteger)
    goodness_positive: Mapped[float | None]
    goodness_negative: Mapped[float | None]
    drift: Mapped[float | None]
    cosine: Mapped[float | None]
    dead_units: Mapped[float | None]


class Benchmark(Base):
    __tablename__ = "benchmarks"
    __table_args__ = (Index("ix_benchmarks_host", "host", "measured"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    measured: Mapped[datetime] = mapped_column(UtcDateTime)
    host: Mapped[str] = mapped_column(Text)  # A copy out of the machine, to filter by.
    machine: Mapped[dict[str, Any]] = mapped_column(JSON)
    rows: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    breakdown: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
