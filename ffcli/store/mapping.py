"""Conversion between rows and records."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from ffcli.config import RunConfig
from ffcli.errors import DamagedRun
from ffcli.records import EpochMetrics, RunRecord, RunSummary
from ffcli.store.checks import shown_id, wrong_column
from ffcli.store.liveness import Owner, abandoned
from ffcli.store.tables import EPOCH, RUN


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


_OWNER = tuple(RUN.c[field.name] for field in fields(Owner))
SUMMARY_COLUMNS = tuple(RUN.c[field.name] for field in fields(RunSummary))
RUN_COLUMNS = (*(RUN.c[field.name] for field in fields(RunRecord)), *_OWNER)
"""The columns that `run_record` reads, in this order; they begin with SUMMARY_COLUMNS."""


_wrong_in_run = wrong_column(*RUN_COLUMNS)


def readable(row: Sequence[Any]) -> Sequence[Any]:
    """Return a row of RUN_COLUMNS or SUMMARY_COLUMNS, after checking that ffcli may have written its values.

    Raises:
        DamagedRun: if it never writes one of them.
    """
    if wrong := _wrong_in_run(row):
        raise DamagedRun(shown_id(row[0]), wrong)
    return row


def run_record(row: Sequence[Any], now: datetime) -> RunRecord:
    """Return the record of a row of RUN_COLUMNS. A run whose process no longer exists at `now` is not running.

    Raises:
        DamagedRun: if a column cannot be read.
    """
    *values, host, pid, started, boot = readable(row)
    record = RunRecord(*values)
    if record.status == "running" and (end := abandoned(Owner(host, pid, started, boot), record.heartbeat, now)):
        status, reason = end
        return replace(record, status=status, failure=reason, ended=record.heartbeat)
    return record


Skipped = Callable[[DamagedRun], None]
"""Receives the error of a row that cannot be read and is left out."""


def run_records(rows: Iterable[Sequence[Any]], now: datetime, skipped: Skipped | None = None) -> Iterator[RunRecord]:
    """Yield the records of rows of RUN_COLUMNS (see `run_record`).

    Args:
        rows: the rows.
        now: the current time.
        skipped: called for each row that cannot be read; if None, such a row is an error.

    Raises:
        DamagedRun: if a row cannot be read and there is no `skipped`.
    """
    for row in rows:
        try:
            record = run_record(row, now)
        except DamagedRun as error:
            if skipped is None:
                raise
            skipped(error)
        else:
            yield record


def is_complete(run: RunRecord, epochs: Sequence[EpochMetrics], last: int) -> bool:
    """Return whether a run answers a request for `last` epochs: it has epochs 0 to `last`, and `last` was evaluated.

    A run whose process was killed between its last epoch and its end does not: its weights are not saved.

    Args:
        run: the run.
        epochs: its epochs, in order.
        last: the last epoch of the request.
    """
    asked = epochs[: last + 1]
    unfinished = run.status in ("interrupted", "stale") and run.epochs_done >= run.config.epochs
    known = [e.epoch for e in asked] == list(range(last + 1)) and asked[-1].accuracy is not None
    return known and not unfinished


_insert_epoch = insert(EPOCH)
_write_epoch = _insert_epoch.on_conflict_do_update(
    index_elements=EPOCH.primary_key,
    set_={
        name: func.coalesce(_insert_epoch.excluded[name], EPOCH.c[name])
        for name in EpochMetrics.__slots__
        if name != "epoch"
    },
)
"""Made once: SQLAlchemy takes longer to make it than SQLite to execute it, and a sweep records hundreds per second."""


def write_epochs(connection: Connection, run_id: str, epochs: Iterable[EpochMetrics]) -> None:
    """Write epochs of a run; values that were measured replace those of an earlier recording of the same epoch.

    Values that were not measured stay, so that an epoch that is trained again without an evaluation keeps its first
    evaluation: the trajectory is the same.
    """
    if rows := [{"run_id": run_id, **asdict(metrics)} for metrics in epochs]:
        connection.execute(_write_epoch, rows)


EPOCH_COLUMNS = tuple(EPOCH.c[name] for name in EpochMetrics.__slots__)
"""The columns that `epoch_metrics` reads, in this order."""
_wrong_in_epoch = wrong_column(*EPOCH_COLUMNS)


def epoch_metrics(run_id: str, row: Sequence[Any]) -> EpochMetrics:
    """Return the record of a row of EPOCH_COLUMNS.

    Raises:
        DamagedRun: if ffcli never writes one of its values.
    """
    by_layer = row[-4:-1]
    if _wrong_in_epoch(row) or len({None if values is None else len(values) for values in by_layer}) > 1:
        raise DamagedRun(shown_id(run_id), f"epoch {row[0]}")
    values = [*row[:-4], *map(_floats, by_layer), row[-1]]
    return EpochMetrics(*values)


def epochs_by_run(connection: Connection, ids: Collection[str]) -> dict[str, list[EpochMetrics]]:
    """Return the epochs of runs (a few hundred at most) by id, in order; an empty list for a run without epochs.

    Raises:
        DamagedRun: if an epoch cannot be read.
    """
    epochs: dict[str, list[EpochMetrics]] = {id: [] for id in ids}
    found = (
        select(EPOCH.c.run_id, *EPOCH_COLUMNS).where(EPOCH.c.run_id.in_(ids)).order_by(EPOCH.c.run_id, EPOCH.c.epoch)
    )
    for id, *row in connection.execute(found):
        epochs[id].append(epoch_metrics(id, row))
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
