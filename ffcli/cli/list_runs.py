"""`ff list-runs`: the runs, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.train import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from ffcli.records import RunRecord


def list_runs(
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    neg: Annotated[str | None, typer.Option(help="Only these negatives.")] = None,
    status: Annotated[
        str | None, typer.Option(help="running, completed, interrupted, failed, stale or superseded.")
    ] = None,
    pos_phase: Annotated[int | None, typer.Option(help="Only this positive phase; 0 for unseparated.")] = None,
    preset: Annotated[str | None, typer.Option(help="fast, paper or custom.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    since: Annotated[
        datetime | None, typer.Option(help="Started then or later.", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many; 0 for all.", min=0)] = 50,
    sort: Annotated[str, typer.Option(help="started, best, final, epochs, seconds or dataset.")] = "started",
    all: Annotated[bool, typer.Option("--all", help="Superseded runs too.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    from ffcli.cli.console import message, out, print_json
    from ffcli.records import run_json
    from ffcli.store.database import open_store
    from ffcli.store.runs import Filters, short_ids
    from ffcli.store.runs import list_runs as stored

    filters = Filters(
        dataset=dataset, negatives=neg, status=status, pos_phase=pos_phase, preset=preset, tag=tag,
        since=since.astimezone() if since else None, include_superseded=all or status == "superseded", sort=sort,
        limit=limit + 1 if limit else None,
    )  # fmt: skip
    with open_store(db, create=False) as store:
        found = stored(store, filters)
        shown = found[:limit] if limit else found
        ids = short_ids(store, [r.id for r in shown])
    if json:
        print_json([run_json(r) for r in shown])
        return
    if not shown:
        message("no runs yet: `ff train` makes one" if filters == Filters(limit=limit + 1) else "no runs match")
        return
    out().print(run_table(shown, ids, width=out().width))
    if len(found) > len(shown):
        message(f"the {len(shown)} newest; --limit 0 shows all")


def run_table(shown: list[RunRecord], ids: dict[str, str], *, width: int) -> Table:
    """One line a run; a narrow terminal leaves out what can be seen with `ff show`."""
    from rich.table import Table

    from ffcli.cli.words import duration, status_text

    table = Table(box=None, header_style="bold", pad_edge=False)
    wide, widest = width >= 78, width >= 110
    for title in ("run", "data", "neg", "phases"):
        table.add_column(title, no_wrap=True)
    table.add_column("final", justify="right", no_wrap=True)
    if wide:
        table.add_column("best", justify="right", no_wrap=True)
        table.add_column("epochs", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    if widest:
        for title in ("preset", "seed", "time", "started", "name, tags"):
            table.add_column(title, no_wrap=title != "name, tags")
    for run in shown:
        config = run.config
        cells = [ids[run.id], config.data.label, config.negatives, str(config.schedule), _percent(run.final_accuracy)]
        if wide:
            cells += [_percent(run.best_accuracy), f"{run.epochs_done}/{config.epochs}"]
        cells.append(status_text(run.status))
        if widest:
            started = f"{run.started.astimezone():%Y-%m-%d %H:%M}"
            labels = " ".join([run.name or "", *(f"#{tag}" for tag in run.tags)]).strip()
            cells += [config.preset, str(config.seed), duration(run.seconds), started, labels]
        table.add_row(*cells)
    return table


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"
