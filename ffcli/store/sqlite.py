"""SQLite: how a connection is made, and what its errors mean to a user. Nothing else here knows the driver."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from ffcli.errors import BadDatabase, DamagedDatabase, FFError, StorageFull, StoreBusy

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another one's lock."""

BEGIN = "sqlite_begin"
"""Execution option: how a transaction begins. Plain BEGIN, unless it is set to IMMEDIATE."""

IMMEDIATE = "BEGIN IMMEDIATE"

_FULL = (errno.ENOSPC, errno.EDQUOT)


def engine_for(
    path: Path,
    *,
    read_only: bool = False,
    timeout: float = BUSY_TIMEOUT,
    foreign_keys: bool = True,
    pooled: bool = True,
    write_ahead: bool = True,
) -> Engine:
    """An engine whose connections carry our pragmas and whose transactions we begin ourselves.

    `write_ahead`: whether they turn the file to a write-ahead log, which changes its header.

    The driver's own handling is off (isolation_level None): it begins late, and never IMMEDIATE, so that a
    transaction that reads and then writes fails as soon as another one wrote between.
    """
    url = URL.create("sqlite", database=path.as_uri(), query={"uri": "true", **_access(path, read_only)})
    engine = create_engine(url, poolclass=QueuePool if pooled else NullPool)

    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        if write_ahead and not read_only:
            _write_ahead(connection, timeout)
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def begin(connection: Connection) -> None:
    """Begin a transaction as its execution options ask: the listener of every engine here."""
    connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, "BEGIN"))


def connect(path: Path, *, read_only: bool, timeout: float = BUSY_TIMEOUT) -> closing[sqlite3.Connection]:
    """A bare connection that changes nothing by opening: for a look before we know that the file is ours."""
    uri = f"{path.as_uri()}?{urlencode(_access(path, read_only))}"
    return closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None))


def is_writable(path: Path) -> bool:
    """Whether SQLite could write: the file, and its log and lock files beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def copy_database(source: Path, target: Path, *, timeout: float = BUSY_TIMEOUT) -> None:
    """Copy a consistent snapshot of `source`, also while others write to it. `target` appears whole or not at all.

    The caller sees to it that `target` does not exist.
    """
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    try:
        with (
            connect(source, read_only=not is_writable(source), timeout=timeout) as old,
            closing(sqlite3.connect(part)) as new,
        ):
            old.backup(new)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The one boundary at which errors of SQLAlchemy, SQLite and the file system become ours."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        ours = _explain(error.orig if isinstance(error, DBAPIError) else error, path)
        if ours is None:
            raise
        raise ours from error
    except OSError as error:
        raise os_error(error, path) from error


def os_error(error: OSError, path: Path) -> FFError:
    """What the file system refused, as one line naming the file."""
    if error.errno in _FULL:
        return StorageFull(f"no space left to write {path}: free some, then ask again")
    return BadDatabase(f"{error.filename or path}: {(error.strerror or str(error)).lower()}")


def _explain(error: BaseException | None, path: Path) -> FFError | None:
    code = getattr(error, "sqlite_errorcode", None)
    match code and code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"{path} is locked by another process: try again when that has finished")
        case sqlite3.SQLITE_FULL:
            return StorageFull(f"no space left for {path}: free some, then ask again")
        case sqlite3.SQLITE_IOERR if shutil.disk_usage(path.parent).free < 1 << 16:
            return StorageFull(f"no space left for {path}: free some, then ask again")
        case sqlite3.SQLITE_READONLY:
            return BadDatabase(f"{path} is read-only: make it writable, or give another --db")
        case sqlite3.SQLITE_NOTADB:
            return BadDatabase(f"{path} is no database: give the path of one, or of a new file")
        case sqlite3.SQLITE_CORRUPT:
            return DamagedDatabase(f"{path} is damaged ({error}): `ff db check` says more; go back to a backup")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_IOERR:
            return BadDatabase(f"{path} cannot be read or written: {error}")
        case sqlite3.SQLITE_ERROR if "no such" in str(error):
            return BadDatabase(f"{path} is damaged or not made by ffcli: {error}")
    return None


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Set journal_mode=WAL, trying again: of eight processes that open a new file at once, one in some hundred is told
    that it is locked, without a wait, whatever busy_timeout says."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _access(path: Path, read_only: bool) -> dict[str, str]:
    """How SQLite opens `path`. Where nobody can write, and nothing is left in the log, it may read without its lock
    files (immutable), which it could not create there."""
    if not read_only:
        return {"mode": "rwc"}
    log = path.with_name(path.name + "-wal")
    sealed = not is_writable(path) and not (log.exists() and log.stat().st_size)
    return {"mode": "ro", **({"immutable": "1"} if sealed else {})}
