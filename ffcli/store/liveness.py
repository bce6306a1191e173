"""Which process trains a run, and whether it still does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

STALE_AFTER = timedelta(seconds=120)
"""Age of the last heartbeat after which a running row counts as abandoned."""

_START_TOLERANCE = 2.0
"""Seconds by which two readings of a process's start may differ (clock adjustments, rounding in the kernel)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. Its start time (seconds since 1970) distinguishes it from a later process with the same pid."""

    host: str
    pid: int
    pid_started: float


def this_process() -> Owner:
    """Return the calling process as an owner."""
    return Owner(socket.gethostname(), os.getpid(), _start(os.getpid())[0])


def utc_now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def abandoned(
    owner: Owner, heartbeat: datetime | None, now: datetime
) -> tuple[Literal["interrupted", "stale"], str] | None:
    """Return the status and the reason of a running row that nobody trains any more; None while it is trained.

    Args:
        owner: the process that claimed the run.
        heartbeat: its last heartbeat.
        now: the current time.

    Returns:
        `interrupted` if the process was on this host and no longer exists, `stale` if the heartbeat is too old.
    """
    if owner.host == socket.gethostname() and not _alive(owner):
        return "interrupted", f"process {owner.pid} on {owner.host} exited unexpectedly"
    if heartbeat is None or heartbeat < now - STALE_AFTER:
        return "stale", f"process {owner.pid} on {owner.host} stopped sending heartbeats"
    return None


def _alive(owner: Owner) -> bool:
    """Whether the process exists on this host. A zombie does not count."""
    try:
        started, zombie = _start(owner.pid)
    except ProcessLookupError:
        return False
    return abs(started - owner.pid_started) <= _START_TOLERANCE and not zombie


def _start(pid: int) -> tuple[float, bool]:
    """Start time of a process (seconds since 1970), and whether it is a zombie. Raises ProcessLookupError."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error
