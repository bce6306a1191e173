"""The options of `ff train` and `ff sweep`, derived from the settings of a run."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ffcli import settings
from ffcli.cli.options import complete_setting, complete_tags


def settings_from(command: Callable[..., None], *, sweep: bool = False) -> Callable[..., None]:
    """Return a command whose parameter `given` is replaced by one option for each setting.

    The command receives in `given` the settings that were given, by name: text, or True for a flag.

    Args:
        command: a function with a parameter `given: dict[str, Any]`.
        sweep: whether the options take comma-separated lists.
    """
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
        autocompletion=complete_tags if name == "tag" else complete_setting(name) if settings.choices(name) else None,
    )
    kind: Any = bool if flag else (list[str] | None if name == "tag" else str | None)
    default = False if flag else None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _help(name: str, *, sweep: bool) -> str:
    text = "Seeds, such as 0-4 or 0,2,5." if sweep and name == "seed" else settings.setting(name).help
    default = settings.shown_default(name)
    return f"{text} [dim]\\[default: {default}][/]" if default else text


def _metavar(name: str, *, sweep: bool) -> str:
    return "ranges" if sweep and name == "seed" else settings.kind(name)
