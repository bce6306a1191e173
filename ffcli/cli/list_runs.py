"""`ff list-runs`: the runs, newest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ffcli.choices import Status
from ffcli.cli.options import (
    CureFilter,
    DatabaseOption,
    DatasetFilter,
    JsonOption,
    NegativesFilter,
    PresetFilter,
    TagFilter,
)

if TYPE_CHECKING:
    from ffcli.records import RunRecord
    from ffcli.report.sheet import Item

Sort = Literal["started", "oldest", "best", "final", "epochs", "seconds", "dataset"]

MIDDLE = ("run", "data", "neg", "phases", "final", "best", "epochs", "status")
WIDE = (*MIDDLE, "preset", "seed", "time", "started", "name")
NARROW = ("run", "what", "final", "status")
LAYOUTS: tuple[tuple[str, ...], ...] = (
    WIDE,
    (*MIDDLE, "preset", "seed", "name"),
    ("run", "data", "neg", "phases", "final", "epochs", "status", "preset", "seed", "name"),
    ("run", "data", "neg", "phases", "final", "status", "preset", "seed", "name"),
    ("run", "data", "neg", "phases", "final", "status", "preset", "name"),
    ("run", "what", "final", "best", "epochs", "status", "seed", "name"),
    ("run", "what", "final", "best", "epochs", "status"),
    NARROW,
)
"""Columns, from the widest terminal to the narrowest. No number is cut; `ff show` has what is left out."""
DEFAULT_LAYOUTS: tuple[tuple[str, ...], ...] = (
    WIDE,
    (*MIDDLE, "seed", "name"),
    MIDDLE,
    ("run", "data", "neg", "phases", "final", "status"),
    NARROW,
)
"""The same where every run has the default preset, which is not named."""
LEAST = {"data": 14, "what": 12, "preset": 24, "name": 9}
"""Characters that each text needs: `mnist (sample)`, `fast@1 with hidden 40,40`."""


def list_runs(
    dataset: DatasetFilter = None,
    neg: NegativesFilter = None,
    status: Annotated[Status | None, typer.Option(help="Filter by status.")] = None,
    pos_phase: Annotated[int | None, typer.Option(help="Only this positive phase; 0 for unseparated.", min=0)] = None,
    preset: PresetFilter = None,
    cure: CureFilter = None,
    tag: TagFilter = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only runs started since, such as 2025-01-31 or 2025-01-31T12:00."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Maximum number of runs; 0 for all.", min=0, max=10**9)] = 50,
    sort: Annotated[Sort, typer.Option(help="Order of the runs.")] = "started",
    all: Annotated[bool, typer.Option("--all", help="Include superseded runs.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    from ffcli.cli.console import message, naming_unreadable_runs, print_document, print_json
    from ffcli.config import DEFAULT_PRESET
    from ffcli.filters import check_dataset, known_negatives, known_preset, moment, named_cure
    from ffcli.records import run_json
    from ffcli.report.selectors import parse_selector, select
    from ffcli.report.sheet import Document, make_list
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, short_ids
    from ffcli.store.runs import list_runs as stored

    filters = Filters(
        dataset=dataset, negatives=known_negatives(neg), status=status, pos_phase=pos_phase,
        preset=known_preset(preset), cure=named_cure(cure), tag=tag, since=moment(since) if since else None,
        include_superseded=all or status == "superseded", sort=sort, limit=limit + 1 if limit else None,
    )  # fmt: skip
    with naming_unreadable_runs() as skipped, open_to_read(db) as store:
        check_dataset(store, dataset)
        found = stored(store, filters, skipped)
        if tag is not None and not found:
            select(stored(store, Filters(include_superseded=True), skipped), parse_selector(f"tag={tag}"))
        shown = found[:limit] if limit else found
        ids = short_ids(store, [r.id for r in shown])
    if json:
        print_json([run_json(r) | {"cached": True} for r in shown])
        return
    if not shown:
        message("no runs yet: `ff train` makes one" if filters == Filters(limit=limit + 1) else "no runs match")
        return
    lines = list(_lines(shown, ids))
    layouts = DEFAULT_LAYOUTS if {line["preset"] for line in lines} == {DEFAULT_PRESET.label} else LAYOUTS
    if not any(line["name"] for line in lines):
        layouts = tuple(tuple(title for title in layout if title != "name") for layout in layouts)
    runs = make_list(layouts, {"": lines}, right=("final", "best", "epochs"), least=LEAST)
    print_document(Document((runs,)))
    if len(found) > len(shown):
        message(f"the first {len(shown)}; --limit 0 shows all")


def _lines(shown: Sequence[RunRecord], ids: Mapping[str, str]) -> Iterator[dict[str, str | Item]]:
    """The line of each run, by column."""
    from ffcli.cli.words import duration, protocol_of
    from ffcli.config import DEFAULT_PRESET
    from ffcli.report.sheet import Item
    from ffcli.text import local_time

    for run in shown:
        config = run.config
        preset = protocol_of(config)
        what = (config.data.label, config.negatives, str(config.schedule))
        yield {
            "run": ids[run.id],
            **dict(zip(("data", "neg", "phases"), what, strict=True)),
            "what": " ".join(what) + ("" if preset == DEFAULT_PRESET.label else f", {preset}"),
            "final": _percent(run.final_accuracy),
            "best": _percent(run.best_accuracy),
            "epochs": f"{run.epochs_done}/{config.epochs}",
            "status": Item(run.status, run.status),
            "preset": preset,
            "seed": str(config.seed),
            "time": duration(run.seconds),
            "started": local_time(run.started),
            "name": " ".join([run.name or "", *(f"#{tag}" for tag in run.tags)]).strip(),
        }


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f}"
