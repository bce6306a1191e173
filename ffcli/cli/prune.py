"""`ff prune`: delete superseded runs and files that are no longer needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption

if TYPE_CHECKING:
    from ffcli.store.database import Store


def prune(
    keep_superseded: Annotated[
        bool, typer.Option("--keep-superseded", help="Delete files only, no superseded runs.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, without deleting it.")
    ] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Delete full states of completed runs, superseded runs, and files without a run.

    A run whose state is deleted keeps its results and weights; more epochs of it start again from the beginning.
    """
    from ffcli.cli.console import line, message, print_json
    from ffcli.store import maintenance
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.text import counted

    with open_store(existing(db), create=not dry_run) as store:
        freed = maintenance.prune(store, superseded=not keep_superseded, dry_run=dry_run)
        if json:
            print_json(asdict(freed) | {"dry_run": dry_run})
            return
        if dry_run:
            for id, size in freed.by_run.items():
                line(f"{size / 1e6:8.1f} MB  {_owner(store, id)}")
    message(
        f"{'would free' if dry_run else 'freed'} {freed.bytes / 1e6:.1f} MB:"
        f" {counted(freed.runs, 'superseded run')}, {counted(freed.files, 'file')}"
    )


def _owner(store: Store, id: str) -> str:
    from ffcli.cli.delete import described
    from ffcli.errors import NoSuchRun

    try:
        return described(store, id)
    except NoSuchRun:
        return f"run {id}, which is not in the database"
