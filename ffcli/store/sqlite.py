"""Connect to SQLite and translate its errors. Nothing else in the package knows the driver."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from ffcli.errors import BadDatabase, DamagedDatabase, FFError, StoreBusy
from ffcli.files import disk_full, is_disk_full, replacing
from ffcli.store.waiting import NOTICE_SECONDS, notify_waiting

BUSY_TIMEOUT = 5.0
"""Seconds that a connection waits for another connection's lock."""

BEGIN = "sqlite_begin"
"""Execution option: the statement that begins a transaction, `BEGIN` by default."""

IMMEDIATE = "BEGIN IMMEDIATE"


def engine_for(
    path: Path,
    *,
    read_only: bool = False,
    timeout: float = BUSY_TIMEOUT,
    foreign_keys: bool = True,
    pooled: bool = True,
    write_ahead: bool = True,
) -> Engine:
    """Return an engine that sets our pragmas and begins transactions explicitly.

    The driver's own transaction handling is off (`isolation_level=None`): it begins a transaction at the first write,
    and never IMMEDIATE, so that a transaction that reads and then writes fails if another one wrote in between.

    Args:
        path: the database file.
        read_only: whether to open it without the right to write.
        timeout: seconds to wait for another connection's lock.
        foreign_keys: whether SQLite enforces them; a migration must not.
        pooled: whether connections are reused.
        write_ahead: whether to switch the file to a write-ahead log, which changes its header.
    """
    url = URL.create("sqlite", database=path.as_uri(), query={"uri": "true", **_access(path, read_only)})
    engine = create_engine(url, poolclass=QueuePool if pooled else NullPool)

    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None
        # Damaged text must not end the reading of other rows; `ffcli.store.checks` refuses it.
        connection.text_factory = _text
        connection.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        if write_ahead and not read_only:
            _write_ahead(connection, timeout)
        # A saved state is synced to the disk, so that its epoch must be as well: after a power failure a state would be
        # ahead of the database.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(f"PRAGMA foreign_keys={'ON' if foreign_keys else 'OFF'}")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def begin(connection: Connection) -> None:
    """Begin a transaction as its execution options say. A listener for the event `begin` of an engine."""
    statement = connection.get_execution_options().get(BEGIN, "BEGIN")
    driver = connection.connection.driver_connection
    if statement != IMMEDIATE or driver is None:
        connection.exec_driver_sql(statement)
        return
    (whole,) = driver.execute("PRAGMA busy_timeout").fetchone()
    first = min(whole, int(NOTICE_SECONDS * 1000))
    try:
        driver.execute(f"PRAGMA busy_timeout={first}").close()
        driver.execute(statement).close()
    except sqlite3.OperationalError as error:
        if not is_busy(error) or whole == first:
            raise
        (_, _, path) = driver.execute("PRAGMA database_list").fetchone()
        notify_waiting(path, (whole - first) / 1000)
        driver.execute(f"PRAGMA busy_timeout={whole - first}").close()
        connection.exec_driver_sql(statement)
    finally:
        driver.execute(f"PRAGMA busy_timeout={whole}").close()


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection held a lock for too long."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def connect(path: Path, *, read_only: bool, timeout: float = BUSY_TIMEOUT) -> closing[sqlite3.Connection]:
    """Return a plain connection that does not change the file, for one that may not be a database of ffcli."""
    uri = f"{path.as_uri()}?{urlencode(_access(path, read_only))}"
    return closing(sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None))


def sqlite_version() -> str:
    """Return the version of the SQLite library."""
    return sqlite3.sqlite_version


def is_writable(path: Path) -> bool:
    """Return whether SQLite can write the file, and its log and lock files beside it."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def copy_database(source: Path, target: Path, *, timeout: float = BUSY_TIMEOUT) -> None:
    """Write a consistent snapshot of `source` to `target`, atomically, also while other processes write to `source`.

    Raises:
        BadDatabase: if the folder of `target` cannot be written.
        StorageFull: if no space is left.
    """
    with (
        replacing(target) as part,
        connect(source, read_only=not is_writable(source), timeout=timeout) as old,
    ):
        try:
            part.touch()
        except OSError as error:
            raise (disk_full(target) if is_disk_full(error) else _unwritable(target, error)) from error
        with closing(sqlite3.connect(part)) as new:
            try:
                old.backup(new)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                    raise disk_full(target) from error
                raise


def _unwritable(path: Path, error: OSError) -> BadDatabase:
    return BadDatabase(f"{path} cannot be written: {(error.strerror or str(error)).lower()}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate errors of SQLAlchemy, SQLite and the file system about the database `path` into errors of ffcli."""
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
    """Return the error of ffcli for an error of the file system about `path`."""
    if is_disk_full(error):
        return disk_full(path)
    return BadDatabase(f"{error.filename or path}: {(error.strerror or str(error)).lower()}")


def _explain(error: BaseException | None, path: Path) -> FFError | None:
    code = getattr(error, "sqlite_errorcode", None)
    match code and code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"{path} is locked by another process: try again when it has finished")
        case sqlite3.SQLITE_FULL:
            return disk_full(path)
        # A full disk, or a limit on the size of files, may also be reported as an input/output error.
        case sqlite3.SQLITE_IOERR if shutil.disk_usage(path.parent).free < 1 << 16 or _at_size_limit(path):
            return disk_full(path)
        case sqlite3.SQLITE_READONLY:
            return BadDatabase(f"{path} is read-only: make it writable, or give another --db")
        case sqlite3.SQLITE_NOTADB:
            return BadDatabase(f"{path} is not a database: give the path of a database or of a new file")
        case sqlite3.SQLITE_CORRUPT:
            return DamagedDatabase(f"{path} is damaged ({error}): `ff db check` shows details; restore a backup")
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH | sqlite3.SQLITE_IOERR:
            return BadDatabase(f"{path} cannot be read or written: {error}")
        case sqlite3.SQLITE_CONSTRAINT | sqlite3.SQLITE_MISMATCH:
            return DamagedDatabase(f"{path} is damaged or was changed by another program: {error}")
        case sqlite3.SQLITE_ERROR if any(sign in str(error) for sign in _DAMAGED):
            return DamagedDatabase(f"{path} is damaged or was changed by another program: {error}")
    return None


_DAMAGED = ("no such", "already exists", "duplicate column name", "unsupported file format")
"""Parts of SQLite's messages where the tables are not those of the stored revision, or the header has other values."""


def _at_size_limit(path: Path) -> bool:
    """Return whether the database or its log has reached this process's limit on the size of files (`ulimit -f`)."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return False
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-journal")]
    # SQLite writes pages of at most 64 KiB; the first that does not fit fails.
    return limit != resource.RLIM_INFINITY and any(f.exists() and f.stat().st_size + 65_536 > limit for f in files)


def _write_ahead(connection: sqlite3.Connection, timeout: float) -> None:
    """Set journal_mode=WAL, with retries: SQLite ignores busy_timeout here, and processes that open a new file at the
    same time may be told that it is locked."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _access(path: Path, read_only: bool) -> dict[str, str]:
    """URL options to open `path`. On a read-only file system SQLite cannot create its lock files, so that the file is
    opened as immutable, unless its log has content."""
    if not read_only:
        return {"mode": "rwc"}
    log = path.with_name(path.name + "-wal")
    sealed = not is_writable(path) and not (log.exists() and log.stat().st_size)
    return {"mode": "ro", **({"immutable": "1"} if sealed else {})}
