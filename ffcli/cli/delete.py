"""`ff delete`: delete runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ffcli.choices import Status
from ffcli.cli.options import DatabaseOption, JsonOption, RunsArgument, TagFilter

if TYPE_CHECKING:
    from ffcli.store.database import Store

MAX_LISTED = 20
"""Runs that are listed before the question."""


def delete(
    run: RunsArgument = None,
    tag: TagFilter = None,
    status: Annotated[Status | None, typer.Option(help="Only runs with this status.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Delete runs with their epochs, weights and states: those that are named, or all with a tag or a status."""
    from ffcli.cli.console import message, print_json
    from ffcli.errors import BadOption
    from ffcli.store import runs
    from ffcli.store.database import open_store
    from ffcli.store.location import existing
    from ffcli.text import counted

    if bool(run) == bool(tag or status):
        raise BadOption(
            "give the runs to delete, or --tag or --status" if not run else "give runs or filters, not both"
        )
    with open_store(existing(db)) as store:
        if run:
            ids = list(dict.fromkeys(runs.whole_id(store, ref) for ref in run))
        else:
            ids = [found.id for found in runs.list_runs(store, runs.Filters(tag=tag, status=status))]
        shown = [described(store, id) for id in ids[:MAX_LISTED]]
        if not ids:
            message("no runs match: nothing was deleted")
        elif yes or _confirmed(shown, len(ids)):
            runs.delete(store, ids)
        else:
            message("nothing was deleted")
            raise typer.Exit(1)
    if json:
        print_json({"deleted": ids})
    elif ids:
        message(f"deleted {shown[0] if len(ids) == 1 else counted(len(ids), 'run')}")


def _confirmed(shown: list[str], number: int) -> bool:
    """Show the first of the runs and ask. Raises BadOption if stdin ends without an answer, as in a script."""
    from ffcli.cli.console import confirmed, message
    from ffcli.text import counted

    question = f"Delete {shown[0]}?"
    if number > 1:
        for line in shown:
            message(line)
        if number > len(shown):
            message(f"and {number - len(shown)} more")
        question = f"Delete these {counted(number, 'run')}?"
    return confirmed(question, "cannot ask for confirmation: stdin is at its end; --yes deletes without asking")


def described(store: Store, id: str) -> str:
    """Return a run's id, name and settings in words, also if it cannot be read."""
    from ffcli.cli.words import describe
    from ffcli.errors import DamagedRun
    from ffcli.records import ID_DIGITS
    from ffcli.store import runs

    try:
        found = runs.get(store, id)
    except DamagedRun as error:
        return f"run {error.run}, which is damaged"
    return f"run {id[:ID_DIGITS]} ({', '.join(filter(None, [found.name, describe(found.config)]))})"
