"""Outcomes at a horizon: against a plain computation, from an index, and fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import mean
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, text
from sqlalchemy.dialects import sqlite
from store_helpers import PROVENANCE, make_config, make_epoch

from ffcli.config import RunConfig
from ffcli.records import LAST, EpochMetrics, best_accuracy
from ffcli.store import claims, outcomes, runs
from ffcli.store.database import Store, reading, writing
from ffcli.store.liveness import this_process, utc_now
from ffcli.store.mapping import config_columns
from ffcli.store.tables import Epoch, Run

percent = st.integers(0, 4).map(lambda n: n * 12.5)  # few, so that accuracies tie
measured = st.tuples(st.none() | percent, st.none() | percent)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(accuracies=st.lists(measured, max_size=12), horizon=st.integers(1, 14), held_out=st.booleans())
@example(accuracies=[(9.0, 9.0), (20.0, 9.0), (30.0, 9.0), (40.0, 50.0)], horizon=2, held_out=False)
@example(accuracies=[(9.0, 9.0), (20.0, 9.0), (30.0, 9.0), (40.0, 50.0)], horizon=2, held_out=True)
def test_as_plainly_computed(
    store: Store, accuracies: list[tuple[float | None, float | None]], horizon: int, held_out: bool
) -> None:
    with writing(store) as session:
        session.execute(delete(Run))
    claim = claims.claim(store, make_config(), owner=this_process())
    metrics = [make_epoch(e, a, v if held_out else None) for e, (a, v) in enumerate(accuracies)]
    for epoch in metrics:
        claims.record_epoch(store, claim, epoch)
    [outcome] = outcomes.outcomes(store, horizon)
    seen = [m for m in metrics if 0 < m.epoch <= horizon]
    last = [m.accuracy for m in seen if m.epoch > horizon - LAST and m.accuracy is not None]
    assert outcome.run == runs.get(store, claim.run_id)
    assert (outcome.horizon, outcome.reached) == (horizon, max((m.epoch for m in seen), default=0))
    assert outcome.final == next((m.accuracy for m in seen if m.epoch == horizon), None)
    assert outcome.best == best_accuracy(seen)
    assert outcome.last5 == (pytest.approx(mean(last)) if last else None)


def test_each_run_is_read_at_its_own_horizon(store: Store) -> None:
    long = make_config(epochs=25)
    custom = make_config(epochs=7, lr=0.01)
    for config in (long, custom):
        add(store, config, [make_epoch(e, float(e)) for e in range(26)])
    found = {o.run.config.preset: o for o in outcomes.outcomes(store)}
    assert {preset: (o.horizon, o.final, o.best, o.last5) for preset, o in found.items()} == {
        "fast@1": (20, 20.0, 20.0, 18.0),
        "custom": (7, 7.0, 7.0, 5.0),
    }


def test_superseded_runs_have_left(store: Store) -> None:
    add(store, make_config(), [make_epoch(1)])
    claims.claim(store, make_config(), owner=this_process(), force=True)
    assert [(o.reached, o.best, o.learned) for o in outcomes.outcomes(store)] == [(0, None, None)]


def add(store: Store, config: RunConfig, epochs: list[EpochMetrics]) -> None:
    claim = claims.claim(store, config, owner=this_process())
    for metrics in epochs:
        claims.record_epoch(store, claim, metrics)
    claims.finish(store, claim)


def test_an_index_serves_it(store: Store) -> None:
    sql = outcomes.statement(20).compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with reading(store) as session:
        plan = [row[-1] for row in session.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    steps = [step for step in plan if " epoch " in step]
    assert len(steps) == 3
    assert all(step.startswith("SEARCH epoch USING INDEX") and "run_id=?" in step for step in steps)


RUNS, EPOCHS = 10_000, 20


@pytest.fixture
def large(store: Store) -> Iterator[Store]:
    """10,000 finished runs of 20 epochs, inserted in bulk."""
    config, now = make_config(), utc_now()
    with writing(store) as session:
        ids = [uuid4().hex for _ in range(RUNS)]
        values = {"started": now, "ended": now, "heartbeat": now, "host": "lab", "pid": 1, "pid_started": 0.0}
        values |= {"status": "completed", "tags": ("a",), "provenance": (PROVENANCE,), "seconds": 30.0}
        values |= {"epochs_done": EPOCHS, "best_accuracy": 50.0, "final_accuracy": 50.0}
        session.execute(
            insert(Run),
            [
                {"id": id, "key": id * 2, **config_columns(config.model_copy(update={"seed": seed})), **values}
                for seed, id in enumerate(ids)
            ],
        )
        columns = "hour, accuracy, seconds, goodness_positive, goodness_negative, dead_units"
        session.execute(
            text(
                f"WITH RECURSIVE n(e) AS (SELECT 1 UNION ALL SELECT e + 1 FROM n WHERE e < {EPOCHS}) INSERT INTO epoch"
                f" (run_id, epoch, {columns}) SELECT id, e, e * 118, 50.0, 1.5, '[1.5]', '[0.5]', '[0.0]' FROM run, n"
            )
        )
    yield store
    with writing(store) as session:
        session.execute(delete(Epoch))


def test_ten_thousand_runs_are_fast(large: Store) -> None:
    """About 0.4 s on a quiet machine; the bounds leave room for a busy one."""
    for horizon in (None, 10):
        start = time.process_time()
        assert len(outcomes.outcomes(large, horizon)) == RUNS
        assert time.process_time() - start < 1.5
    start = time.process_time()
    assert len(runs.list_runs(large, runs.Filters(limit=20))) == 20
    assert time.process_time() - start < 0.2
