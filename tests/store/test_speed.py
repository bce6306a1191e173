"""What a list and a report of ten thousand runs cost, as the database plans it: indices, no sorting, no reading of rows
that are not shown. (`tools/fill_database.py` makes a database in which to measure seconds.)"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Select, text
from sqlalchemy.dialects import sqlite
from store_helpers import make_config

from ffcli.store import claims, outcomes, runs
from ffcli.store.database import Store, reading
from ffcli.store.liveness import Owner, utc_now
from ffcli.store.runs import Filters


def plan(store: Store, statement: Select[Any]) -> list[str]:
    sql = statement.compile(
        dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True, "render_postcompile": True}
    )
    with reading(store) as connection:
        return [row[-1] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]


@pytest.mark.parametrize("horizon", [20, None])
def test_a_report_reads_ranges_of_an_index_and_no_row_of_an_epoch(store: Store, horizon: int | None) -> None:
    steps = [step for step in plan(store, outcomes.statement(horizon)) if "epoch" in step]
    assert len(steps) == 2
    for step in steps:
        assert step.startswith("SEARCH epoch USING COVERING INDEX ix_epoch_accuracy (run_id=? AND epoch>? AND epoch<?)")


@pytest.mark.parametrize(
    "filters",
    [Filters(), Filters(include_superseded=True), Filters(dataset="mnist", pos_phase=2), Filters(preset="x")],
)
def test_the_newest_runs_are_read_in_the_order_of_an_index(store: Store, filters: Filters) -> None:
    assert plan(store, runs.statement(replace(filters, limit=51))) == ["SCAN run USING INDEX ix_run_started"]


def test_since_a_day_is_a_range_of_that_index(store: Store) -> None:
    assert plan(store, runs.statement(Filters(since=utc_now()))) == [
        "SEARCH run USING INDEX ix_run_started (started>?)"
    ]


def test_short_ids_look_at_their_neighbours_only(store: Store) -> None:
    steps = [step for step in plan(store, runs.neighbours_of(["a" * 32, "b" * 32])) if not step.startswith("CORR")]
    assert all(step.startswith("SEARCH run") and "COVERING INDEX" in step for step in steps), steps


def test_the_runs_shown_are_all_that_is_parsed(store: Store) -> None:
    owner = Owner("elsewhere", 1, 0.0)
    for seed in range(20):
        claims.claim(store, make_config(seed=seed), owner=owner)
    read = runs.RUN.c.config.type.read  # type: ignore[attr-defined]
    read.cache_clear()
    assert len(runs.list_runs(store, Filters(limit=3))) == 3
    assert read.cache_info().misses == 3


def test_reading_loads_neither_numpy_nor_another_database(store: Store) -> None:
    program = (
        "import sys; from ffcli.store import outcomes, runs, database\n"
        "with database.open_store(sys.argv[1]) as store:\n"
        "    runs.short_ids(store, [run.id for run in runs.list_runs(store)]), outcomes.outcomes(store)\n"
        "heavy = {'numpy', 'torch', 'alembic', 'sqlalchemy.orm', 'sqlalchemy.dialects.postgresql'}\n"
        "heavy &= sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(store.path)], check=True)
