"""What each run had reached at a horizon of epochs: the input of `ff report`, aggregated by the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, select

from ffcli.config import PRESETS
from ffcli.records import LAST, Outcome, RunRecord
from ffcli.store.database import Store, reading
from ffcli.store.mapping import collector_paused
from ffcli.store.runs import list_runs
from ffcli.store.tables import IS_CURRENT, Epoch, Run


def outcomes(store: Store, horizon: int | None = None, runs: Iterable[RunRecord] | None = None) -> list[Outcome]:
    """The outcome of every run that is not superseded, newest first; with `runs` of those among them, in that order.

    `horizon`: epochs; None reads each run at the length of its preset, a `custom` one at the epochs asked of it.
    Who has the records already gives them as `runs`: to read 10,000 takes longer than all the rest.
    """
    records = list_runs(store) if runs is None else runs
    with collector_paused(), reading(store) as session:
        measured = {id: values for id, *values in session.execute(statement(horizon))}
        return [_outcome(run, *measured[run.id]) for run in records if run.id in measured]


def statement(horizon: int | None) -> Select[Any]:
    """Id, horizon, epochs done, final and best accuracy and `last5`, one row a run.

    Each run's last epochs are one range of an index, which holds all that is asked of them. The best accuracy of a run
    that was over by the horizon is in its row.
    """
    at: ColumnElement[int] = _own_horizon() if horizon is None else literal(horizon)
    mine = and_(Epoch.run_id == Run.id, Epoch.epoch >= 1, Epoch.epoch <= at)
    choice = func.coalesce(Epoch.validation_accuracy, Epoch.accuracy)
    best = select(Epoch.accuracy).where(mine, Epoch.accuracy.is_not(None)).order_by(choice.desc(), Epoch.epoch).limit(1)
    return (
        select(
            Run.id,
            at,
            Run.epochs_done,
            func.max(case((Epoch.epoch == at, Epoch.accuracy))),
            case((Run.epochs_done <= at, Run.best_accuracy), else_=best.correlate(Run).scalar_subquery()),
            func.avg(Epoch.accuracy),
        )
        .outerjoin(Epoch, and_(mine, Epoch.epoch > at - LAST))
        .where(IS_CURRENT)
        .group_by(Run.id)
    )


def _outcome(
    run: RunRecord, at: int, done: int, final: float | None, best: float | None, last5: float | None
) -> Outcome:
    return Outcome(run, horizon=at, reached=min(done, at), final=final, best=best, last5=last5)


def _own_horizon() -> ColumnElement[int]:
    lengths = {preset.label: preset.epochs for preset in PRESETS.values()}
    return case(lengths, value=Run.preset, else_=Run.epochs_requested)
