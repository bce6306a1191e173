"""How fast runs were trained on one machine."""

from __future__ import annotations

from sqlalchemy import func, select

from ffcli.records import Timing
from ffcli.store.database import Store, reading
from ffcli.store.runs import Filters, list_runs
from ffcli.store.tables import EPOCH

RECENT = 200
"""Number of newest runs that are read; fewer than the variables that one SQLite statement may have."""


def timings(store: Store, *, host: str) -> list[Timing]:
    """Return the timings of recent runs, all of whose epochs were trained on `host`, the newest first."""
    recent = [
        run
        for run in list_runs(store, Filters(limit=RECENT), lambda _: None)
        if run.seconds and {stretch.host for stretch in run.provenance} == {host}
    ]
    counts = (
        select(EPOCH.c.run_id, func.count(), func.count(EPOCH.c.accuracy))
        .where(EPOCH.c.epoch > 0, EPOCH.c.run_id.in_([run.id for run in recent]))
        .group_by(EPOCH.c.run_id)
    )
    with reading(store) as connection:
        counted = {id: (epochs, evaluations) for id, epochs, evaluations in connection.execute(counts)}
    return [Timing(run.config, *counted[run.id], run.seconds) for run in recent if run.id in counted]
