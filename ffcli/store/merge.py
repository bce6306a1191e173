"""Merge another database into this one: runs, epochs, traces, states and weights. Nothing of either side is lost.

Of two runs with the same key the one with more epochs becomes the current one (this database's on a tie), and the
other is superseded. A run that is in both databases, because they were merged before, gets the epochs of both: the key
decides the trajectory, so that an epoch is the same wherever it was trained. All changes of the database are one
transaction.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ffcli.choices import Status
from ffcli.errors import BadDatabase, DamagedRun, DamagedState
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord
from ffcli.store import states
from ffcli.store.checks import shown_id
from ffcli.store.claims import aggregate
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.liveness import utc_now
from ffcli.store.location import database_path
from ffcli.store.mapping import RUN_COLUMNS, Skipped, epochs_by_run, run_records, write_epochs
from ffcli.store.migrate import HEAD, refuse_newer, revisions, stored_revision
from ffcli.store.sqlite import copy_database, is_writable, translated
from ffcli.store.tables import EPOCH, RUN
from ffcli.store.traces import add_trace, traces_by_run


@dataclass(frozen=True, slots=True)
class Merged:
    """The counts of a merge, or of a planned one."""

    taken: int
    """Runs that are new in this database."""
    extended: int
    """Runs of this database that gained epochs, measurements or traced hours."""
    already_here: int
    """Runs that gained nothing."""
    left_out: int
    """Runs whose key is being trained in this database at the moment, and runs that cannot be read on either side."""
    superseded: int
    """Runs of either side that a longer run superseded."""
    epochs: int
    """Epochs that are new in this database."""
    files: int
    """States and weights copied."""
    notices: tuple[str, ...]
    """One line for everything that was left out, with the reason."""


def merge(store: Store, other: str | Path, *, dry_run: bool = False) -> Merged:
    """Merge the runs of another database into `store`. Merging it again changes nothing.

    States and weights beside the other database are copied after the transaction, except damaged ones. If copying
    fails, another merge copies them.

    Args:
        store: the database that receives the runs.
        other: the other database (a path or SQLite URL), which is not changed.
        dry_run: count only, and change nothing.

    Raises:
        BadDatabase: if `other` is not a database of ffcli, is newer than this program or is `store` itself, or if
            `store` is read-only.
        StoreBusy: if another process holds the lock.
        StorageFull: if no space is left.
    """
    counts: Counter[str] = Counter()
    with _snapshot(other, store) as theirs:
        with reading(theirs) as source, writing(store) as connection:
            seen, notices = _merge_runs(connection, source, counts)
            if dry_run:
                connection.rollback()
        for run in seen:
            notices += _copy_files(store, theirs, run, counts, dry_run=dry_run)
    names = ("taken", "extended", "already_here", "left_out", "superseded", "epochs", "files")
    return Merged(**{name: counts[name] for name in names}, notices=tuple(notices))


@contextmanager
def _snapshot(other: str | Path, ours: Store) -> Iterator[Store]:
    """Yield an upgraded copy of a database, with the path of the original, beside which its states are."""
    path = database_path(other)
    if not path.is_file():
        raise BadDatabase(f"there is no database {path}: check the path")
    if ours.path.exists() and path.samefile(ours.path):
        raise BadDatabase(f"{path} is the database to merge into: give another database")
    with tempfile.TemporaryDirectory(prefix="ffcli-merge-") as folder:
        copy = Path(folder) / path.name
        with translated(path):
            revision = stored_revision(path, read_only=not is_writable(path))
            if revision != HEAD:
                refuse_newer(path, revision, revisions())
            copy_database(path, copy)
        with open_store(copy) as opened:
            yield replace(opened, path=path, read_only=True)


def _merge_runs(connection: Connection, source: Connection, counts: Counter[str]) -> tuple[list[RunRecord], list[str]]:
    """Merge all runs of `source`; return those that were not left out, as they are in `source`, and notices."""
    seen: list[RunRecord] = []
    notices: list[str] = []

    def left_out(what: object) -> None:
        counts["left_out"] += 1
        notices.append(f"left out: {what}")

    here = {run.id: run for run in _records(connection, skipped=lambda _: None)}
    current = {run.key: run for run in here.values() if run.status != "superseded"}
    unreadable = _unreadable(connection, here)
    for run in map(_not_running, _records(source, skipped=left_out)):
        if damaged := unreadable.get(run.id) or unreadable.get(run.key):
            left_out(f"run {run.id[:ID_DIGITS]}, because here {damaged}")
            continue
        try:
            epochs, trace = epochs_by_run(source, [run.id])[run.id], traces_by_run(source, [run.id])[run.id]
        except DamagedRun as error:
            left_out(error)
            continue
        mine, rival = here.get(run.id), current.get(run.key)
        if mine is not None and mine.key != run.key:
            raise BadDatabase(
                f"run {run.id[:ID_DIGITS]} is another run here than there: the databases do not go together"
            )
        if rival is not None and rival.status == "running":
            left_out(f"run {run.id[:ID_DIGITS]}, because run {rival.id[:ID_DIGITS]} with the same key is being trained")
            continue
        status = _status_here(run, mine, rival)
        if status != "superseded" and rival is not None and rival.id != run.id:
            connection.execute(update(RUN).where(RUN.c.id == rival.id).values(status="superseded"))
            counts["superseded"] += 1
        if mine is None:
            connection.execute(insert(RUN), [_row(source, run.id) | _end(run, status)])
            counts["superseded"] += status == "superseded" != run.status
        elif run.epochs_done > mine.epochs_done:
            _lengthen(connection, source, run, mine, status)
        gained = _add_epochs(connection, run.id, epochs, counts)
        traced = add_trace(connection, run.id, trace)
        counts["taken" if mine is None else "extended" if gained or traced else "already_here"] += 1
        if status != "superseded" and (mine is None or run.epochs_done > mine.epochs_done):
            current[run.key] = run
        seen.append(run)
    return seen, notices


def _records(connection: Connection, skipped: Skipped) -> list[RunRecord]:
    """All runs that can be read, oldest first."""
    rows = connection.execute(select(*RUN_COLUMNS).order_by(RUN.c.started, RUN.c.id))
    return list(run_records(rows, utc_now(), skipped))


def _unreadable(connection: Connection, here: Mapping[str, RunRecord]) -> dict[str, str]:
    """What to say about each run here that cannot be read, by its id and, unless it is superseded, by its key."""
    found = {}
    for id, key, status in connection.execute(select(RUN.c.id, RUN.c.key, RUN.c.status)):
        if id not in here:
            shown = shown_id(id)
            found[id] = f"run {shown} is damaged; `ff delete {shown}` deletes it, then merge again"
            if status != "superseded":
                found[key] = found[id]
    return found


def _not_running(run: RunRecord) -> RunRecord:
    """The run as interrupted if it is running: the process that trains it writes only to the other database."""
    if run.status != "running":
        return run
    return replace(run, status="interrupted", failure="merged while it was being trained", ended=run.heartbeat)


def _status_here(run: RunRecord, mine: RunRecord | None, rival: RunRecord | None) -> Status:
    """The status that their run gets. `mine`: the same run here; `rival`: the current run of its key here."""
    if mine is not None and run.epochs_done <= mine.epochs_done:
        return mine.status
    if mine is not None and mine is rival and run.status == "superseded":
        return "completed" if run.epochs_done >= run.config.epochs else "interrupted"
    if mine is not None and mine is rival:
        return run.status
    return "superseded" if rival is not None and run.epochs_done <= rival.epochs_done else run.status


def _lengthen(connection: Connection, source: Connection, run: RunRecord, mine: RunRecord, status: Status) -> None:
    """Give a run the status, provenance and owner that it has in `source`, where it is longer, and the labels of both
    sides."""
    theirs = _row(source, run.id)
    names = ("config", "epochs_requested", "provenance", "heartbeat", "host", "pid", "pid_started", "boot")
    labels = {
        "name": mine.name or run.name,
        "tags": tuple(dict.fromkeys((*mine.tags, *run.tags))),
        "note": mine.note or run.note,
    }
    values = {name: theirs[name] for name in names} | labels | _end(run, status)
    connection.execute(update(RUN).where(RUN.c.id == run.id).values(**values))


def _add_epochs(connection: Connection, id: str, epochs: list[EpochMetrics], counts: Counter[str]) -> bool:
    """Add the epochs and measurements that are missing here; return whether there were any."""
    known = {epoch.epoch: epoch for epoch in epochs_by_run(connection, [id])[id]}
    gained = [epoch for epoch in epochs if _adds(known.get(epoch.epoch), epoch)]
    new = [{"run_id": id, **asdict(epoch)} for epoch in gained if epoch.epoch not in known]
    if new:
        connection.execute(insert(EPOCH), new)
    write_epochs(connection, id, [_joined(known[epoch.epoch], epoch) for epoch in gained if epoch.epoch in known])
    if gained:
        aggregate(connection, id)
    counts["epochs"] += len(new)
    return bool(gained)


def _end(run: RunRecord, status: Status) -> dict[str, Any]:
    """The columns that say how the run ended."""
    ended = {"failure": run.failure, "failure_kind": run.failure_kind, "ended": run.ended}
    return {"status": status, "token": None, **ended}


def _row(source: Connection, id: str) -> dict[str, Any]:
    return source.execute(select(RUN).where(RUN.c.id == id)).one()._asdict()


def _adds(mine: EpochMetrics | None, theirs: EpochMetrics) -> bool:
    return mine is None or _joined(mine, theirs) != mine


def _joined(mine: EpochMetrics | None, theirs: EpochMetrics) -> EpochMetrics:
    """One epoch with the measurements of this side, and those of the other side that are missing here."""
    if mine is None:
        return theirs
    missing = [name for name in EpochMetrics.__slots__ if getattr(mine, name) is None]
    return replace(mine, **{name: getattr(theirs, name) for name in missing})


def _copy_files(store: Store, theirs: Store, run: RunRecord, counts: Counter[str], *, dry_run: bool) -> list[str]:
    """Copy the run's state and weights if those here are missing or of an earlier epoch; return notices."""
    notices = []
    for place in (states.state_path, states.weights_path):
        source, target = place(theirs, run.id), place(store, run.id)
        if not source.exists() or _is_as_late(target, source):
            continue
        try:
            tensors, epoch = states.load(source, key=run.key)
        except DamagedState as error:
            notices.append(f"{error}: it was left out")
            continue
        if epoch > run.epochs_done:
            # Continuing from it would leave a gap in the epochs.
            notices.append(f"{source} was written during the merge: merge again to copy it")
            continue
        if not dry_run:
            if target.exists() and states.saved_epoch(target) is None:
                states.set_aside(target)
            states.save(target, tensors, key=run.key, epoch=epoch, disposable=states.is_disposable(source))
        counts["files"] += 1
    return notices


def _is_as_late(target: Path, source: Path) -> bool:
    here, there = states.saved_epoch(target), states.saved_epoch(source)
    return here is not None and there is not None and here >= there
