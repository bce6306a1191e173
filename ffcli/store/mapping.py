"""Rows and records: what goes into a row, what comes out of one."""

from __future__ import annotations

import gc
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from ffcli.config import RunConfig
from ffcli.errors import DamagedRun
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord, RunSummary
from ffcli.store.liveness import Owner, abandoned
from ffcli.store.tables import EPOCH, RUN, AsJson, Unreadable


def config_columns(config: RunConfig) -> dict[str, Any]:
    """The config, and its copies in the columns that one filters by."""
    return {
        "config": config,
        "dataset": config.data.name,
        "data_source": config.data.source,
        "negatives": config.negatives,
        "pos_phase": config.schedule.positive,
        "neg_phase": config.schedule.negative,
        "preset": config.preset,
        "seed": config.seed,
        "epochs_requested": config.epochs,
    }


SUMMARY_COLUMNS = tuple(RUN.c[field.name] for field in fields(RunSummary))
RUN_COLUMNS = (*(RUN.c[field.name] for field in fields(RunRecord)), RUN.c.host, RUN.c.pid, RUN.c.pid_started)
"""What `run_record` reads, in order."""


_JSON = tuple(c.name for c in RUN.c if isinstance(c.type, AsJson))
Record = TypeVar("Record", RunSummary, RunRecord)


def readable(record: Record) -> Record:
    """The record itself. Raises DamagedRun, naming the run, where a column does not hold what it should."""
    for name in _JSON:
        if isinstance(getattr(record, name, None), Unreadable):
            short = record.id[:ID_DIGITS]
            raise DamagedRun(f"run {short} is damaged: its {name} cannot be read; `ff delete {short}` forgets the run")
    return record


def run_record(row: Sequence[Any], now: datetime) -> RunRecord:
    """A row of RUN_COLUMNS as it is to be seen at `now`: a run whose process is gone no longer shows as running.

    Raises DamagedRun, naming the run, where a column does not hold what it should.
    """
    record = readable(RunRecord(*row[:-3]))
    if record.status == "running" and (end := abandoned(Owner(*row[-3:]), record.heartbeat, now)):
        return replace(record, status=end[0], failure=end[1], ended=record.heartbeat)
    return record


def write_epoch(connection: Connection, run_id: str, metrics: EpochMetrics) -> None:
    """Write an epoch, over one that is there. What was not measured stays as it is, so that an epoch that is trained
    again without being evaluated keeps what was measured the first time: the trajectory is the same."""
    measured = {name: value for name, value in asdict(metrics).items() if value is not None}
    # "On conflict" has a dialect's own `insert`; PostgreSQL's is spelt the same.
    write = insert(EPOCH).values(run_id=run_id, **measured)
    renewed = {name: write.excluded[name] for name in measured}
    connection.execute(write.on_conflict_do_update(index_elements=EPOCH.primary_key, set_=renewed))


EPOCH_COLUMNS = tuple(EPOCH.c[name] for name in EpochMetrics.__slots__)
"""What `epoch_metrics` reads, in order."""


def epoch_metrics(row: Sequence[Any]) -> EpochMetrics:
    """A row of EPOCH_COLUMNS."""
    values = [*row[:-4], *map(_floats, row[-4:-1]), row[-1]]
    return EpochMetrics(*values)


def epochs_by_run(connection: Connection, ids: Collection[str]) -> dict[str, list[EpochMetrics]]:
    """All epochs of some runs (at most some hundred), in order; an empty list where a run has none."""
    epochs: dict[str, list[EpochMetrics]] = {id: [] for id in ids}
    found = (
        select(EPOCH.c.run_id, *EPOCH_COLUMNS).where(EPOCH.c.run_id.in_(ids)).order_by(EPOCH.c.run_id, EPOCH.c.epoch)
    )
    for id, *row in connection.execute(found):
        epochs[id].append(epoch_metrics(row))
    return epochs


def _floats(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Build many records without the cycle collector, which would walk every object of the program again and again
    (half of the time of 10,000 records) to find none: records hold no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
