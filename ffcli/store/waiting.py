"""Say what a command waits for if another process holds the lock of the database for longer than NOTICE_SECONDS.

Imports nothing heavy: the command line sets `on_wait` at the start of every command.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

NOTICE_SECONDS = 2.0
"""Time after which a user wonders what happens."""

on_wait: ContextVar[Callable[[str], None] | None] = ContextVar("on_wait", default=None)
"""Shows a line to the user. Other threads, which send heartbeats, do not have it."""


def notify_waiting(path: Path | str, seconds: float) -> None:
    """Say that the command waits for the lock of a database, for at most `seconds` more."""
    if show := on_wait.get():
        show(f"waiting for another process that writes to {path} (at most {seconds:.0f} s more)")
