"""The commands of `ff`. Each is loaded when it is used: building all options takes as long as a short command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

OTHER = "Other options"
"""Panel of the options that belong to no other panel; an unnamed panel would come first in the help."""

COMMANDS = {
    "train": "ffcli.cli.train:train",
    "sweep": "ffcli.cli.sweep:sweep",
    "list-runs": "ffcli.cli.list_runs:list_runs",
    "show": "ffcli.cli.show:show",
    "report": "ffcli.cli.report:report",
    "serve": "ffcli.cli.serve:serve",
    "compare": "ffcli.cli.compare:compare",
    "export": "ffcli.cli.export:export",
    "predict": "ffcli.cli.predict:predict",
    "evaluate": "ffcli.cli.evaluate:evaluate",
    "weights": "ffcli.cli.weights:weights",
    "edit": "ffcli.cli.edit:edit",
    "delete": "ffcli.cli.delete:delete",
    "prune": "ffcli.cli.prune:prune",
    "bench": "ffcli.cli.bench:bench",
    "plot": "ffcli.cli.plot:plot_app",
    "data": "ffcli.cli.data:data_app",
    "db": "ffcli.cli.db:db_app",
}
"""A function, or a Typer app with commands of its own, in the order of the help."""


class Commands(TyperGroup):
    """A group that lists all commands by their docstrings and builds a command's options only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        found = resolve_name(COMMANDS[cmd_name])
        if isinstance(found, typer.Typer):
            return load(cmd_name)
        return TyperCommand(cmd_name, help=inspect.getdoc(found))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest

    def get_params(self, ctx: Any) -> Any:
        return [_without_type(p) if getattr(p, "is_flag", False) else p for p in super().get_params(ctx)]


class Command(TyperCommand):
    """A command whose help shows no type beside `--help`, and `--help` in the last panel."""

    def get_help_option(self, ctx: Any) -> Any:
        option = _without_type(super().get_help_option(ctx))
        if option is not None and any(getattr(p, "rich_help_panel", None) for p in self.params):
            option.rich_help_panel = OTHER
        return option


def load(name: str) -> Any:
    """Return a command with all its options, or a group of commands."""
    found = resolve_name(COMMANDS[name])
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        if "given" in inspect.signature(found).parameters:
            from ffcli.cli.setting_options import settings_from

            found = settings_from(found, sweep=name == "sweep")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        app.command(name, cls=Command)(found)
        command = get_command(app)
    command.name = name
    for each in [command, *getattr(command, "commands", {}).values()]:
        each.get_help_option = partial(_help_without_type, each.get_help_option)
        panels = {parameter.rich_help_panel for parameter in each.params if hasattr(parameter, "rich_help_panel")}
        for parameter in each.params:
            if getattr(parameter, "is_flag", False):
                _without_type(parameter)
            if len(panels) > 1 and not parameter.rich_help_panel:
                parameter.rich_help_panel = OTHER
    return command


def _help_without_type(get_help_option: Callable[[Any], Any], ctx: Any) -> Any:
    return _without_type(get_help_option(ctx))


def _without_type(option: Any) -> Any:
    """A flag whose help does not show `<bool>` or `BOOLEAN`."""
    if option is not None:
        option.metavar = ""
    return option
