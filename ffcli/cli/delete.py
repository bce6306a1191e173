"""`ff delete RUN`: forget a run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption


def delete(
    run: Annotated[str, typer.Argument(help="The run's id, or its first digits.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Delete a run with its epochs and its weights."""
    from ffcli.cli.console import message, print_json
    from ffcli.cli.words import describe
    from ffcli.errors import DamagedRun
    from ffcli.records import ID_DIGITS
    from ffcli.store import runs
    from ffcli.store.database import open_store
    from ffcli.store.location import existing

    with open_store(existing(db)) as store:
        id = runs.whole_id(store, run)
        try:
            named = f"run {id[:ID_DIGITS]} ({describe(runs.get(store, id).config)})"
        except DamagedRun:
            named = f"run {id[:ID_DIGITS]}, which is damaged"
        if not yes and not _confirmed(f"Delete {named}?"):
            message("nothing is deleted")
            raise typer.Exit(1)
        runs.delete(store, id)
    if json:
        print_json({"deleted": id})
    else:
        message(f"deleted {named}")


def _confirmed(question: str) -> bool:
    """Raises BadOption where stdin ends without an answer, as in a script."""
    from ffcli.errors import BadOption

    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo(err=True)
        raise BadOption("nobody is there to answer: --yes deletes without asking") from None
