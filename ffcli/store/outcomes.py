"""What each run had reached at a horizon of epochs: the input of `ff report`, aggregated by the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, select

from ffcli.config import PRESETS
from ffcli.records import LAST_EPOCHS, Outcome, RunSummary
from ffcli.store.database import Store, reading
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, SUMMARY_COLUMNS, collector_paused, readable, run_record
from ffcli.store.tables import EPOCH, IS_CURRENT, RUN


def summaries(store: Store) -> list[RunSummary]:
    """Every run that is not superseded, newest first. A run whose process is gone no longer shows as running."""
    with collector_paused(), reading(store) as connection:
        running = connection.execute(select(*RUN_COLUMNS).where(RUN.c.status == "running"))
        now = utc_now()
        alive = {row.id: run_record(row, now).status for row in running}
        found = connection.execute(summary_statement())
        return [readable(RunSummary(id, key, c, alive.get(id, status), *rest)) for id, key, c, status, *rest in found]


def summary_statement() -> Select[Any]:
    return select(*SUMMARY_COLUMNS).where(IS_CURRENT).order_by(RUN.c.started.desc(), RUN.c.id.desc())


def outcomes(store: Store, horizon: int | None = None, runs: Iterable[RunSummary] | None = None) -> list[Outcome]:
    """The outcome of every run that is not superseded, newest first; with `runs` of those among them, in that order.

    `horizon`: epochs; None reads each run at the length of its preset, a `custom` one at the epochs asked of it.
    Who has the summaries already gives them as `runs`: to read 10,000 takes longer than all the rest.
    """
    wanted = summaries(store) if runs is None else runs
    with collector_paused(), reading(store) as connection:
        measured = {id: values for id, *values in connection.execute(statement(horizon))}
        return [_outcome(run, *measured[run.id]) for run in wanted if run.id in measured]


def statement(horizon: int | None) -> Select[Any]:
    """Id, horizon, epochs done, final and best accuracy and `last5`, one row a run.

    Each run's last epochs are one range of an index, which holds all that is asked of them. The best accuracy of a run
    that was over by the horizon is in its row.
    """
    at: ColumnElement[int] = _own_horizon() if horizon is None else literal(horizon)
    mine = and_(EPOCH.c.run_id == RUN.c.id, EPOCH.c.epoch >= 1, EPOCH.c.epoch <= at)
    choice = func.coalesce(EPOCH.c.validation_accuracy, EPOCH.c.accuracy)
    best = (
        select(EPOCH.c.accuracy)
        .where(mine, EPOCH.c.accuracy.is_not(None))
        .order_by(choice.desc(), EPOCH.c.epoch)
        .limit(1)
    )
    return (
        select(
            RUN.c.id,
            at,
            RUN.c.epochs_done,
            func.max(case((EPOCH.c.epoch == at, EPOCH.c.accuracy))),
            case((RUN.c.epochs_done <= at, RUN.c.best_accuracy), else_=best.correlate(RUN).scalar_subquery()),
            func.avg(EPOCH.c.accuracy),
        )
        .outerjoin(EPOCH, and_(mine, EPOCH.c.epoch > at - LAST_EPOCHS))
        .where(IS_CURRENT)
        .group_by(RUN.c.id)
    )


def _outcome(
    run: RunSummary, at: int, done: int, final: float | None, best: float | None, last5: float | None
) -> Outcome:
    return Outcome(run, horizon=at, reached=min(done, at), final=final, best=best, last5=last5)


def _own_horizon() -> ColumnElement[int]:
    lengths = {preset.label: preset.epochs for preset in PRESETS.values()}
    return case(lengths, value=RUN.c.preset, else_=RUN.c.epochs_requested)
