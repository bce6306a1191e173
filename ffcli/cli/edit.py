"""`ff edit`: change name, tags and note of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from ffcli.cli.options import DatabaseOption, JsonOption, RunArgument


def edit(
    run: RunArgument,
    name: Annotated[str | None, typer.Option(metavar="text", help="Name of the run.", show_default=False)] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="text", help="Tag, in place of the run's tags; may be repeated.", show_default=False),
    ] = None,
    note: Annotated[str | None, typer.Option(metavar="text", help="Note.", show_default=False)] = None,
    no_name: Annotated[bool, typer.Option("--no-name", help="Remove the name.")] = False,
    no_tags: Annotated[bool, typer.Option("--no-tags", help="Remove all tags.")] = False,
    no_note: Annotated[bool, typer.Option("--no-note", help="Remove the note.")] = False,
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

    for given, removed, option in ((name, no_name, "name"), (tag, no_tags, "tag"), (note, no_note, "note")):
        if given and removed:
            raise BadOption(f"--{option} and its removal contradict each other: leave out one of them")
    if not any((name, tag, note, no_name, no_tags, no_note)):
        raise BadOption("nothing to change: give --name, --tag or --note, or --no-name, --no-tags or --no-note")
    parse({label: value for label, value in (("name", name), ("tag", tag), ("note", note)) if value})
    with open_store(existing(db)) as store:
        edited = runs.edit(
            store,
            run,
            name="" if no_name else name,
            tags=[] if no_tags else tag or None,
            note="" if no_note else note,
        )
    if json:
        print_json(run_json(edited))
        return
    labels = [
        f"name {edited.name}" if edited.name else "no name",
        " ".join(f"#{text}" for text in edited.tags) or "no tags",
        f"note {edited.note}" if edited.note else "no note",
    ]
    message(f"run {edited.id[:ID_DIGITS]}: {', '.join(labels)}")
