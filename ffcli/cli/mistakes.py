"""Messages for wrong command lines. Each says what is wrong and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from ffcli.errors import BadOption
from ffcli.text import shown, unknown

SIMILARITY = 0.6
"""How similar a known name must be to a mistyped one to be suggested, from 0 to 1."""


def unknown_command(name: str, known: Sequence[str]) -> BadOption:
    """Return the error for a command that does not exist."""
    return BadOption(unknown("command", name, known))


def unexpected_arguments(ctx: Any) -> BadOption:
    """Return the error for arguments that a command does not take: known values belong to an option.

    Args:
        ctx: the context of the command, whose `args` are the arguments that are left.
    """
    word = ctx.args[0]
    options = [f"{option} {value}" for option, value in _options_with_value(ctx.command, word)]
    if not options and (near := _nearest_value(ctx.command, word)):
        options = [f"{near[0]} {near[1]}"]
    if options:
        advice = f"did you mean {' or '.join(options[:2])}?"
    else:
        places = _arguments(ctx.command)
        takes = f"{' '.join(places)} and options" if places else "only options"
        advice = f"`{ctx.command_path}` takes {takes}; `{ctx.command_path} --help` lists them"
    return BadOption(f"unexpected argument {shown(word)}: {advice}")


def usage_error(error: Any, arguments: Sequence[str]) -> str | None:
    """Return our message for an error that Typer found in the command line; None for others.

    Args:
        error: an exception of Typer.
        arguments: the command line.
    """
    ctx, option = getattr(error, "ctx", None), getattr(error, "option_name", None)
    if option is not None and not hasattr(error, "possibilities"):
        has_value = any(argument.startswith(f"{option}=") for argument in arguments)
        return f"{option} takes no value: give {option} alone" if has_value else f"{option} needs a value"
    if ctx is None:
        return None
    if option is not None:
        return _unknown_option(ctx, option, arguments)
    parameter = getattr(error, "param", None)
    if parameter is not None and hasattr(error, "param_type") and parameter.param_type_name == "argument":
        call = " ".join([ctx.command_path, *_arguments(ctx.command)])
        help = (parameter.help or "").rstrip(".")
        return f"{_name(parameter)} is missing: give `{call}`" + (f"; {_name(parameter)}: {help}" if help else "")
    return None


def _unknown_option(ctx: Any, option: str, arguments: Sequence[str]) -> str:
    """The message for an unknown option; `-epochs`, which is read as `-e`, is meant as `--epochs`."""
    given = option
    if not option.startswith("--"):
        given = next((a.partition("=")[0] for a in arguments if a.startswith(option)), option)
    known = [name for parameter in ctx.command.params for name in parameter.opts if name.startswith("--")]
    near = difflib.get_close_matches(f"--{given.lstrip('-')}", [*known, "--help"], n=1, cutoff=SIMILARITY)
    advice = f"did you mean {near[0]}? " if near else ""
    return f"unknown option {shown(given)[1:-1]}: {advice}`{ctx.command_path} --help` lists all options"


def _options_with_value(command: Any, word: str) -> Iterator[tuple[str, str]]:
    """The options for which `word` is a value that they can be chosen from, or a file."""
    if word.endswith(".npz"):
        yield from (("--dataset", word) for p in command.params if p.name == "dataset")
    if word.endswith(".toml"):
        yield from ((p.opts[0], word) for p in command.params if p.name in ("config", "grid"))
    for parameter in command.params:
        if word in _choices(parameter):
            yield parameter.opts[0], word


def _nearest_value(command: Any, word: str) -> tuple[str, str] | None:
    """The option and the value that it can be chosen from that is most like `word`."""
    values = {value: parameter.opts[0] for parameter in reversed(command.params) for value in _choices(parameter)}
    near = difflib.get_close_matches(word, values, n=1, cutoff=SIMILARITY)
    return (values[near[0]], near[0]) if near else None


def _choices(parameter: Any) -> list[str]:
    """The values of an option that has a fixed set of them."""
    from ffcli import settings

    if parameter.param_type_name != "option" or not parameter.metavar:
        return []
    if "|" in parameter.metavar:
        return [value for value in parameter.metavar.split("|") if value != "number"]
    known = parameter.name in settings.names()
    return settings.choices(parameter.name) if known else []


def _arguments(command: Any) -> list[str]:
    """The names of a command's arguments."""
    return [_name(p) for p in command.params if p.param_type_name == "argument" and p.required]


def _name(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())
