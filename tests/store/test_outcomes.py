"""Outcomes at a horizon equal a plain computation."""

from __future__ import annotations

from dataclasses import asdict
from statistics import mean

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete
from store_helpers import make_config, make_epoch

from ffcli.config import RunConfig
from ffcli.records import LAST_EPOCHS, EpochMetrics, best_accuracy
from ffcli.store import claims, outcomes, runs
from ffcli.store.database import Store, writing
from ffcli.store.liveness import this_process
from ffcli.store.tables import RUN

percent = st.integers(0, 4).map(lambda n: n * 12.5)  # few, so that accuracies tie
measured = st.tuples(st.none() | percent, st.none() | percent)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accuracies=st.lists(measured, max_size=12), horizon=st.integers(1, 14), held_out=st.booleans())
@example(accuracies=[(9.0, 9.0), (20.0, 9.0), (30.0, 9.0), (40.0, 50.0)], horizon=2, held_out=False)
@example(accuracies=[(9.0, 9.0), (20.0, 9.0), (30.0, 9.0), (40.0, 50.0)], horizon=2, held_out=True)
def test_outcomes_equal_a_plain_computation(
    store: Store, accuracies: list[tuple[float | None, float | None]], horizon: int, held_out: bool
) -> None:
    with writing(store) as connection:
        connection.execute(delete(RUN))
    claim = claims.claim(store, make_config(), owner=this_process())
    metrics = [make_epoch(e, a, v if held_out else None) for e, (a, v) in enumerate(accuracies)]
    for epoch in metrics:
        claims.record_epoch(store, claim, epoch)
    [outcome] = outcomes.outcomes(store, horizon, outcomes.summaries(store))
    seen = [m for m in metrics if 0 < m.epoch <= horizon]
    last = [m.accuracy for m in seen if m.epoch > horizon - LAST_EPOCHS and m.accuracy is not None]
    record = asdict(runs.get(store, claim.run_id))
    assert asdict(outcome.run) == {name: record[name] for name in asdict(outcome.run)}
    assert (outcome.horizon, outcome.reached) == (horizon, max((m.epoch for m in seen), default=0))
    assert outcome.final == next((m.accuracy for m in seen if m.epoch == horizon), None)
    assert outcome.best == best_accuracy(seen)
    assert outcome.last5 == (pytest.approx(mean(last)) if last else None)


def test_superseded_runs_are_left_out(store: Store) -> None:
    add(store, make_config(), [make_epoch(1)])
    claims.claim(store, make_config(), owner=this_process(), force=True)
    found = outcomes.outcomes(store, 20, outcomes.summaries(store))
    assert [(o.reached, o.best, o.learned) for o in found] == [(0, None, None)]


def add(store: Store, config: RunConfig, epochs: list[EpochMetrics]) -> None:
    claim = claims.claim(store, config, owner=this_process())
    for metrics in epochs:
        claims.record_epoch(store, claim, metrics)
    claims.finish(store, claim)


def test_outcomes_include_only_current_runs(store: Store) -> None:
    for seed in range(3):
        add(store, make_config(seed=seed), [make_epoch(1, 10.0 * seed)])
    records = runs.list_runs(store)
    claims.claim(store, records[0].config, owner=this_process(), force=True)
    assert [(o.run, o.best) for o in outcomes.outcomes(store, 5, records[:2])] == [(records[1], 10.0)]
    runs.delete(store, [records[1].id])
    assert outcomes.outcomes(store, 5, records[:2]) == []
