"""Opening the database, and the one context manager of connections: it owns commit, rollback, translation and close."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool

from ffcli.errors import BadDatabase
from ffcli.store.location import Location, database_path, existing, locate
from ffcli.store.migrate import HEAD, Upgrade, look, run_migrations, upgrade
from ffcli.store.sqlite import BEGIN, BUSY_TIMEOUT, IMMEDIATE, begin, engine_for, is_writable, translated

__all__ = ["Store", "database_path", "open_store", "open_to_read", "reading", "writing"]


@dataclass(frozen=True, slots=True)
class Store:
    """An open database. Use it as a context manager, or close it."""

    engine: Engine
    path: Path
    read_only: bool = False
    upgraded: Upgrade | None = None
    """What opening it did to the schema; None where that was at head."""

    def close(self) -> None:
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(db: str | Path | None = None, *, create: bool = True, timeout: float = BUSY_TIMEOUT) -> Store:
    """Open the database that `db` names (see `locate`), upgrading its schema where that is behind.

    `create=False` is for plans and for reading: where there is no file, the store is empty and none is made; one that
    is there stays byte for byte what it was, unless its schema is behind.
    A database that nobody can write to opens read-only. `timeout`: seconds to wait for another process's lock.

    Raises BadOption (no SQLite path or URL), BadDatabase (no database, of another program, newer than this one,
    a missing folder, read-only where it had to be created or upgraded), StoreBusy, StorageFull.
    """
    location = locate(db)
    path = location.path
    with translated(path):
        if not create and location.default and not path.exists():
            return _empty_store(path)
        _check_place(location)
        if not create and not path.exists():
            return _empty_store(path)
        read_only = path.exists() and (location.mode_ro or not is_writable(path))
        upgraded = _bring_to_head(path, read_only, timeout)
        engine = engine_for(path, read_only=read_only, timeout=timeout, write_ahead=create)
        return Store(engine, path, read_only, upgraded)


def open_to_read(db: str | Path | None = None) -> Store:
    """Open the database for a command that shows what is stored. The default one may not be there yet: it is empty.

    Raises as `open_store` does, and BadDatabase where one that was named is not there: a typo must not look like it.
    """
    location = locate(db)
    with translated(location.path):
        if not location.default:
            _check_place(location)
            existing(db)
        return open_store(db, create=False)


@contextmanager
def reading(store: Store) -> Iterator[Connection]:
    """A connection that sees one snapshot."""
    with translated(store.path), store.engine.begin() as connection:
        yield connection


@contextmanager
def writing(store: Store) -> Iterator[Connection]:
    """A connection that holds the write lock from its start, commits at its end and undoes all on an error."""
    if store.read_only:
        raise BadDatabase(f"{store.path} is read-only: make it writable, or give another --db")
    engine = store.engine.execution_options(**{BEGIN: IMMEDIATE})
    with translated(store.path), engine.begin() as connection:
        yield connection


def _check_place(location: Location) -> None:
    """Raise BadDatabase where no database file can be. The default's folder is made; one that a user named is not."""
    path = location.path
    if location.default:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise BadDatabase(f"{path} is a folder: give the file in it, such as {path / 'ffcli.db'}")
    if path.exists() and not path.is_file():
        raise BadDatabase(f"{path} is no regular file: give the path of a database, or of a new file")
    if not path.parent.is_dir():
        raise BadDatabase(f"{path.parent} is no folder: make it first, or give another --db")
    if location.mode_ro and not path.exists():
        raise BadDatabase(f"{path} does not exist, and mode=ro cannot create it")


def _bring_to_head(path: Path, read_only: bool, timeout: float) -> Upgrade | None:
    revision = look(path, read_only=read_only, timeout=timeout) if path.exists() else None
    if revision == HEAD:
        return None
    if read_only:
        raise BadDatabase(
            f"{path} is read-only and at revision {revision or 'none'}, not {HEAD}: make it writable once, to upgrade"
        )
    return upgrade(path, timeout=timeout)


def _empty_store(path: Path) -> Store:
    """A store with no runs that leaves no file: an in-memory database, at head."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "begin", begin)
    with engine.begin() as connection:
        run_migrations(connection)
    return Store(engine, path)
