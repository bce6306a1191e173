"""The two consoles: results go to stdout, messages and progress to stderr.

No colour or animation off a terminal, under NO_COLOR or TERM=dumb.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@cache
def out() -> Console:
    """The console for results."""
    return _console(stderr=False)


@cache
def err() -> Console:
    """The console for messages and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    # NO_COLOR alone would leave rich its bold and dim.
    return Console(stderr=stderr, highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")


def is_animated() -> bool:
    """Whether progress may be drawn over and over."""
    return err().is_terminal and not err().is_dumb_terminal and not err().no_color


def print_json(value: Any) -> None:
    """One JSON document on stdout. Numbers that are not finite become null."""
    sys.stdout.write(json.dumps(_finite(value), indent=2, default=str) + "\n")


def message(text: str) -> None:
    """One line for the user on stderr, as it is: no markup, no wrapping."""
    err().print(text, markup=False, soft_wrap=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
