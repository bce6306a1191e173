"""Traces of runs: a row per layer and traced hour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import Connection, bindparam, delete, insert, select

from ffcli.records import HourTrace
from ffcli.store.database import Store, reading
from ffcli.store.tables import TRACE

_COLUMNS = tuple(TRACE.c[name] for name in HourTrace.__slots__)


def trace_of(store: Store, run_id: str) -> list[HourTrace]:
    """Return the trace of a run, ordered by hour and layer; empty if there is none.

    Args:
        store: the database.
        run_id: the whole id.
    """
    with reading(store) as connection:
        return traces_by_run(connection, [run_id])[run_id]


def traced(store: Store, run_id: str) -> dict[int, int]:
    """Return the traced hours of a run (counted from 1), each with its phase (counted from 1)."""
    with reading(store) as connection:
        found = connection.execute(
            select(TRACE.c.hour, TRACE.c.phase).where(TRACE.c.run_id == run_id, TRACE.c.layer == 1)
        )
        return {row.hour: row.phase for row in found}


def traces_by_run(connection: Connection, ids: Collection[str]) -> dict[str, list[HourTrace]]:
    """Return the traces of runs (a few hundred at most) by id; an empty list for a run without a trace."""
    traces: dict[str, list[HourTrace]] = {id: [] for id in ids}
    found = select(TRACE.c.run_id, *_COLUMNS).where(TRACE.c.run_id.in_(ids))
    for id, *row in connection.execute(found.order_by(TRACE.c.run_id, TRACE.c.hour, TRACE.c.layer)):
        traces[id].append(HourTrace(*row))
    return traces


def write_trace(connection: Connection, run_id: str, trace: Sequence[HourTrace]) -> None:
    """Write traced hours of a run; an hour that was traced before is replaced."""
    if trace:
        replaced = delete(TRACE).where(TRACE.c.run_id == run_id, TRACE.c.hour == bindparam("replaced"))
        connection.execute(replaced, [{"replaced": hour} for hour in {row.hour for row in trace}])
        connection.execute(insert(TRACE), [{"run_id": run_id, **asdict(row)} for row in trace])


def drop_phases(connection: Connection, run_id: str, phases: Collection[int]) -> None:
    """Delete the trace of these phases of a run."""
    connection.execute(delete(TRACE).where(TRACE.c.run_id == run_id, TRACE.c.phase.in_(phases)))


def merge_trace(connection: Connection, source: Connection, run_id: str) -> int:
    """Copy the trace of a run from `source`, except what `connection` has already; return the number of new rows."""
    of_run = select(TRACE).where(TRACE.c.run_id == run_id)
    known = {(row.hour, row.layer) for row in connection.execute(of_run)}
    gained = [row._asdict() for row in source.execute(of_run) if (row.hour, row.layer) not in known]
    if gained:
        connection.execute(insert(TRACE), gained)
    return len(gained)
