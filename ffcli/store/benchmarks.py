"""Benchmarks that `ff bench --save` stored."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import insert, select

from ffcli.benchmark import BenchmarkRecord
from ffcli.store.checks import shown_id
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


def history(store: Store, host: str, skipped: Callable[[str], None]) -> list[BenchmarkRecord]:
    """Return the benchmarks that were measured on `host`, oldest first.

    Args:
        store: the database.
        host: the name of the host.
        skipped: called with the id of each benchmark that cannot be read, which is left out.
    """
    records = []
    with reading(store) as connection:
        found = connection.execute(select(BENCHMARK).where(BENCHMARK.c.host == host).order_by(BENCHMARK.c.measured))
        for row in found:
            try:
                records.append(_RECORD.validate_python(row._asdict()))
            except ValidationError:
                skipped(shown_id(row.id))
    return records


_RECORD = TypeAdapter(BenchmarkRecord)
