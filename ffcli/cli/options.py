"""Command-line options that several commands share, and the options derived from the settings of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer


def _complete_datasets(incomplete: str) -> list[str]:
    from ffcli import settings

    return [name for name in settings.choices("dataset") if name.startswith(incomplete)]


def _complete_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The ids of stored runs, each with a description."""
    from ffcli.cli.words import describe
    from ffcli.errors import FFError
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, list_runs, short_ids

    try:
        with open_to_read(ctx.params.get("db")) as store:
            found = list_runs(store, Filters(limit=100))
            ids = short_ids(store, [run.id for run in found])
    except FFError:
        return []
    return [(ids[run.id], describe(run.config)) for run in found if run.id.startswith(incomplete)]


def _complete_tags(ctx: typer.Context, incomplete: str) -> list[str]:
    """The tags of stored runs."""
    from ffcli.errors import FFError
    from ffcli.store.database import open_to_read
    from ffcli.store.runs import Filters, list_runs

    try:
        with open_to_read(ctx.params.get("db")) as store:
            found = {tag for run in list_runs(store, Filters(limit=1000)) for tag in run.tags}
    except FFError:
        return []
    return sorted(tag for tag in found if tag.startswith(incomplete))


def _complete_setting(name: str) -> Callable[[str], list[str]]:
    """Complete the last value of a comma-separated list from the choices of a setting."""

    def complete(incomplete: str) -> list[str]:
        from ffcli import settings

        before, comma, last = incomplete.rpartition(",")
        return [before + comma + value for value in settings.choices(name) if value.startswith(last)]

    return complete


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
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run, or its first digits.", autocompletion=_complete_runs)
]
DatasetFilter = Annotated[
    str | None, typer.Option("--dataset", help="Only this dataset.", autocompletion=_complete_datasets)
]
NegativesFilter = Annotated[
    str | None, typer.Option("--neg", help="Only these negatives.", autocompletion=_complete_setting("neg"))
]
PresetFilter = Annotated[
    str | None,
    typer.Option("--preset", help="Only this preset, or custom.", autocompletion=_complete_setting("preset")),
]
CureFilter = Annotated[
    str | None, typer.Option("--cure", help="Only this cure, or none.", autocompletion=_complete_setting("cure"))
]
TagFilter = Annotated[str | None, typer.Option("--tag", help="Only runs with this tag.", autocompletion=_complete_tags)]


def settings_from(command: Callable[..., None], *, sweep: bool = False) -> Callable[..., None]:
    """Return a command whose parameter `given` is replaced by one option for each setting.

    The command receives in `given` the settings that were given, by name: text, or True for a flag.

    Args:
        command: a function with a parameter `given: dict[str, Any]`.
        sweep: whether the options take comma-separated lists.
    """
    from ffcli import settings

    signature = inspect.signature(command, eval_str=True)
    names = [name for name in settings.names() if not sweep or settings.setting(name).in_sweep != "no"]
    own = [parameter for name, parameter in signature.parameters.items() if name != "given"]
    options = [_parameter(name, sweep=sweep) for name in names]

    def derived(**values: Any) -> None:
        given = {name: value for name in names if (value := values.pop(name)) not in (None, False, [])}
        if "tag" in given:
            given["tag"] = tuple(given["tag"])
        command(given=given, **values)

    derived.__doc__ = command.__doc__
    derived.__name__ = command.__name__
    derived.__signature__ = signature.replace(parameters=_in_order(options, own))  # type: ignore[attr-defined]
    derived.__annotations__ = {parameter.name: parameter.annotation for parameter in [*options, *own]}
    return derived


def _in_order(options: list[inspect.Parameter], own: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """The settings first: their panels come first in the help."""
    return [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in [*options, *own]]


def _parameter(name: str, *, sweep: bool) -> inspect.Parameter:
    from ffcli import settings

    found = settings.setting(name)
    takes_list = sweep and found.in_sweep == "list"
    flag = settings.is_flag(name)
    option = typer.Option(
        "--seeds" if sweep and name == "seed" else settings.option(name),
        help=_help(name, sweep=sweep),
        metavar="" if flag else _metavar(name, sweep=sweep),
        envvar=None if takes_list else found.env,
        show_default=False,
        rich_help_panel=found.panel,
        autocompletion=_complete_setting(name) if settings.choices(name) else None,
    )
    kind: Any = bool if flag else (list[str] | None if name == "tag" else str | None)
    default = False if flag else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _help(name: str, *, sweep: bool) -> str:
    from ffcli import settings

    text = "Seeds, such as 0-4 or 0,2,5." if sweep and name == "seed" else settings.setting(name).help
    default = settings.shown_default(name)
    return f"{text} [dim]\\[default: {default}][/]" if default else text


def _metavar(name: str, *, sweep: bool) -> str:
    from ffcli import settings

    return "ranges" if sweep and name == "seed" else settings.kind(name)
