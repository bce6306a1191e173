"""`ff prune`: delete superseded runs and files that are no longer needed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption


def prune(
    keep_superseded: Annotated[
        bool, typer.Option("--keep-superseded", help="Delete files only, no superseded runs.")
    ] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Delete full states of finished runs, superseded runs, and files without a run."""
    from ffcli.cli.console import message, print_json
    from ffcli.store import maintenance
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.text import counted

    with open_store(existing(db)) as store:
        freed = maintenance.prune(store, superseded=not keep_superseded)
    if json:
        print_json(asdict(freed))
    else:
        message(
            f"freed {freed.bytes / 1e6:.1f} MB: {counted(freed.runs, 'superseded run')}, {counted(freed.files, 'file')}"
        )
