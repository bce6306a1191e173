"""What was traced of runs: a row for each layer after each hour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.orm import Session

from ffcli.records import HourTrace
from ffcli.store.database import Store, reading
from ffcli.store.tables import Trace

_COLUMNS = tuple(Trace.__table__.c[name] for name in HourTrace.__slots__)


def trace_of(store: Store, run_id: str) -> list[HourTrace]:
    """The trace of a run, by hour and layer; empty where there is none. `run_id` is the whole id."""
    with reading(store) as session:
        return traces_by_run(session, [run_id])[run_id]


def traced(store: Store, run_id: str) -> dict[int, int]:
    """The hours that are traced, each with its phase."""
    with reading(store) as session:
        found = session.execute(select(Trace.hour, Trace.phase).where(Trace.run_id == run_id, Trace.layer == 1))
        return {row.hour: row.phase for row in found}


def traces_by_run(session: Session, ids: Collection[str]) -> dict[str, list[HourTrace]]:
    """The traces of some runs (at most some hundred), by hour and layer; an empty list where a run has none."""
    traces: dict[str, list[HourTrace]] = {id: [] for id in ids}
    found = select(Trace.run_id, *_COLUMNS).where(Trace.run_id.in_(ids))
    for id, *row in session.execute(found.order_by(Trace.run_id, Trace.hour, Trace.layer)):
        traces[id].append(HourTrace(*row))
    return traces


def write_trace(session: Session, run_id: str, trace: Sequence[HourTrace]) -> None:
    """Write hours of a run; one that was there is replaced."""
    if trace:
        again = delete(Trace).where(Trace.run_id == run_id, Trace.hour == bindparam("again"))
        session.connection().execute(again, [{"again": hour} for hour in {row.hour for row in trace}])
        session.execute(insert(Trace), [{"run_id": run_id, **asdict(row)} for row in trace])


def drop_phases(session: Session, run_id: str, phases: Collection[int]) -> None:
    """Delete what was traced of these phases of a run."""
    session.execute(delete(Trace).where(Trace.run_id == run_id, Trace.phase.in_(phases)))


def take_trace(session: Session, source: Session, run_id: str) -> int:
    """Take in what `source` traced of a run that both have and `session` did not; returns how many rows."""
    of_run = select(Trace.__table__).where(Trace.run_id == run_id)
    known = {(row.hour, row.layer) for row in session.execute(of_run)}
    gained = [row._asdict() for row in source.execute(of_run) if (row.hour, row.layer) not in known]
    if gained:
        session.execute(insert(Trace), gained)
    return len(gained)
