"""What each run had reached at a horizon of epochs: the input of `ff report`, aggregated by the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, literal, select

from ffcli.config import PRESETS
from ffcli.records import LAST, Outcome, RunRecord
from ffcli.store.database import Store, reading
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, collector_paused, run_record
from ffcli.store.tables import IS_CURRENT, Epoch, Run


def outcomes(store: Store, horizon: int | None = None) -> list[Outcome]:
    """The outcome of every run that is not superseded, newest first.

    `horizon`: epochs; None reads each run at the length of its preset, a `custom` one at the epochs asked of it.
    """
    now = utc_now()
    with collector_paused(), reading(store) as session:
        rows = session.execute(statement(horizon))
        return [_outcome(run_record(row[:-4], now), *row[-4:]) for row in rows]


def statement(horizon: int | None) -> Select[Any]:
    """One row a run. What its epochs say comes from their range in the primary key's index; the best accuracy of a run
    that was over by the horizon is in its row, which halves the time."""
    at: ColumnElement[int] = _own_horizon() if horizon is None else literal(horizon)
    seen = (Epoch.run_id == Run.id, Epoch.epoch >= 1, Epoch.epoch <= at, Epoch.accuracy.is_not(None))
    choice = func.coalesce(Epoch.validation_accuracy, Epoch.accuracy)
    final = select(Epoch.accuracy).where(Epoch.run_id == Run.id, Epoch.epoch == at, Epoch.epoch >= 1)
    best = select(Epoch.accuracy).where(*seen).order_by(choice.desc(), Epoch.epoch).limit(1)
    last = select(func.avg(Epoch.accuracy)).where(*seen, Epoch.epoch > at - LAST)
    best_then = case((Run.epochs_done <= at, Run.best_accuracy), else_=best.scalar_subquery())
    return (
        select(*RUN_COLUMNS, at, final.scalar_subquery(), best_then, last.scalar_subquery())
        .where(IS_CURRENT)
        .order_by(Run.started.desc(), Run.id)
    )


def _outcome(run: RunRecord, at: int, final: float | None, best: float | None, last5: float | None) -> Outcome:
    return Outcome(run, horizon=at, reached=min(run.epochs_done, at), final=final, best=best, last5=last5)


def _own_horizon() -> ColumnElement[int]:
    lengths = {preset.label: preset.epochs for preset in PRESETS.values()}
    return case(lengths, value=Run.preset, else_=Run.epochs_requested)
