"""The two consoles: results go to stdout, messages and progress to stderr.

No colour or animation off a terminal, under NO_COLOR or TERM=dumb.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from ffcli.errors import DamagedRun
    from ffcli.report.sheet import Document


@cache
def out() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """Return the console for messages and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # NO_COLOR alone would leave rich its bold and dim.
    return Console(stderr=stderr, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")


def is_animated() -> bool:
    """Return whether progress may be redrawn in place."""
    return err().is_terminal and not err().is_dumb_terminal and not err().no_color


def print_document(document: Document, format: str = "rich") -> None:
    """Print tables on stdout in one of the formats of `ffcli.report.writers.WRITERS`."""
    from ffcli.report.writers import WRITERS

    written = WRITERS[format](document)
    if isinstance(written, str):
        sys.stdout.write(written)
    else:
        out().print(written, crop=False)


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
    """Print one line for the user on stderr, without markup and wrapping."""
    err().print(text, markup=False, soft_wrap=True)
