"""Which process trains a run, and whether it still does.

A process of this host is identified without the clock, which may be set while a run is trained. The age of a heartbeat
is measured by the clock; it decides where the process cannot be seen: on another host, or suspended on this one. A
host's clock may be wrong by less than STALE_ELSEWHERE.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

STALE_AFTER = timedelta(seconds=120)
"""Age of the last heartbeat after which a run of this host counts as abandoned."""

STALE_ELSEWHERE = timedelta(minutes=15)
"""The same for a run of another host, whose clock may differ."""

_START_TOLERANCE = 2.0
"""Seconds by which two readings of a process's start by the clock may differ."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process. Its start distinguishes it from a later process with the same pid."""

    host: str
    pid: int
    pid_started: float
    """In clock ticks since the boot on Linux; elsewhere, and in rows of older versions, in seconds since 1970."""
    boot: str | None = None
    """The id of the boot; None if the start is in seconds since 1970."""


def this_process() -> Owner:
    """Return the calling process as an owner."""
    pid, boot = os.getpid(), _boot()
    return Owner(socket.gethostname(), pid, _start(pid, ticks=boot is not None)[0], boot)


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
    limit = STALE_AFTER if owner.host == socket.gethostname() else STALE_ELSEWHERE
    if heartbeat is None or heartbeat < now - limit:
        return "stale", f"process {owner.pid} on {owner.host} stopped sending heartbeats"
    return None


def _alive(owner: Owner) -> bool:
    """Whether the process exists on this host. A zombie does not count."""
    by_ticks = owner.boot is not None
    if by_ticks and owner.boot != _boot():
        return False
    try:
        started, zombie = _start(owner.pid, ticks=by_ticks)
    except ProcessLookupError:
        return False
    return abs(started - owner.pid_started) <= (0 if by_ticks else _START_TOLERANCE) and not zombie


@cache
def _boot() -> str | None:
    """The random id of the current boot; None where the system has none, as outside Linux."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _start(pid: int, *, ticks: bool) -> tuple[float, bool]:
    """Start of a process, and whether it is a zombie. Raises ProcessLookupError.

    Args:
        pid: the process.
        ticks: in clock ticks since the boot, as Linux gives it, which no change of the clock alters; otherwise in
            seconds since 1970.
    """
    if ticks:
        try:
            text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ProcessLookupError(pid) from error
        # The second field is the name of the program in parentheses, which may contain anything.
        fields = text.rpartition(")")[2].split()
        return float(fields[19]), fields[0] in ("Z", "X")

    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(pid) from error
