"""Write docs/commands.md from the definitions of the commands and settings: `python tools/write_commands.py`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ffcli import settings
from ffcli.cli.commands import COMMANDS, load

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"

HEAD = """# Commands

This page is generated from the definitions in the program by `nox -s docs`. `ff COMMAND --help` shows the same.

Options override environment variables, which override files (`--config`, `--grid`), which override defaults. Results go
to stdout, messages and progress to stderr. `--json` prints JSON for every command that shows data.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the requested work failed: a run diverged, a check found a problem, the database is locked, the disk is full |
| 2 | wrong usage or bad input; nothing was changed |
| 130 | interrupted by Ctrl-C or SIGTERM; the run is saved and the same command continues it |
| 141 | the program that read stdout, such as `head`, has ended |
"""


def commands_page() -> str:
    """Return the content of docs/commands.md."""
    return HEAD + "".join(f"\n{section}" for name in COMMANDS for section in _sections(name))


def _sections(name: str) -> Iterator[str]:
    command = load(name)
    subcommands = getattr(command, "commands", {})
    yield _section(f"ff {name}", command)
    for subname, subcommand in subcommands.items():
        yield _section(f"ff {name} {subname}", subcommand, level=3)


def _section(title: str, command: Any, level: int = 2) -> str:
    lines = [f"{'#' * level} `{title}`", "", _plain(inspect.cleandoc(command.help or "")), ""]
    parameters = [p for p in command.params if "--help" not in p.opts]
    for panel in dict.fromkeys(getattr(p, "rich_help_panel", None) for p in parameters):
        if panel:
            lines += [f"**{panel}**", ""]
        lines += ["| option | value | meaning |", "|---|---|---|"]
        lines += [_row(p) for p in parameters if getattr(p, "rich_help_panel", None) == panel]
        lines += [""]
    return "\n".join(lines)


def _row(parameter: Any) -> str:
    is_option = parameter.opts[0].startswith("-")
    name = ", ".join(f"`{opt}`" for opt in parameter.opts) if is_option else f"`{parameter.metavar or parameter.name}`"
    value = (parameter.metavar or "").replace("|", ", ") if is_option else ""
    meaning = _plain(parameter.help or "")
    if parameter.name in settings.names() and parameter.rich_help_panel == settings.setting(parameter.name).panel:
        choices = settings.choice_help(parameter.name).items()
        meaning += "".join(f" `{name}`: {_lowered(help)}." for name, help in choices)
    if parameter.envvar:
        meaning += f" Environment variable: `{parameter.envvar}`."
    return f"| {name} | {value} | {meaning} |"


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")


def _plain(text: str) -> str:
    """Help text without rich's markup."""
    return re.sub(r"\[/?(?:bold|dim)?\]", "", text).replace("\\[", "[").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(commands_page(), encoding="utf-8")
