"""Conversion between rows and records."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, get_origin

from sqlalchemy import Column, Connection, Double, Integer, select
from sqlalchemy.dialects.sqlite import insert

from ffcli.config import RunConfig
from ffcli.errors import DamagedRun
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord, RunSummary
from ffcli.store.liveness import Owner, abandoned
from ffcli.store.tables import EPOCH, RUN, AsJson, UtcDateTime, Values


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


def _types(column: Column[Any]) -> tuple[type, ...]:
    """The types of the values of a column that can be read. SQLite stores any value in any column."""
    match column.type:
        case AsJson(type_=type_):
            types: tuple[type, ...] = (get_origin(type_) or type_,)
        case UtcDateTime():
            types = (datetime,)
        case Double():
            types = (float, int)
        case Integer():
            types = (int,)
        case Values():
            types = (list,)
        case _:
            types = (str,)
    return (*types, type(None)) if column.nullable else types


_RUN_TYPES = tuple(map(_types, RUN_COLUMNS))
_is_id = re.compile("[0-9a-f]{32}").fullmatch
"""An id becomes part of file names."""


def shown_id(id: Any) -> str:
    """Return an id as it is shown in messages: its first digits, or if it is damaged, all of it as printable text."""
    if isinstance(id, str) and _is_id(id):
        return id[:ID_DIGITS]
    return id if isinstance(id, str) and id.isprintable() and id.isascii() else ascii(id)


def readable(row: Sequence[Any]) -> Sequence[Any]:
    """Return a row of RUN_COLUMNS or SUMMARY_COLUMNS, after checking that every value could be read.

    Raises:
        DamagedRun: if one could not.
    """
    if not all(map(isinstance, row, _RUN_TYPES)):
        fits = map(isinstance, row, _RUN_TYPES)
        raise DamagedRun(shown_id(row[0]), RUN_COLUMNS[list(fits).index(False)].name)
    if not _is_id(row[0]):
        raise DamagedRun(shown_id(row[0]), "id")
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
_EPOCH_TYPES = tuple(map(_types, EPOCH_COLUMNS))


def epoch_metrics(row: Sequence[Any]) -> EpochMetrics:
    """Return the record of a row of EPOCH_COLUMNS."""
    values = [*row[:-4], *map(_floats, row[-4:-1]), row[-1]]
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
        if not all(map(isinstance, row, _EPOCH_TYPES)):
            raise DamagedRun(shown_id(id), f"epoch {row[0]}")
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
