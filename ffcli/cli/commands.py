"""The commands of `ff` by name, each loaded when it is asked for: the options of all take as long to build as a short
command runs."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

COMMANDS = {
    "train": "ffcli.cli.train:train",
    "sweep": "ffcli.cli.sweep:sweep",
    "list-runs": "ffcli.cli.list_runs:list_runs",
    "show": "ffcli.cli.show:show",
    "report": "ffcli.cli.report:report",
    "compare": "ffcli.cli.compare:compare",
    "export": "ffcli.cli.export:export",
    "delete": "ffcli.cli.delete:delete",
    "prune": "ffcli.cli.prune:prune",
    "bench": "ffcli.cli.bench:bench",
    "plot": "ffcli.cli.plot:plot_app",
    "data": "ffcli.cli.data:data_app",
    "db": "ffcli.cli.db:db_app",
}
"""A function, or a Typer with commands of its own, in the order in which the help lists them."""


class Commands(TyperGroup):
    """Knows the names of all its commands, and loads one where Typer looks it up."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: dict[str, Any] = dict.fromkeys(COMMANDS)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _loaded(cmd_name)
        return self.commands.get(cmd_name)


def _loaded(name: str) -> Any:
    found = resolve_name(COMMANDS[name])
    if isinstance(found, typer.Typer):
        command: Any = get_group(found)
    else:
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
        alone.command(name)(found)
        command = get_command(alone)
    command.name = name
    return command
