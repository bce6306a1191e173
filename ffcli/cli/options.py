"""Command-line options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _complete_datasets(incomplete: str) -> list[str]:
    from ffcli import settings

    return [name for name in settings.choices("dataset") if name.startswith(incomplete)]


def complete_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The ids of stored runs, each with a description."""
    from ffcli.cli.words import describe
    from ffcli.errors import FFError
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, list_runs, short_ids

    try:
        with open_to_read(ctx.params.get("db")) as store:
            found = list_runs(store, Filters(limit=100), lambda _: None)
            ids = short_ids(store, [run.id for run in found])
    except FFError:
        return []
    named = [(name, describe(run.config)) for run in found if (name := run.name) and name.startswith(incomplete)]
    return named + [(ids[run.id], describe(run.config)) for run in found if run.id.startswith(incomplete)]


def complete_tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tags of stored runs."""
    from ffcli.errors import FFError
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, list_runs
    from ffcli.text import printable

    try:
        with open_to_read(ctx.params.get("db")) as store:
            found = {tag for run in list_runs(store, Filters(limit=1000), lambda _: None) for tag in run.tags}
    except FFError:
        return []
    return sorted(tag for tag in found if tag.startswith(incomplete) and tag == printable(tag))


def complete_setting(name: str) -> Callable[[str], list[str]]:
    """Complete the last value of a comma-separated list from the choices of a setting."""

    def complete(incomplete: str) -> list[str]:
        from ffcli import settings

        before, comma, last = incomplete.rpartition(",")
        return [before + comma + value for value in settings.choices(name) if value.startswith(last)]

    return complete


def complete_conditions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the last of several conditions NAME=VALUE: all values of settings with choices, and the stored tags."""
    from ffcli import settings

    before, comma, last = incomplete.rpartition(",")
    names = settings.selectable()
    known = [f"{name}={value}" for name in names for value in settings.choices(name)]
    free = [f"{name}=" for name in names if not settings.choices(name)]
    tags = [f"tag={tag}" for tag in complete_tags(ctx, last[len("tag=") :])] if last.startswith("tag=") else ["tag="]
    return [before + comma + each for each in (*known, *free, *tags) if each.startswith(last)]


DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db", envvar="FFCLI_DB", help="Database: a path or sqlite:///PATH.", metavar="path", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
DataFolderOption = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="FFCLI_DATA_DIR", help="Folder of datasets.", metavar="path", show_default=False),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
RUN_HELP = "Id of a run or its first digits, its name, or last."
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=complete_runs)]
RunsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[RUN]...", help=RUN_HELP, autocompletion=complete_runs)
]
DatasetFilter = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset.", autocompletion=_complete_datasets)
]
NegativesFilter = Annotated[
    str | None, typer.Option("--neg", help="Only these negatives.", autocompletion=complete_setting("neg"))
]
PresetFilter = Annotated[
    str | None,
    typer.Option("--preset", help="Only this preset, or custom.", autocompletion=complete_setting("preset")),
]
CureFilter = Annotated[
    str | None, typer.Option("--cure", help="Only this cure, or none.", autocompletion=complete_setting("cure"))
]
TagFilter = Annotated[str | None, typer.Option("--tag", help="Only runs with this tag.", autocompletion=complete_tags)]
