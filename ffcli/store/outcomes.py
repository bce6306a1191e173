"""What each run had reached at a horizon of epochs: the input of `ff report`, aggregated by the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, select

from ffcli.records import LAST_EPOCHS, Outcome, RunSummary
from ffcli.store.database import Store, reading
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, SUMMARY_COLUMNS, collector_paused, readable, run_record
from ffcli.store.tables import EPOCH, IS_CURRENT, RUN


def summaries(store: Store) -> list[RunSummary]:
    """Return every run that is not superseded, newest first.

    A run whose process no longer exists is returned as interrupted or stale, not as running.

    Raises:
        DamagedRun: if a row cannot be read.
    """
    with collector_paused(), reading(store) as connection:
        running = connection.execute(select(*RUN_COLUMNS).where(RUN.c.status == "running"))
        now = utc_now()
        seen = {row.id: run_record(row, now).status for row in running}
        found = connection.execute(
            select(*SUMMARY_COLUMNS).where(IS_CURRENT).order_by(RUN.c.started.desc(), RUN.c.id.desc())
        )
        return [readable(RunSummary(id, key, c, seen.get(id, status), *rest)) for id, key, c, status, *rest in found]


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
