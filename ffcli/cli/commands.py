"""The commands of `ff`. Each is loaded when it is used: building all options takes as long as a short command."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

OTHER = "Other options"
"""Panel of the options that belong to no other panel; an unnamed panel would come first in the help."""

COMMANDS = {
    "train": "ffcli.cli.train:train",
    "sweep": "ffcli.cli.sweep:sweep",
    "worker": "ffcli.cli.worker:worker",
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
    "doctor": "ffcli.cli.doctor:doctor",
}
"""A function, or a Typer app with commands of its own, in the order of the help."""

ALIASES = {"ls": "list-runs"}
"""Other names of commands, which the help does not list."""


class Group(TyperGroup):
    """A group that suggests the most similar command for an unknown one."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            from ffcli.cli.mistakes import unknown_command

            raise unknown_command(name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


class Commands(Group):
    """A group that lists all commands by their docstrings and builds a command's options only to run it."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        cmd_name = ALIASES.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS:
            return None
        found = resolve_name(COMMANDS[cmd_name])
        if isinstance(found, typer.Typer):
            return load(cmd_name)
        return TyperCommand(cmd_name, help=inspect.getdoc(found))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])
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
        leaves = list(command.commands.values())
    else:
        if "given" in inspect.signature(found).parameters:
            from ffcli.cli.setting_options import settings_from

            found = settings_from(found, sweep=name == "sweep")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        app.command(name, cls=Command)(found)
        command = get_command(app)
        leaves = [command]
        if aliases := [alias for alias, of in ALIASES.items() if of == name]:
            command.help = f"{command.help} Alias: {', '.join(aliases)}."
    command.name = name
    for each in leaves:
        _name_types(each)
        # Click would refuse them in its own words.
        each.context_settings = {**each.context_settings, "allow_extra_args": True}
        each.invoke = partial(_invoke, each.invoke)
    for each in {id(each): each for each in [command, *leaves]}.values():
        each.get_help_option = partial(_help_without_type, each.get_help_option)
        panels = {parameter.rich_help_panel for parameter in each.params if hasattr(parameter, "rich_help_panel")}
        for parameter in each.params:
            if getattr(parameter, "is_flag", False):
                _without_type(parameter)
            if len(panels) > 1 and not parameter.rich_help_panel:
                parameter.rich_help_panel = OTHER
    return command


def _invoke(invoke: Callable[[Any], Any], ctx: Any) -> Any:
    """Run a command unless arguments are left that it does not take."""
    if ctx.args:
        from ffcli.cli.mistakes import unexpected_arguments

        raise unexpected_arguments(ctx)
    return invoke(ctx)


def _name_types(command: Any) -> None:
    """Show what a value is in plain words: `text` instead of `<str>`. The name of an argument is enough."""
    signature = inspect.signature(command.callback, eval_str=True)
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = _no_type
            if parameter.nargs == 1:
                parameter.metavar = parameter.metavar or parameter.name.upper()
        elif parameter.metavar is None and parameter.name in signature.parameters:
            parameter.metavar = _type_words(signature.parameters[parameter.name].annotation)


def _no_type(ctx: Any) -> str:
    return ""


def _type_words(annotation: Any) -> str:
    """`integer`, `number`, `text`, `path`, or the choices; empty for a flag."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "|".join(map(str, parts))
    if origin in (Annotated, list):
        return _type_words(parts[0])
    if origin in (Union, types.UnionType):
        return "|".join(filter(None, (_type_words(part) for part in parts if part is not types.NoneType)))
    words: dict[Any, str] = {int: "integer", float: "number", str: "text", Path: "path"}
    return words.get(annotation, "")


def _help_without_type(get_help_option: Callable[[Any], Any], ctx: Any) -> Any:
    return _without_type(get_help_option(ctx))


def _without_type(option: Any) -> Any:
    """A flag whose help does not show `<bool>` or `BOOLEAN`."""
    if option is not None:
        option.metavar = ""
    return option
