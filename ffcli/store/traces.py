"""Traces of runs: a row per layer and traced hour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from ffcli.errors import DamagedRun
from ffcli.records import HourTrace
from ffcli.store.checks import shown_id, wrong_column
from ffcli.store.database import Store, reading
from ffcli.store.tables import TRACE

TRACE_COLUMNS = tuple(TRACE.c[name] for name in HourTrace.__slots__)
"""The columns that `hour_trace` reads, in this order."""

_wrong_in_trace = wrong_column(*TRACE_COLUMNS)


def hour_trace(run_id: str, row: Sequence[Any]) -> HourTrace:
    """Return the record of a row of TRACE_COLUMNS.

    Raises:
        DamagedRun: if ffcli never writes one of its values.
    """
    if _wrong_in_trace(row):
        raise DamagedRun(shown_id(run_id), f"trace of hour {row[0]}")
    return HourTrace(*row)


def trace_of(store: Store, run_id: str) -> list[HourTrace]:
    """Return the trace of a run, ordered by hour and layer; empty if there is none.

    Args:
        store: the database.
        run_id: the whole id.

    Raises:
        DamagedRun: if a row of it cannot be read.
    """
    with reading(store) as connection:
        return traces_by_run(connection, [run_id])[run_id]


def traced(store: Store, run_id: str) -> dict[int, int]:
    """Return the traced hours of a run (counted from 1), each with its phase (counted from 1).

    Raises:
        DamagedRun: if a row of its trace cannot be read.
    """
    return {row.hour: row.phase for row in trace_of(store, run_id) if row.layer == 1}


def traces_by_run(connection: Connection, ids: Collection[str]) -> dict[str, list[HourTrace]]:
    """Return the traces of runs (a few hundred at most) by id; an empty list for a run without a trace.

    Raises:
        DamagedRun: if a row of a trace cannot be read.
    """
    traces: dict[str, list[HourTrace]] = {id: [] for id in ids}
    found = select(TRACE.c.run_id, *TRACE_COLUMNS).where(TRACE.c.run_id.in_(ids))
    for id, *row in connection.execute(found.order_by(TRACE.c.run_id, TRACE.c.hour, TRACE.c.layer)):
        traces[id].append(hour_trace(id, row))
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


def add_trace(connection: Connection, run_id: str, trace: Sequence[HourTrace]) -> int:
    """Write the rows of a trace that `connection` does not have already; return their number."""
    found = connection.execute(select(TRACE.c.hour, TRACE.c.layer).where(TRACE.c.run_id == run_id))
    known = {(hour, layer) for hour, layer in found}
    gained = [{"run_id": run_id, **asdict(row)} for row in trace if (row.hour, row.layer) not in known]
    if gained:
        connection.execute(insert(TRACE), gained)
    return len(gained)
