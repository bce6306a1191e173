"""Conversion between rows and records."""

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
    """Return the columns of a run that hold its config, and the copies of its settings that filters use."""
    return {
        "config": config,
        "dataset": config.data.name,
        "data_source": config.data.source,
        "negatives": config.negatives,
        "pos_phase": config.schedule.positive,
        "neg_phase": config.schedule.negative,
        "seed": config.seed,
        "epochs_requested": config.epochs,
    }


SUMMARY_COLUMNS = tuple(RUN.c[field.name] for field in fields(RunSummary))
RUN_COLUMNS = (*(RUN.c[field.name] for field in fields(RunRecord)), RUN.c.host, RUN.c.pid, RUN.c.pid_started)
"""The columns that `run_record` reads, in this order."""


_JSON = tuple(c.name for c in RUN.c if isinstance(c.type, AsJson))
Record = TypeVar("Record", RunSummary, RunRecord)


def readable(record: Record) -> Record:
    """Return the record, after checking that every JSON column could be read.

    Raises:
        DamagedRun: if one could not; the message names the run.
    """
    for name in _JSON:
        if isinstance(getattr(record, name, None), Unreadable):
            short = record.id[:ID_DIGITS]
            raise DamagedRun(f"run {short} is damaged: its {name} cannot be read; `ff delete {short}` deletes the run")
    return record


def run_record(row: Sequence[Any], now: datetime) -> RunRecord:
    """Return the record of a row of RUN_COLUMNS. A run whose process no longer exists at `now` is not running.

    Raises:
        DamagedRun: if a column cannot be read; the message names the run.
    """
    record = readable(RunRecord(*row[:-3]))
    if record.status == "running" and (end := abandoned(Owner(*row[-3:]), record.heartbeat, now)):
        status, reason = end
        return replace(record, status=status, failure=reason, ended=record.heartbeat)
    return record


def write_epoch(connection: Connection, run_id: str, metrics: EpochMetrics) -> None:
    """Write an epoch; values that were measured replace those of an earlier recording of this epoch.

    Values that were not measured stay, so that an epoch that is trained again without an evaluation keeps its first
    evaluation: the trajectory is the same.
    """
    measured = {name: value for name, value in asdict(metrics).items() if value is not None}
    write = insert(EPOCH).values(run_id=run_id, **measured)
    replaced = {name: write.excluded[name] for name in measured}
    connection.execute(write.on_conflict_do_update(index_elements=EPOCH.primary_key, set_=replaced))


EPOCH_COLUMNS = tuple(EPOCH.c[name] for name in EpochMetrics.__slots__)
"""The columns that `epoch_metrics` reads, in this order."""


def epoch_metrics(row: Sequence[Any]) -> EpochMetrics:
    """Return the record of a row of EPOCH_COLUMNS."""
    values = [*row[:-4], *map(_floats, row[-4:-1]), row[-1]]
    return EpochMetrics(*values)


def epochs_by_run(connection: Connection, ids: Collection[str]) -> dict[str, list[EpochMetrics]]:
    """Return the epochs of runs (a few hundred at most) by id, in order; an empty list for a run without epochs."""
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
    """Pause the garbage collector of cycles while many records are created.

    Records hold no cycles, and repeated collections take half of the time to read 10,000 runs.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
