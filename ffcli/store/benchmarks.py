"""Benchmarks that `ff bench --save` stored."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row as DatabaseRow
from sqlalchemy import insert, select

from ffcli.benchmark import BenchmarkRecord, Machine, Row, Step
from ffcli.store.database import Store, reading, writing
from ffcli.store.tables import BENCHMARK


def keep(store: Store, record: BenchmarkRecord) -> None:
    """Store a benchmark.

    Raises:
        BadDatabase: if the database is read-only.
    """
    with writing(store) as connection:
        connection.execute(
            insert(BENCHMARK).values(
                id=uuid.uuid4().hex,
                measured=record.measured,
                host=record.machine.host,
                machine=asdict(record.machine),
                rows=[asdict(row) for row in record.rows],
                breakdown=[asdict(step) for step in record.breakdown],
            )
        )


def history(store: Store, host: str) -> list[BenchmarkRecord]:
    """Return the benchmarks that were measured on `host`, oldest first."""
    with reading(store) as connection:
        found = connection.execute(select(BENCHMARK).where(BENCHMARK.c.host == host).order_by(BENCHMARK.c.measured))
        return [_record(row) for row in found]


def _record(row: DatabaseRow[Any]) -> BenchmarkRecord:
    return BenchmarkRecord(
        measured=row.measured,
        machine=Machine(**row.machine),
        rows=tuple(Row(**values) for values in row.rows),
        breakdown=tuple(Step(**values) for values in row.breakdown),
    )
