"""The program `ff`: its commands, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any, NoReturn

import typer

from ffcli.cli.commands import Commands
from ffcli.errors import FFError, Interrupted

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
    # Almost all objects of a command live to its end, so frequent garbage collection is wasted: 7 to 13 % of the CPU
    # time of `ff list-runs` and `ff report`.
    gc.set_threshold(100_000, 50, 100)
    if os.environ.get("NO_COLOR"):
        _disable_help_styles()
    try:
        code = app(arguments, prog_name="ff", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = _print_error("interrupted", Interrupted.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        code = _exit_code(error)
    sys.exit(code)


def _exit_code(error: Exception) -> int:
    """Print an error as one line and return its exit code."""
    if isinstance(error, FFError):
        return _print_error(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # a usage error of Click, which some versions of Typer contain
        return _print_error(_usage(error), 2)
    if isinstance(error, OSError):
        _discard_stdout()
        return _print_error(_os_error(error), 1)
    return _print_error(f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)", 1)


def _usage(error: Any) -> str:
    """The message of a usage error, in our words if Typer let pydantic check the value."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        from ffcli.settings import correction

        return f"{error.param.opts[0]} {correction(error.__cause__.errors()[0])}"
    return str(error.format_message())


def _os_error(error: OSError) -> str:
    from ffcli.files import is_disk_full

    where = f" {error.filename}" if error.filename else ""
    return f"no space left to write{where}" if is_disk_full(error) else str(error)


def _print_error(text: str, code: int) -> int:
    if text:
        from ffcli.cli.console import message

        message(f"ff: {' '.join(text.splitlines())}")
    return code


def _disable_help_styles() -> None:
    """Typer keeps bold and dim text under NO_COLOR."""
    from typer import rich_utils

    rich_utils.COLOR_SYSTEM = None


def _discard_stdout() -> None:
    """Redirect a stdout that cannot be written, so that Python does not report it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
