"""`ff`: the commands, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import errno
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
    help="Train Forward-Forward networks whose positive and negative phases are separated in time, keep every run,"
    " and draw the tables of 'Sleep Deprivation in the Forward-Forward Algorithm' from what was measured.",
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
    """The program `ff`: `main`, and then out at once.

    Every file, database, thread and process is closed by whoever opened it. To take the interpreter apart as well,
    object by object, would be a quarter of a short command's time.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the start
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
    """Run the command line and exit with its code: see `ffcli.errors` for which."""
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    signal.signal(signal.SIGTERM, _terminate)
    # Nearly all that a command makes lives to its end: by Python's default the collector walks it hundreds of times.
    gc.set_threshold(100_000, 50, 100)
    if os.environ.get("NO_COLOR"):
        _undecorated_help()
    try:
        code = app(arguments, prog_name="ff", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        code = 1
    except (KeyboardInterrupt, typer.Abort):
        code = _say("interrupted", Interrupted.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        code = _explain(error)
    sys.exit(code)


def _undecorated_help() -> None:
    """NO_COLOR alone would leave the help its bold and dim."""
    from typer import rich_utils

    rich_utils.COLOR_SYSTEM = None


def _explain(error: Exception) -> int:
    if isinstance(error, FFError):
        return _say(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # a usage error of Click, which Typer may carry inside itself
        return _say(_usage(error), 2)
    if isinstance(error, OSError):
        _drop_stdout()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        where = f" {error.filename}" if error.filename else ""
        return _say(f"no space left to write{where}" if full else str(error), 1)
    if _is_out_of_memory(error):
        return _say("not enough memory: a smaller --hidden or --batch-size, or another --device, may fit", 1)
    return _say(f"internal error: {type(error).__name__}: {error} (--debug shows where; please report it)", 1)


def _usage(error: Any) -> str:
    """The message of a usage error; in our words if Typer had pydantic check the value."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        from ffcli.settings import correction

        return f"{error.param.opts[0]} {correction(error.__cause__.errors()[0])}"
    return str(error.format_message())


def _say(text: str, code: int) -> int:
    if text:
        from ffcli.cli.console import message

        message(f"ff: {' '.join(text.splitlines())}")
    return code


def _drop_stdout() -> None:
    """Where stdout cannot be written, Python would complain once more as it closes it."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_out_of_memory(error: Exception) -> bool:
    """torch says so with classes of its own, and it may not be loaded."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate" in str(error))


def _terminate(*_: object) -> None:
    raise KeyboardInterrupt
