"""Which process trains a run, and whether it still does."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

STALE_AFTER = timedelta(seconds=120)
"""A running row whose heartbeat is older than this has been left."""

_START_TOLERANCE = 2.0
"""Seconds by which two readings of a process's start may differ (the clock is set, the kernel rounds)."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. Its start time (seconds since 1970) tells it from a later one with the same pid."""

    host: str
    pid: int
    pid_started: float


def this_process() -> Owner:
    return Owner(socket.gethostname(), os.getpid(), _start(os.getpid())[0])


def utc_now() -> datetime:
    return datetime.now(UTC)


def abandoned(
    owner: Owner, heartbeat: datetime | None, now: datetime
) -> tuple[Literal["interrupted", "stale"], str] | None:
    """What has become of a running run: its status and why, or None while it is being trained.

    It is interrupted once its process, on this host, is gone, and stale once its heartbeat is old.
    """
    if owner.host == socket.gethostname() and not _alive(owner):
        return "interrupted", f"process {owner.pid} on {owner.host} ended without a word"
    if heartbeat is None or heartbeat < now - STALE_AFTER:
        return "stale", f"no sign of life from process {owner.pid} on {owner.host}"
    return None


def _alive(owner: Owner) -> bool:
    """Whether this host still runs that very process; one that waits for its parent to collect it does not count."""
    try:
        started, zombie = _start(owner.pid)
    except ProcessLookupError:
        return False
    return abs(started - owner.pid_started) <= _START_TOLERANCE and not zombie


def _start(pid: int) -> tuple[float, bool]:
    """When a process began (seconds since 1970), and whether it is a zombie. Raises ProcessLookupError."""
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error
