"""The tables of cures from the database, for `ff report` and `ff plot`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

from ffcli.choices import DataKind, Metric
from ffcli.cli.console import message, out, print_json
from ffcli.cli.pictures import check_picture, drawing
from ffcli.errors import BadOption
from ffcli.records import EpochMetrics, RunRecord
from ffcli.report.cure_costs import Cost, costs
from ffcli.report.cure_formats import as_json
from ffcli.report.cure_words import START, caption
from ffcli.report.cures import CureTable, draw
from ffcli.report.protocol import select
from ffcli.store import runs as stored
from ffcli.store import traces
from ffcli.store.database import Store, open_to_read
from ffcli.store.outcomes import outcomes, summaries
from ffcli.text import counted


class Chosen(TypedDict):
    """Which runs, and how they are read."""

    preset: str | None
    """That of the plain runs: a label, or `custom`."""
    data: DataKind | None
    tag: str | None
    metric: Metric
    epochs: int | None
    published: bool


def read_cures(db: str | None, **chosen: Unpack[Chosen]) -> list[tuple[CureTable, list[Cost]]]:
    """Each table with what its cures cost."""
    with open_to_read(db) as store:
        runs = select(summaries(store), data=chosen["data"], tag=chosen["tag"])
        tables = draw(
            runs,
            partial(outcomes, store, runs=runs),
            preset=chosen["preset"],
            metric=chosen["metric"],
            epochs=chosen["epochs"],
            published=chosen["published"],
        )
        return [(table, costs(table, partial(_timed, store))) for table in tables]


def _timed(store: Store, id: str) -> tuple[RunRecord, list[EpochMetrics]]:
    """A run and its epochs but the traced ones, which take longer."""
    traced = traces.traced(store, id).keys()
    before, own = 0, []
    for epoch in stored.epochs(store, id):
        if traced.isdisjoint(range(before + 1, epoch.hour + 1)):
            own.append(epoch)
        before = epoch.hour
    return stored.get(store, id), own


def draw_cures(file: Path, db: str | None, *, json: bool, **chosen: Unpack[Chosen]) -> None:
    """Draw the first table with balanced phases. Raises BadOption where there is none, or `file` is no picture."""
    from ffcli.plots.cures import lengths, save_plot

    check_picture("--output", file)
    tables = [(table, costs) for table, costs in read_cures(db, **chosen) if lengths(table)]
    if not tables:
        raise BadOption(f"no cured runs with balanced phases here: `{START}` makes one")
    (table, costs), *others = tables
    with drawing("--output", file):
        save_plot(table, file)
    if json:
        print_json({"file": str(file), "table": as_json(table, costs)})
    else:
        out().print(f"{file}: {caption(table)}", markup=False, soft_wrap=True)
    if others:
        message(f"{counted(len(others), 'more table')} of cures not drawn: --preset, --data or --tag chooses another")
