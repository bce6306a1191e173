"""Check, back up and prune a database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select

from ffcli.errors import BadDatabase, DamagedDatabase, DamagedRun
from ffcli.store import states
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.liveness import utc_now
from ffcli.store.location import existing
from ffcli.store.mapping import RUN_COLUMNS, run_record
from ffcli.store.migrate import HEAD, stored_revision
from ffcli.store.sqlite import BUSY_TIMEOUT, connect, copy_database, is_writable, translated
from ffcli.store.tables import RUN
from ffcli.text import counted


@dataclass(frozen=True, slots=True)
class Health:
    """The result of a check. `problems` is empty if the database is in order."""

    path: Path
    revision: str | None
    head: str
    runs: int
    epochs: int
    bytes: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Freed:
    """What `prune` deleted."""

    runs: int
    files: int
    bytes: int


def check(db: str | Path | None = None, *, timeout: float = BUSY_TIMEOUT) -> Health:
    """Check a database for damage, without changing or upgrading it.

    Args:
        db: a path, a SQLite URL, or None for the default.
        timeout: seconds to wait for another process's lock.

    Raises:
        BadDatabase: if there is no database, or it belongs to another program.
        StoreBusy: if another process holds the lock for longer than `timeout`.
    """
    path = existing(db)
    try:
        return _checked(path, timeout)
    except DamagedDatabase as error:
        # Too damaged for the check to finish.
        return Health(path, None, HEAD, 0, 0, path.stat().st_size, (str(error.__cause__),))


def _checked(path: Path, timeout: float) -> Health:
    with translated(path):
        revision = stored_revision(path, read_only=not is_writable(path), timeout=timeout)
        with connect(path, read_only=not is_writable(path), timeout=timeout) as connection:
            problems = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if revision else 0
                for table in ("run", "epoch")
            ]
    if orphans:
        problems.append(f"{counted(len(orphans), 'row')} without a parent")
    if revision == HEAD and not problems:
        problems = _damaged_runs(path, timeout)
    return Health(path, revision, HEAD, counts[0], counts[1], path.stat().st_size, tuple(problems))


def _damaged_runs(path: Path, timeout: float) -> list[str]:
    found, now = [], utc_now()
    with open_store(path, create=False, timeout=timeout) as store, reading(store) as connection:
        for row in connection.execute(select(*RUN_COLUMNS)):
            try:
                run_record(row, now)
            except DamagedRun as error:
                found.append(str(error))
    return found


def backup(db: str | Path | None = None, to: Path | None = None, *, timeout: float = BUSY_TIMEOUT) -> Path:
    """Copy a database, also while a run writes to it. States and weights are not copied.

    Args:
        db: a path, a SQLite URL, or None for the default.
        to: the new file; None names it `<name>.<time>.bak` beside the database.
        timeout: seconds to wait for another process's lock.

    Returns:
        The path of the copy.

    Raises:
        BadDatabase: if there is no database, `to` exists, or its folder does not exist.
        StoreBusy: if another process holds the lock for longer than `timeout`.
        StorageFull: if no space is left.
    """
    path = existing(db)
    target = (to or path.with_name(f"{path.name}.{utc_now():%Y%m%dT%H%M%SZ}.bak")).absolute()
    if target.is_dir():
        raise BadDatabase(f"{target} is a folder: give a new file in it, such as {target / path.name}")
    if target.exists():
        raise BadDatabase(f"{target} exists already: give another name")
    if not target.parent.is_dir():
        raise BadDatabase(f"{target.parent} is not a folder: create it first")
    with translated(path):
        stored_revision(path, read_only=not is_writable(path), timeout=timeout)
        copy_database(path, target, timeout=timeout)
    return target


def prune(store: Store, *, superseded: bool = True) -> Freed:
    """Free space, and return what was deleted.

    Deletes the full states of completed runs, unfinished files of processes that were killed, and the files of deleted
    runs. Keeps weights, and damaged files that were set aside.

    Args:
        store: the database.
        superseded: whether superseded runs are deleted too, with their files.

    Raises:
        BadDatabase: if the database is read-only.
    """
    now = utc_now()
    with writing(store) as connection:
        records = {row.id: run_record(row, now) for row in connection.execute(select(*RUN_COLUMNS))}
        gone = {id for id, run in records.items() if superseded and run.status == "superseded"}
        connection.execute(delete(RUN).where(RUN.c.id.in_(gone)))
        files = []
        for path in states.all_files(store):
            run = records.get(states.run_of(path))
            useless = run is None or run.id in gone or (run.status == "completed" and states.is_full_state(path))
            if useless or (states.is_temporary(path) and run is not None and run.status != "running"):
                files.append(path)
        return Freed(len(gone), len(files), states.remove(files))
