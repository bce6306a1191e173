"""`ff edit`: change name, tags and note of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, RunArgument


def edit(
    run: RunArgument,
    name: Annotated[
        str | None, typer.Option(metavar="text", help="Name of the run; an empty text removes it.", show_default=False)
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="text",
            help="Tag, in place of all tags of the run; may be repeated; an empty text removes the tags.",
            show_default=False,
        ),
    ] = None,
    note: Annotated[
        str | None, typer.Option(metavar="text", help="Note; an empty text removes it.", show_default=False)
    ] = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Change the name, the tags or the note of a run."""
    from ffcli.cli.console import message, print_json
    from ffcli.errors import BadOption
    from ffcli.records import ID_DIGITS, run_json
    from ffcli.settings import parse
    from ffcli.store import runs
    from ffcli.store.database import open_store
    from ffcli.store.location import existing

    tags = None if tag is None else [text for text in tag if text]
    given = {"name": name, "tag": tags, "note": note}
    if all(value is None for value in given.values()):
        raise BadOption("nothing to change: give --name, --tag or --note")
    parse({label: value for label, value in given.items() if value})
    with open_store(existing(db)) as store:
        edited = runs.edit(store, run, name=name, tags=tags, note=note)
    if json:
        print_json(run_json(edited))
        return
    labels = [
        f"name {edited.name}" if edited.name else "no name",
        " ".join(f"#{text}" for text in edited.tags) or "no tags",
        f"note {edited.note}" if edited.note else "no note",
    ]
    message(f"run {edited.id[:ID_DIGITS]}: {', '.join(labels)}")
