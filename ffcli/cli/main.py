"""The program `ff`: its commands, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Annotated, Any, NoReturn

import typer

from ffcli.cli.commands import Commands
from ffcli.cli.console import accept_all_characters, discard, message
from ffcli.errors import BadInput, BadOption, FFError, Interrupted
from ffcli.store.waiting import on_wait

CLOSED_PIPE = 141
"""Exit code if the reader of stdout has gone, as in `ff export | head`: that of programs that SIGPIPE ends."""

app = typer.Typer(
    name="ff",
    cls=Commands,
    help="Train Forward-Forward networks whose positive and negative phases are separated in time, store every run, and"
    " show the tables of 'Sleep Deprivation in the Forward-Forward Algorithm' with measured and published accuracies.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from ffcli import __version__

        typer.echo(f"ff {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    pass


def run() -> NoReturn:
    """Run the program `ff` and exit without interpreter teardown.

    Everything that was opened has been closed by then. Taking the interpreter apart object by object would cost a
    quarter of the time of a short command (measured: `ff list-runs` 0.39 s of CPU time instead of 0.51 s).
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # the stream was closed before the start
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    accept_all_characters()
    try:
        main()
    except SystemExit as end:
        code = end.code
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0)


def main() -> NoReturn:
    """Run the command line and exit with the code that `ffcli.errors` defines."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, _raise_interrupt)
    on_wait.set(cache(message))
    # Almost all objects of a command live to its end, so frequent garbage collection is wasted: 7 to 13 % of the CPU
    # time of `ff list-runs` and `ff report`.
    gc.set_threshold(100_000, 50, 100)
    if os.environ.get("NO_COLOR"):
        _disable_help_styles()
    try:
        _check_texts(arguments)
        code = app(arguments, prog_name="ff", standalone_mode=False)
        if code == Interrupted.exit_code:  # Typer catches KeyboardInterrupt and says nothing
            _print_error("interrupted", code)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
        code = CLOSED_PIPE
    except SystemExit as end:  # Typer ends the program with 1 if the reader of stdout has gone
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = CLOSED_PIPE
    except (KeyboardInterrupt, typer.Abort):
        code = _print_error("interrupted", Interrupted.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        code = _exit_code(error, arguments)
    sys.exit(code)


def _check_texts(arguments: Sequence[str]) -> None:
    """Check the texts that every command receives.

    Raises:
        BadOption: if an argument is empty, or an argument or an environment variable of ours is not UTF-8 text. An
            empty variable is as good as none.
    """
    given, before = [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--") and equals:
            given.append((name, value))
        else:
            given.append((before if before.startswith("-") else "the argument", argument))
        before = argument
    for name, value in given:
        if not value:
            raise BadOption(f"{name} '' is empty: give a value, or leave it out")
    for name, value in [*given, *_variables()]:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadOption(f"{name} {os.fsencode(value)!r} is not UTF-8 text") from error


def _variables() -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in os.environ.items() if name.startswith("FFCLI_") and value)


def _exit_code(error: Exception, arguments: Sequence[str]) -> int:
    """Print an error as one line and return its exit code."""
    if isinstance(error, BadInput):
        return _print_error(_with_variables(str(error), arguments), error.exit_code)
    if isinstance(error, FFError):
        return _print_error(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # a usage error of Click, which some versions of Typer contain
        return _print_error(_with_variables(_usage(error, arguments), arguments), 2)
    if isinstance(error, OSError):
        discard(sys.stdout)
        return _print_error(_os_error(error), 1)
    if isinstance(error, MemoryError):
        return _print_error("not enough memory", 1)
    return _print_error(f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)", 1)


def _with_variables(text: str, arguments: Sequence[str]) -> str:
    """Add to an error the environment variables that set what it is about, unless a flag overrides them."""
    flags = {argument.partition("=")[0] for argument in arguments}
    for variable, value in _variables():
        option = f"--{variable.removeprefix('FFCLI_').lower().replace('_', '-')}"
        name = not value.isdigit() and (f"'{value}'" in text or os.path.abspath(value) in text)
        if option not in flags and (name or re.search(rf"{option}(?![\w-])", text)):
            text += f" ({variable} is set to '{value}')"
    return text


def _usage(error: Any, arguments: Sequence[str]) -> str:
    """The message of a usage error, in our words where we have some."""
    from pydantic import ValidationError

    from ffcli.cli.mistakes import usage_error

    if isinstance(error.__cause__, ValidationError):
        from ffcli.settings import correction

        return f"{error.param.opts[0]} {correction(error.__cause__.errors()[0])}"
    return usage_error(error, arguments) or str(error.format_message())


def _os_error(error: OSError) -> str:
    from ffcli.files import is_disk_full

    where = f" {error.filename}" if error.filename else ""
    return f"no space left to write{where}" if is_disk_full(error) else str(error)


def _print_error(text: str, code: int) -> int:
    if text:
        message(f"ff: {' '.join(text.splitlines())}")
    return code


def _disable_help_styles() -> None:
    """Typer keeps bold and dim text under NO_COLOR."""
    from typer import rich_utils

    rich_utils.COLOR_SYSTEM = None


def _raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
