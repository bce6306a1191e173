"""`ff delete`: delete a run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, RunArgument


def delete(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Delete a run with its epochs, weights and state."""
    from ffcli.cli.console import message, print_json
    from ffcli.cli.words import describe
    from ffcli.errors import BadOption, DamagedRun
    from ffcli.records import ID_DIGITS
    from ffcli.store import runs
    from ffcli.store.database import open_store
    from ffcli.store.location import existing

    with open_store(existing(db)) as store:
        id = runs.whole_id(store, run)
        try:
            description = f"run {id[:ID_DIGITS]} ({describe(runs.get(store, id).config)})"
        except DamagedRun as error:
            description = f"run {error.run}, which is damaged"
        if not yes and (confirmed := _confirmed(f"Delete {description}?")) is not True:
            if confirmed is None:
                raise BadOption("cannot ask for confirmation: stdin is at its end; --yes deletes without asking")
            message("nothing was deleted")
            raise typer.Exit(1)
        runs.delete(store, id)
    if json:
        print_json({"deleted": id})
    else:
        message(f"deleted {description}")


def _confirmed(question: str) -> bool | None:
    """Return the answer, or None if stdin ends without one, as in a script."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo(err=True)
        return None
