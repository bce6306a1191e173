"""What each run had reached at a horizon of epochs: the input of `ff report`, aggregated by the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, case, func, or_, select, type_coerce

from ffcli.errors import DamagedRun
from ffcli.records import LAST_EPOCHS, Outcome, RunRecord, RunSummary
from ffcli.store.database import Store, reading
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, SUMMARY_COLUMNS, Skipped, collector_paused, readable, run_records
from ffcli.store.runs import chunks
from ffcli.store.tables import EPOCH, IS_CURRENT, RUN


def summaries(store: Store, skipped: Skipped | None = None) -> list[RunSummary]:
    """Return every run that is not superseded, newest first.

    A run whose process no longer exists is returned as interrupted or stale, not as running.

    Args:
        store: the database.
        skipped: called for each row that cannot be read, which is left out; if None, such a row is an error.

    Raises:
        DamagedRun: if a row cannot be read and there is no `skipped`.
    """
    with collector_paused(), reading(store) as connection:
        whole = {run.id: run.status for run in _read_whole(connection, skipped)}
        found = select(*SUMMARY_COLUMNS, _NEEDS_WHOLE).where(IS_CURRENT)
        rows = connection.execute(found.order_by(RUN.c.started.desc(), RUN.c.id.desc()))
        summaries = []
        for *row, needs_whole in rows:
            if needs_whole:
                if row[0] in whole:
                    summaries.append(replace(RunSummary(*row), status=whole[row[0]]))
                continue
            try:
                summaries.append(RunSummary(*readable(row)))
            except DamagedRun as error:
                if skipped is None:
                    raise
                skipped(error)
        return summaries


_NEEDS_WHOLE = or_(
    RUN.c.status == "running",
    *(func.length(type_coerce(RUN.c[name], Text)) != 26 for name in ("started", "ended", "heartbeat")),
)
"""Whether the status depends on the process, or a date is not as ffcli writes it. Reading all columns of every run
would take twice as long as the rest of a report over 10,000 runs."""


def _read_whole(connection: Connection, skipped: Skipped | None) -> Iterator[RunRecord]:
    rows = connection.execute(select(*RUN_COLUMNS).where(IS_CURRENT, _NEEDS_WHOLE))
    return run_records(rows, utc_now(), skipped)


def outcomes(store: Store, horizon: int, runs: Iterable[RunSummary]) -> list[Outcome]:
    """Return what runs had reached at a horizon, in the order given; superseded and deleted runs are left out.

    Args:
        store: the database.
        horizon: number of epochs at which to read every run.
        runs: runs of `summaries`, which are passed in because reading them takes longer than the rest.
    """
    with collector_paused(), reading(store) as connection:
        measured = {id: values for id, *values in connection.execute(_statement(horizon))}
        return [_outcome(run, horizon, *measured[run.id]) for run in runs if run.id in measured]


def evaluated_epochs(store: Store, runs: Iterable[RunSummary]) -> Counter[int]:
    """Return how many of the runs were evaluated after each epoch, from epoch 1 on."""
    counts: Counter[int] = Counter()
    with reading(store) as connection:
        for ids in chunks(run.id for run in runs):
            rows = select(EPOCH.c.epoch, func.count()).where(
                EPOCH.c.run_id.in_(ids), EPOCH.c.epoch > 0, EPOCH.c.accuracy.is_not(None)
            )
            counts.update(dict(map(tuple, connection.execute(rows.group_by(EPOCH.c.epoch)))))
    return counts


def _statement(horizon: int) -> Select[Any]:
    """Select id, epochs done, final accuracy, best accuracy and `last5`, one row per run.

    Each run's last epochs are one range of a covering index. The best accuracy of a run that is no longer than the
    horizon is in the run's row.
    """

    def epochs_from(first: int) -> ColumnElement[bool]:
        return and_(EPOCH.c.run_id == RUN.c.id, EPOCH.c.epoch >= first, EPOCH.c.epoch <= horizon)

    choice = func.coalesce(EPOCH.c.validation_accuracy, EPOCH.c.accuracy)
    best = (
        select(EPOCH.c.accuracy)
        .where(epochs_from(1), EPOCH.c.accuracy.is_not(None))
        .order_by(choice.desc(), EPOCH.c.epoch)
        .limit(1)
    )
    return (
        select(
            RUN.c.id,
            RUN.c.epochs_done,
            func.max(case((EPOCH.c.epoch == horizon, EPOCH.c.accuracy))),
            case((RUN.c.epochs_done <= horizon, RUN.c.best_accuracy), else_=best.correlate(RUN).scalar_subquery()),
            func.avg(EPOCH.c.accuracy),
        )
        .outerjoin(EPOCH, epochs_from(max(1, horizon - LAST_EPOCHS + 1)))
        .where(IS_CURRENT)
        .group_by(RUN.c.id)
    )


def _outcome(
    run: RunSummary, horizon: int, done: int, final: float | None, best: float | None, last5: float | None
) -> Outcome:
    return Outcome(run, horizon=horizon, reached=min(done, horizon), final=final, best=best, last5=last5)
