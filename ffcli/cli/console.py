"""The two consoles: results go to stdout, messages and progress to stderr.

No colour or animation off a terminal, under NO_COLOR or TERM=dumb. Off a terminal nothing is wrapped or cut, unless
COLUMNS is set.
"""

from __future__ import annotations

import codecs
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

from ffcli.text import CONTROL, UNBOUNDED, printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from ffcli.errors import DamagedRun
    from ffcli.report.sheet import Document


SUBSTITUTES = {"·": ".", "\N{EN DASH}": "-", "\N{MULTIPLICATION SIGN}": "x", "±": "~", "…": "."}
"""Characters of our tables, as an encoding without them writes them. Others become escapes such as `\\xfc`."""


def accept_all_characters() -> None:
    """Let stdout and stderr write every text, also if their encoding is ASCII or a file name is not UTF-8."""
    codecs.register_error("ffcli", _substitute)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ffcli")


def _substitute(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(SUBSTITUTES.get(c) or c.encode("unicode_escape").decode("ascii") for c in characters), error.end


@cache
def out() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Return the console for messages and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console, ConsoleDimensions
    from rich.segment import Segment
    from rich.text import Text

    def safe(segments: Iterable[Segment]) -> Iterator[Segment]:
        for segment in segments:
            if segment.control or not CONTROL.search(segment.text.replace("\n", "")):
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)

    class SafeConsole(Console):
        """A console that writes control characters in the text of others as escapes."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            # Everything else consists of these: checking it again at every level takes as long as drawing it.
            segments = super().render(renderable, options)
            return safe(segments) if isinstance(renderable, str | Text) else segments

    # NO_COLOR alone would leave rich its bold and dim.
    console = SafeConsole(stderr=stderr, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = UNBOUNDED  # a file or another program: one line per row, uncut
    if console.is_dumb_terminal:
        console.size = ConsoleDimensions(*shutil.get_terminal_size())  # rich assumes 80 columns
    return console


def is_animated() -> bool:
    """Return whether progress may be redrawn in place."""
    return err().is_terminal and not err().is_dumb_terminal and not err().no_color


def print_document(document: Document, format: str = "rich") -> None:
    """Print tables on stdout in one of the formats of `ffcli.report.writers.WRITERS`."""
    from ffcli.report.writers import WRITERS

    written = WRITERS[format](document)
    if not isinstance(written, str):
        with out().capture() as drawn:
            out().print(written, crop=False)
        written = drawn.get()
        if not out().is_terminal:
            written = "\n".join(line.rstrip(" ") for line in written.split("\n"))
    sys.stdout.write(written)


def print_json(value: Any) -> None:
    """Print one JSON document on stdout. Numbers that are not finite become null."""
    from ffcli.report.writers import json_text

    sys.stdout.write(json_text(value))


@contextmanager
def naming_unreadable_runs() -> Iterator[Callable[[DamagedRun], None]]:
    """Yield a function that takes the errors of runs that are left out; at the end, print one line that names them."""
    found: dict[str, None] = {}
    yield lambda error: found.update({error.run: None})
    if found:
        runs = f"run {next(iter(found))}" if len(found) == 1 else f"runs {', '.join(found)}"
        message(f"left out: {runs} cannot be read; `ff db check` shows why, `ff delete ID` removes one")


def message(text: str) -> None:
    """Print one line for the user on stderr, without markup and wrapping.

    A stderr that cannot be written, such as a file on a full disk, is not used any more: the work and its results do
    not depend on messages.
    """
    try:
        err().print(printable(text), markup=False, soft_wrap=True)
    except BrokenPipeError:
        raise
    except OSError:
        discard(sys.stderr)


def confirmed(question: str, without_answer: str) -> bool:
    """Ask on stderr, and return the answer from stdin.

    Args:
        question: the question.
        without_answer: the error if stdin ends without an answer, as in a script.

    Raises:
        BadOption: if there is no answer.
    """
    import typer

    from ffcli.errors import BadOption

    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        if sys.stdin.isatty():
            raise
        typer.echo(err=True)
        raise BadOption(without_answer) from None


def line(text: object) -> None:
    """Print one line of a result on stdout, without wrapping."""
    sys.stdout.write(f"{printable(str(text))}\n")


def discard(stream: TextIO) -> None:
    """Redirect a stream that cannot be written, so that Python does not report it again at exit."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
