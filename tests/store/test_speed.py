"""The cost of a list or report does not grow with rows that it does not show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update
from store_helpers import make_config, make_epoch

from ffcli.errors import DamagedRun
from ffcli.store import claims, outcomes, runs
from ffcli.store.database import Store, reading, writing
from ffcli.store.liveness import Owner, utc_now
from ffcli.store.runs import Filters
from ffcli.store.tables import EPOCH, RUN

FEW, MANY = 40, 800


def add_runs(store: Store, numbers: Iterable[int]) -> None:
    """Add copies of a completed run; each begins a minute after the one before."""
    claim = claims.claim(store, make_config(seed=min(numbers)), owner=Owner("elsewhere", 1, 0.0))
    claims.record_epoch(store, claim, make_epoch(1))
    claims.finish(store, claim)
    with writing(store) as connection:
        row = connection.execute(select(RUN).where(RUN.c.id == claim.run_id)).one()._asdict()
        copies = [
            row
            | {"id": f"{number:032x}", "key": f"{number:064x}", "started": row["started"] + timedelta(minutes=number)}
            for number in numbers
        ]
        connection.execute(insert(RUN), copies)


def steps(store: Store, read: Callable[[], object]) -> int:
    """Return the number of instructions that SQLite executes for `read`, in tens."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    with reading(store) as connection:
        driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(step, 10)
    read()
    driver.set_progress_handler(None, 0)
    assert count > 0
    return count


@pytest.mark.parametrize(
    "filters",
    [
        Filters(limit=5),
        Filters(limit=5, include_superseded=True),
        Filters(limit=5, dataset="mnist", pos_phase=1, preset="fast@1"),
        Filters(since=utc_now() + timedelta(minutes=MANY)),
    ],
)
def test_listing_does_not_read_other_runs(store: Store, filters: Filters) -> None:
    add_runs(store, range(MANY, MANY + FEW))
    before = steps(store, lambda: runs.list_runs(store, filters))
    add_runs(store, range(MANY))
    assert steps(store, lambda: runs.list_runs(store, filters)) < 1.5 * before


def test_short_ids_read_only_neighbouring_ids(store: Store) -> None:
    ids = [f"{number:032x}" for number in (3, 30)]
    add_runs(store, range(FEW))
    before = steps(store, lambda: runs.short_ids(store, ids))
    add_runs(store, range(FEW, MANY))
    assert steps(store, lambda: runs.short_ids(store, ids)) < 1.5 * before


def test_report_reads_only_the_epochs_that_it_shows(store: Store) -> None:
    """The last five epochs if a run ends at the horizon; all epochs up to the horizon if it is longer."""
    add_runs(store, range(FEW))
    summaries = outcomes.summaries(store)

    def report() -> int:
        return steps(store, lambda: outcomes.outcomes(store, 20, summaries))

    def add_epochs(first: int, last: int) -> None:
        rows = [asdict(make_epoch(epoch)) | {"run_id": s.id} for s in summaries for epoch in range(first, last)]
        with writing(store) as connection:
            connection.execute(insert(EPOCH).prefix_with("OR IGNORE"), rows)
            connection.execute(update(RUN).values(epochs_done=last - 1))

    add_epochs(16, 21)
    before = report()
    add_epochs(1, 16)
    with writing(store) as connection:
        connection.execute(update(RUN).values(epochs_done=20))
    assert report() < 1.5 * before
    add_epochs(21, 40)
    longer = report()
    add_epochs(40, 400)
    assert report() < 1.5 * longer


def test_listing_does_not_parse_other_runs(store: Store) -> None:
    add_runs(store, range(10))
    newest = runs.list_runs(store, Filters(limit=3))
    with writing(store) as connection:
        connection.execute(
            text("UPDATE run SET config = '{}' WHERE id NOT IN (:a, :b, :c)"),
            dict(zip("abc", (r.id for r in newest), strict=True)),
        )
    assert runs.list_runs(store, Filters(limit=3)) == newest
    with pytest.raises(DamagedRun):
        runs.list_runs(store, Filters(limit=4))


def test_reading_loads_no_heavy_package(store: Store) -> None:
    program = (
        "import sys; from ffcli.store import outcomes, runs, database\n"
        "with database.open_store(sys.argv[1]) as store:\n"
        "    runs.short_ids(store, [run.id for run in runs.list_runs(store)])\n"
        "    outcomes.outcomes(store, 20, outcomes.summaries(store))\n"
        "heavy = {'numpy', 'torch', 'alembic', 'sqlalchemy.orm', 'psutil'} & sys.modules.keys()\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(store.path)], check=True)
