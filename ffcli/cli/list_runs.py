"""`ff list-runs`: the runs, newest first."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ffcli.choices import Status
from ffcli.cli.options import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ffcli.records import RunRecord

Sort = Literal["started", "oldest", "best", "final", "epochs", "seconds", "dataset"]

MIDDLE = ("run", "data", "neg", "phases", "final", "best", "epochs", "status")
WIDE = (*MIDDLE, "preset", "seed", "time", "started", "name, tags")
NARROW = ("run", "what", "final", "status")
LAYOUTS = (
    WIDE,
    ("run", "what", "final", "best", "epochs", "status", "seed", "name, tags"),
    ("run", "what", "final", "best", "epochs", "status"),
    NARROW,
)
"""Columns, from the widest terminal to the narrowest."""
PLAIN = (
    WIDE,
    (*MIDDLE, "preset", "seed", "name, tags"),
    MIDDLE,
    ("run", "data", "neg", "phases", "final", "status"),
    NARROW,
)
"""The same where every run is of the default preset, so that none need be named."""


def list_runs(
    dataset: Annotated[str | None, typer.Option(help="Only this data set.")] = None,
    neg: Annotated[str | None, typer.Option(help="Only these negatives.")] = None,
    status: Annotated[Status | None, typer.Option(help="Only runs that stand so.")] = None,
    pos_phase: Annotated[int | None, typer.Option(help="Only this positive phase; 0 for unseparated.", min=0)] = None,
    preset: Annotated[str | None, typer.Option(help="fast, paper or custom.")] = None,
    cure: Annotated[str | None, typer.Option(help="none, gradient-memory or replay:SAMPLES.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Started then or later, such as 2025-01-31 or 2025-01-31T12:00.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most so many; 0 for all.", min=0, max=10**9)] = 50,
    sort: Annotated[Sort, typer.Option(help="What the order is by.")] = "started",
    all: Annotated[bool, typer.Option("--all", help="Superseded runs too.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    from ffcli.cli.console import message, out, print_json
    from ffcli.cli.filters import check_dataset, known_negatives, named_cure, stored_preset
    from ffcli.records import run_json
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, short_ids
    from ffcli.store.runs import list_runs as stored

    filters = Filters(
        dataset=dataset, negatives=known_negatives(neg), status=status, pos_phase=pos_phase,
        preset=stored_preset(preset), cure=named_cure(cure), tag=tag, since=_moment(since) if since else None,
        include_superseded=all or status == "superseded", sort=sort, limit=limit + 1 if limit else None,
    )  # fmt: skip
    with open_to_read(db) as store:
        check_dataset(store, dataset)
        found = stored(store, filters)
        shown = found[:limit] if limit else found
        ids = short_ids(store, [r.id for r in shown])
    if json:
        print_json([run_json(r) | {"cached": True} for r in shown])
        return
    if not shown:
        message("no runs yet: `ff train` makes one" if filters == Filters(limit=limit + 1) else "no runs match")
        return
    out().print(run_table(shown, ids, width=out().width))
    if len(found) > len(shown):
        message(f"the first {len(shown)}; --limit 0 shows all")


def _moment(since: str) -> datetime:
    """A time as the user's clock has it. Raises BadOption."""
    from ffcli.errors import BadOption

    try:
        return datetime.fromisoformat(since).astimezone()
    except (ValueError, OverflowError) as error:
        raise BadOption(f"--since '{since}': give a day from 1970 on, or a time, such as 2025-01-31T12:00") from error


def run_table(shown: list[RunRecord], ids: dict[str, str], *, width: int) -> Table:
    """One line a run; a narrow terminal leaves out what can be seen with `ff show`, and cuts no number."""
    from ffcli.cli.layout import fitting_table
    from ffcli.config import DEFAULT_PRESET

    rows = [_cells(run, ids[run.id]) for run in shown]
    layouts = PLAIN if {row["preset"].plain for row in rows} == {DEFAULT_PRESET.label} else LAYOUTS
    wrapped = ("data", "what", "preset", "name, tags")
    return fitting_table(layouts, rows, width=width, right=("final", "best", "epochs"), wrapped=wrapped)


def _cells(run: RunRecord, id: str) -> dict[str, Text]:
    from rich.text import Text

    from ffcli.cli.words import STATUS_STYLES, duration, protocol_of
    from ffcli.config import DEFAULT_PRESET

    config = run.config
    preset = protocol_of(config)
    what = (config.data.label, config.negatives, str(config.schedule))
    values = {
        "run": id,
        **dict(zip(("data", "neg", "phases"), what, strict=True)),
        "what": " ".join(what) + ("" if preset == DEFAULT_PRESET.label else f", {preset}"),
        "final": _percent(run.final_accuracy),
        "best": _percent(run.best_accuracy),
        "epochs": f"{run.epochs_done}/{config.epochs}",
        "status": run.status,
        "preset": preset,
        "seed": str(config.seed),
        "time": duration(run.seconds),
        "started": f"{run.started.astimezone():%Y-%m-%d %H:%M}",
        "name, tags": " ".join([run.name or "", *(f"#{tag}" for tag in run.tags)]).strip(),
    }
    styles = {"status": STATUS_STYLES[run.status]}
    return {title: Text(value, style=styles.get(title, "")) for title, value in values.items()}


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"
