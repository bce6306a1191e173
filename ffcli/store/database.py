"""Open the database, read and write it.

`reading` and `writing` are the only ways to a connection: they own commit, rollback, close and the translation of
errors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.pool import StaticPool

from ffcli.errors import BadDatabase
from ffcli.store.folder import adopt_old_folder
from ffcli.store.location import Location, existing, locate
from ffcli.store.migrate import HEAD, Upgrade, refuse_newer, revisions, run_migrations, stored_revision, upgrade
from ffcli.store.sqlite import BEGIN, BUSY_TIMEOUT, IMMEDIATE, begin, connect, engine_for, is_writable, translated
from ffcli.store.tables import RUN


@dataclass(frozen=True, slots=True)
class Store:
    """An open database; a context manager that closes it."""

    engine: Engine
    path: Path
    read_only: bool = False
    upgraded: Upgrade | None = None
    """What opening it changed in the schema; None if it was up to date."""

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(
    db: str | Path | None = None, *, create: bool = True, read_only: bool = False, timeout: float = BUSY_TIMEOUT
) -> Store:
    """Open a database, and upgrade its schema if it is older than this program.

    A database that this process cannot write to is opened read-only. One that is only read is never changed: if its
    schema is older, an upgraded copy in memory is read.

    Args:
        db: a path, a SQLite URL, or None for the default (see `locate`).
        create: whether to create or upgrade the file. False is for plans and for reading: the store is empty if there
            is no file.
        read_only: whether to open the file without the right to write, also if this process has it.
        timeout: seconds to wait for another process's lock.

    Raises:
        BadOption: if `db` is not a SQLite path or URL.
        BadDatabase: if the file is not a database, belongs to another program, is newer than this program, is in a
            missing folder, or is read-only and must be created or upgraded.
        StoreBusy: if another process holds the lock for longer than `timeout`.
        StorageFull: if no space is left.
    """
    location = locate(db)
    path = location.path
    with translated(path):
        if create or path.exists() or not location.default:
            _check_place(location)
        read_only = path.exists() and (read_only or location.mode_ro or not is_writable(path))
        revision = stored_revision(path, read_only=read_only, timeout=timeout) if path.exists() else None
        upgraded = None
        if revision != HEAD and not create:
            return _store_in_memory(path, revision, read_only=read_only, timeout=timeout)
        if revision != HEAD:
            if read_only:
                found = revision or "none"
                raise BadDatabase(f"{path} is read-only and at revision {found}, not {HEAD}: make it writable once")
            upgraded = upgrade(path, timeout=timeout)
        engine = engine_for(path, read_only=read_only, timeout=timeout, write_ahead=create)
        if create and not read_only:
            adopt_old_folder(path, lambda: _run_ids(engine))
        return Store(engine, path, read_only, upgraded)


def open_to_read(db: str | Path | None = None, *, read_only: bool = False) -> Store:
    """Open the database for a command that only reads. The default database is empty if it does not exist yet.

    Args:
        db, read_only: as of `open_store`.

    Raises:
        BadDatabase: if a named database does not exist (a mistyped path must not look like an empty database), and
            as `open_store` does.
        BadOption, StoreBusy, StorageFull: as `open_store` does.
    """
    location = locate(db)
    with translated(location.path):
        if not location.default:
            _check_place(location)
            existing(db)
        return open_store(db, create=False, read_only=read_only)


@contextmanager
def reading(store: Store) -> Iterator[Connection]:
    """Yield a connection in a transaction that sees one snapshot of the database."""
    with translated(store.path), store.engine.begin() as connection:
        yield connection


@contextmanager
def writing(store: Store) -> Iterator[Connection]:
    """Yield a connection in a transaction that holds the write lock; it is rolled back on an error.

    Raises:
        BadDatabase: if the database is read-only.
    """
    if store.read_only:
        raise BadDatabase(f"{store.path} is read-only: make it writable, or give another --db")
    engine = store.engine.execution_options(**{BEGIN: IMMEDIATE})
    with translated(store.path), engine.begin() as connection:
        yield connection


def _run_ids(engine: Engine) -> set[str]:
    with engine.begin() as connection:
        return set(connection.scalars(select(RUN.c.id)))


def _check_place(location: Location) -> None:
    """Raise BadDatabase if there can be no database file. Only the folder of the default database is created."""
    path = location.path
    if location.default:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise BadDatabase(f"{path} is a folder: give a file in it, such as {path / 'ffcli.db'}")
    if path.exists() and not path.is_file():
        raise BadDatabase(f"{path} is not a regular file: give the path of a database or of a new file")
    if not path.parent.is_dir():
        raise BadDatabase(f"{path.parent} is not a folder: create it, or give another --db")
    if location.mode_ro and not path.exists():
        raise BadDatabase(f"{path} does not exist, and mode=ro does not create it")


def _store_in_memory(path: Path, revision: str | None, *, read_only: bool, timeout: float) -> Store:
    """Return a store whose database is in memory: an upgraded copy of the file, or empty if there is none."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "begin", begin)
    if revision is not None:
        refuse_newer(path, revision, revisions())
        with connect(path, read_only=read_only, timeout=timeout) as source, closing(engine.raw_connection()) as copy:
            assert isinstance(copy.driver_connection, sqlite3.Connection)
            source.backup(copy.driver_connection)
    with engine.begin() as connection:
        run_migrations(connection)
    return Store(engine, path, read_only=revision is not None)
