"""Check, back up and prune a database, and keep its states within a limit of disk space."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Select,
    and_,
    delete,
    func,
    not_,
    or_,
    select,
)

from ffcli.choices import Status
from ffcli.errors import BadDatabase, DamagedDatabase, DamagedRun
from ffcli.files import TEMPORARY, remove_stale
from ffcli.store import states
from ffcli.store.checks import shown_id
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.folder import shares_folder
from ffcli.store.liveness import utc_now
from ffcli.store.location import existing
from ffcli.store.mapping import EPOCH_COLUMNS, RUN_COLUMNS, epoch_metrics, readable, run_records
from ffcli.store.migrate import HEAD, refuse_newer, revisions, stored_revision
from ffcli.store.sqlite import BUSY_TIMEOUT, connect, copy_database, is_writable, translated
from ffcli.store.tables import EPOCH, RUN, TRACE
from ffcli.store.traces import TRACE_COLUMNS, hour_trace
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
    """What `prune` deleted, or would delete."""

    runs: int
    files: int
    bytes: int
    by_run: Mapping[str, int]
    """Bytes of the files of each run."""


DISK_SHARE = 10
"""States that may be deleted take at most this part (one tenth) of the disk space that is free or theirs."""


def check(db: str | Path | None = None, *, timeout: float = BUSY_TIMEOUT) -> Health:
    """Check a database for damage, without changing or upgrading it.

    Args:
        db: a path, a SQLite URL, or None for the default.
        timeout: seconds to wait for another process's lock.

    Raises:
        BadDatabase: if there is no database, it belongs to another program, or is newer than this program.
        StoreBusy: if another process holds the lock for longer than `timeout`.
    """
    path = existing(db)
    try:
        return _checked(path, timeout)
    except DamagedDatabase as error:
        # Too damaged for the check to finish.
        reason = getattr(error.__cause__, "orig", error.__cause__)
        return Health(path, None, HEAD, 0, 0, path.stat().st_size, (str(reason),))


def _checked(path: Path, timeout: float) -> Health:
    with translated(path):
        revision = stored_revision(path, read_only=not is_writable(path), timeout=timeout)
        if revision not in (None, HEAD):
            refuse_newer(path, revision, revisions())
        with connect(path, read_only=not is_writable(path), timeout=timeout) as connection:
            problems = [text for (text,) in connection.execute("PRAGMA integrity_check") if text != "ok"]
            orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
            counts = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] if revision else 0
                for table in ("run", "epoch")
            ]
    if revision and all(problem.startswith("CHECK constraint") for problem in problems):
        problems = _damaged_runs(path, timeout) or problems
    if orphans:
        problems.append(f"{counted(len(orphans), 'row')} without a parent")
    return Health(path, revision, HEAD, counts[0], counts[1], path.stat().st_size, tuple(problems))


def _damaged_runs(path: Path, timeout: float) -> list[str]:
    """A line for each row that cannot be read, and each run whose epochs are not 0, 1, ... up to the epochs done."""
    found: list[str] = []
    with open_store(path, create=False, timeout=timeout) as store, reading(store) as connection:
        for columns, read in _ROWS:
            for row in connection.execute(select(*columns).order_by(*columns[:2])):
                try:
                    read(row)
                except DamagedRun as error:
                    found.append(str(error))
        for id, done, count in connection.execute(_with_gaps()):
            found.append(
                f"run {shown_id(id)} lacks epochs: it has {count} instead of 0 to {done}; the command that trained it"
                f" trains it again, `ff delete {shown_id(id)}` deletes it"
            )
    return found


_ROWS: tuple[tuple[tuple[Column[Any], ...], Callable[[Sequence[Any]], object]], ...] = (
    (RUN_COLUMNS, readable),
    ((EPOCH.c.run_id, *EPOCH_COLUMNS), lambda row: epoch_metrics(row[0], row[1:])),
    ((TRACE.c.run_id, *TRACE_COLUMNS), lambda row: hour_trace(row[0], row[1:])),
)
"""The rows of runs, and what reads one."""


def _with_gaps() -> Select[Any]:
    """Select id, epochs done and number of epochs of each run that lacks epochs. A run that has just begun has none."""
    count, first, last = func.count(EPOCH.c.epoch), func.min(EPOCH.c.epoch), func.max(EPOCH.c.epoch)
    whole = or_(
        and_(count == 0, RUN.c.epochs_done == 0),
        and_(first == 0, last == RUN.c.epochs_done, count == RUN.c.epochs_done + 1),
    )
    epochs = select(RUN.c.id, RUN.c.epochs_done, count).outerjoin(EPOCH, EPOCH.c.run_id == RUN.c.id)
    return epochs.group_by(RUN.c.id).having(not_(func.coalesce(whole, False))).order_by(RUN.c.id)


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
    for each in (path, target):
        _remove_unfinished_copies(each)
    with translated(path):
        stored_revision(path, read_only=not is_writable(path), timeout=timeout)
        copy_database(path, target, timeout=timeout)
    return target


def _remove_unfinished_copies(path: Path) -> None:
    """Remove what killed processes left of copies of a database to `path`, or to backups that are named after it."""
    remove_stale(path.parent, f"{escape(path.name)}.*{'[0-9a-f]' * 32}{TEMPORARY}*")


def prune(store: Store, *, superseded: bool = True, dry_run: bool = False) -> Freed:
    """Free space, and return what was deleted.

    Deletes the full states of completed runs, unfinished files and backups of processes that were killed, and the files
    of deleted runs. Keeps weights, and damaged files that were set aside.

    Args:
        store: the database.
        superseded: whether superseded runs are deleted too, with their files.
        dry_run: whether to delete nothing, and only return what would be deleted.

    Raises:
        BadDatabase: if the database is read-only.
    """
    if not dry_run:
        _remove_unfinished_copies(store.path)
        remove_stale(store.path.parent, f"{escape(states.states_folder(store).name)}.????????{TEMPORARY}")
    gone: set[str] = set()
    if superseded:
        with reading(store) if dry_run else writing(store) as connection:
            gone = set(connection.scalars(select(RUN.c.id).where(RUN.c.status == "superseded")))
            if not dry_run:
                connection.execute(delete(RUN).where(RUN.c.status == "superseded"))
    # After the commit, so that no run is without its files if the process is killed; but with the lock, so that no
    # process claims a run meanwhile.
    with reading(store) if dry_run else writing(store) as connection:
        sizes = _useless_files(store, connection, gone)
        by_run: dict[str, int] = {}
        for path, size in sizes.items():
            by_run[states.run_of(path)] = by_run.get(states.run_of(path), 0) + size
        freed = sum(sizes.values()) if dry_run else states.remove(sizes)
    return Freed(len(gone), len(sizes), freed, by_run)


def drop_state(store: Store, run_id: str) -> None:
    """Delete the state of a completed run; nothing happens if another process trains it further meanwhile.

    Raises:
        BadDatabase: if the database is read-only.
        StoreBusy: if another process holds its lock for too long.
    """
    with writing(store) as connection:
        if connection.scalar(select(RUN.c.status).where(RUN.c.id == run_id)) == "completed":
            states.remove([states.state_path(store, run_id)])


def limit_states(store: Store, budget: int) -> None:
    """Delete states that were saved as disposable, the oldest first, until those of completed runs fit the budget.

    On a small disk they get less: at most one tenth of the space that is free or theirs (`DISK_SHARE`).

    Args:
        store: the database.
        budget: bytes.

    Raises:
        BadDatabase: if the database is read-only.
        StoreBusy: if another process holds its lock for too long.
    """
    held = _sizes([path for path in states.all_files(store) if states.is_full_state(path)])
    total = sum(held.values())
    limit = min(budget, (total + shutil.disk_usage(store.path.parent).free) // DISK_SHARE)
    if total <= limit:
        return
    # With the lock, so that no process claims a run whose state is being deleted.
    with writing(store) as connection:
        ended = select(RUN.c.id).where(RUN.c.status.in_(("completed", "superseded")))
        ids = set(connection.scalars(ended))
        held = {path: held[path] for path in held if states.run_of(path) in ids and states.is_disposable(path)}
        total = sum(held.values())
        for path in sorted(held, key=states.saved_at):
            if total <= limit:
                return
            states.remove([path])
            total -= held[path]


def _useless_files(store: Store, connection: Connection, gone: Collection[str]) -> dict[Path, int]:
    """The files that `prune` deletes with their sizes; `gone`: the runs that it deletes."""
    status: dict[str, Status] = {row.id: row.status for row in connection.execute(select(RUN.c.id, RUN.c.status))}
    running = connection.execute(select(*RUN_COLUMNS).where(RUN.c.status == "running"))
    status |= {run.id: run.status for run in run_records(running, utc_now(), skipped=lambda _: None)}
    status = {id: status[id] for id in status.keys() - gone}
    return _sizes(
        [
            path
            for path in states.all_files(store)
            if _is_useless(path, status.get(states.run_of(path)))
            and (states.run_of(path) in status or not shares_folder(store.path))
        ]
    )


def _sizes(paths: Collection[Path]) -> dict[Path, int]:
    """The sizes of files in bytes, without those that another process deleted."""
    sizes = {}
    for path in paths:
        with suppress(FileNotFoundError):
            sizes[path] = path.stat().st_size
    return sizes


def _is_useless(path: Path, status: Status | None) -> bool:
    """Whether a file is not needed, given the status of its run; None if there is no such run."""
    if status is None or (status == "completed" and states.is_full_state(path)):
        return True
    return states.is_temporary(path) and status != "running"
