"""Taking in a colleague's database: runs, epochs, traces, states and weights. Nothing that either side has is lost.

Of two runs under one key the one with more epochs is the current one (on a tie ours), the other is superseded. A run
that both databases have, since they were merged before, is one run with the epochs of both: its key decides the
trajectory, so that an epoch is the same wherever it was trained. What changes in the database is one transaction.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from ffcli.choices import Status
from ffcli.errors import BadDatabase, DamagedState
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord
from ffcli.store import states
from ffcli.store.claims import aggregate
from ffcli.store.database import Store, open_store, reading, writing
from ffcli.store.liveness import utc_now
from ffcli.store.location import database_path
from ffcli.store.mapping import RUN_COLUMNS, epochs_by_run, run_record, write_epoch
from ffcli.store.migrate import HEAD, look, refuse_newer, revisions
from ffcli.store.sqlite import copy_database, is_writable, translated
from ffcli.store.tables import EPOCH, RUN
from ffcli.store.traces import take_trace


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge did, or would do."""

    taken: int
    """Runs that were not here."""
    extended: int
    """Runs that were here and gained epochs, figures of epochs, or traced hours."""
    already_here: int
    """Runs that were here with all that they have there."""
    left_out: int
    """Runs whose key is being trained here just now."""
    superseded: int
    """Runs of either side that gave way to a longer one."""
    epochs: int
    """Epochs that were not here."""
    files: int
    """States and weights copied."""
    notices: tuple[str, ...]
    """What was left out, and why: a line each."""


def merge(store: Store, other: str | Path, *, dry_run: bool = False) -> Merged:
    """Take in the runs of the database `other`, which is only read. To merge it again changes nothing.

    Its states and weights, where they lie beside it, are copied after their digests are checked: one that is damaged is
    left out. Files follow the transaction: where they fail, merging again brings them.

    Raises BadDatabase (no database, of another program, newer than this one, `store` itself or read-only), StoreBusy,
    StorageFull.
    """
    counts: Counter[str] = Counter()
    with _snapshot(other, store) as theirs:
        with reading(theirs) as source, writing(store) as connection:
            seen, notices = _take_runs(connection, source, counts)
            if dry_run:
                connection.rollback()
        for run in seen:
            notices += _take_files(store, theirs, run, counts, dry_run=dry_run)
    names = ("taken", "extended", "already_here", "left_out", "superseded", "epochs", "files")
    return Merged(**{name: counts[name] for name in names}, notices=tuple(notices))


@contextmanager
def _snapshot(other: str | Path, ours: Store) -> Iterator[Store]:
    """A copy of the database as it is now, at head, that knows the place of the files beside the original."""
    path = database_path(other)
    if not path.is_file():
        raise BadDatabase(f"there is no database {path}: give the one whose runs are to be taken in")
    if ours.path.exists() and path.samefile(ours.path):
        raise BadDatabase(f"{path} is the database to merge into: give another one to take in")
    with tempfile.TemporaryDirectory(prefix="ffcli-merge-") as folder:
        copy = Path(folder) / path.name
        with translated(path):
            revision = look(path, read_only=not is_writable(path))
            if revision != HEAD:
                refuse_newer(path, revision, revisions())
            copy_database(path, copy)
        with open_store(copy) as opened:
            yield replace(opened, path=path, read_only=True)


def _take_runs(connection: Connection, source: Connection, counts: Counter[str]) -> tuple[list[RunRecord], list[str]]:
    """Bring all runs of `source` into `connection`; returns those that are here now, as they are there, and notices."""
    here = {run.id: run for run in _records(connection)}
    current = {run.key: run for run in here.values() if run.status != "superseded"}
    seen, notices = [], []
    for run in map(_not_running, _records(source)):
        mine, rival = here.get(run.id), current.get(run.key)
        if mine is not None and mine.key != run.key:
            raise BadDatabase(
                f"run {run.id[:ID_DIGITS]} is another run here than there: the databases do not go together"
            )
        if rival is not None and rival.status == "running":
            counts["left_out"] += 1
            notices.append(
                f"run {run.id[:ID_DIGITS]} is left out: {rival.id[:ID_DIGITS]} of the same key is being trained here"
            )
            continue
        status = _status_here(run, mine, rival)
        if status != "superseded" and rival is not None and rival.id != run.id:
            connection.execute(update(RUN).where(RUN.c.id == rival.id).values(status="superseded"))
            counts["superseded"] += 1
        if mine is None:
            _insert(connection, source, run, status, counts)
        else:
            _extend(connection, source, run, mine, status, counts)
        if status != "superseded" and (mine is None or run.epochs_done > mine.epochs_done):
            current[run.key] = run
        seen.append(run)
    return seen, notices


def _records(connection: Connection) -> list[RunRecord]:
    """All runs, as they are to be seen now, oldest first."""
    now = utc_now()
    return [run_record(row, now) for row in connection.execute(select(*RUN_COLUMNS).order_by(RUN.c.started, RUN.c.id))]


def _not_running(run: RunRecord) -> RunRecord:
    """Whoever trains it there does not train what is here."""
    if run.status != "running":
        return run
    return replace(run, status="interrupted", failure="taken in while it was being trained", ended=run.heartbeat)


def _status_here(run: RunRecord, mine: RunRecord | None, rival: RunRecord | None) -> Status:
    """The status that a run of theirs gets. `mine`: the same run here; `rival`: the current one here under its key."""
    if mine is not None and run.epochs_done <= mine.epochs_done:
        return mine.status
    if mine is not None and mine is rival and run.status == "superseded":
        return "completed" if run.epochs_done >= run.config.epochs else "interrupted"
    if mine is not None and mine is rival:
        return run.status
    return "superseded" if rival is not None and run.epochs_done <= rival.epochs_done else run.status


def _insert(connection: Connection, source: Connection, run: RunRecord, status: Status, counts: Counter[str]) -> None:
    gone = {"status": status, "failure": run.failure, "ended": run.ended, "token": None}
    connection.execute(insert(RUN), [_row(source, run.id) | gone])
    rows = source.execute(select(EPOCH).where(EPOCH.c.run_id == run.id))
    if epochs := [row._asdict() for row in rows]:
        connection.execute(insert(EPOCH), epochs)
    take_trace(connection, source, run.id)
    counts["taken"] += 1
    counts["epochs"] += len(epochs)
    counts["superseded"] += status == "superseded" != run.status


def _extend(
    connection: Connection, source: Connection, run: RunRecord, mine: RunRecord, status: Status, counts: Counter[str]
) -> None:
    """Add the epochs, figures of epochs and traced hours that are missing here; the longer one says how it ended, and
    where it was trained."""
    known = {epoch.epoch: epoch for epoch in epochs_by_run(connection, [run.id])[run.id]}
    gained = [epoch for epoch in epochs_by_run(source, [run.id])[run.id] if _adds(known.get(epoch.epoch), epoch)]
    for epoch in gained:
        write_epoch(connection, run.id, _joined(known.get(epoch.epoch), epoch))
    if run.epochs_done > mine.epochs_done:
        theirs = _row(source, run.id)
        names = ("config", "epochs_requested", "provenance", "heartbeat", "host", "pid", "pid_started")
        labels = {
            "name": mine.name or run.name,
            "tags": tuple(dict.fromkeys((*mine.tags, *run.tags))),
            "note": mine.note or run.note,
        }
        ending = {"status": status, "failure": run.failure, "ended": run.ended, "token": None}
        values = {name: theirs[name] for name in names} | labels | ending
        connection.execute(update(RUN).where(RUN.c.id == run.id).values(**values))
    if gained:
        aggregate(connection, run.id)
    traced = take_trace(connection, source, run.id)
    counts["extended" if gained or traced else "already_here"] += 1
    counts["epochs"] += sum(epoch.epoch not in known for epoch in gained)


def _row(source: Connection, id: str) -> dict[str, Any]:
    return source.execute(select(RUN).where(RUN.c.id == id)).one()._asdict()


def _adds(mine: EpochMetrics | None, theirs: EpochMetrics) -> bool:
    return mine is None or _joined(mine, theirs) != mine


def _joined(mine: EpochMetrics | None, theirs: EpochMetrics) -> EpochMetrics:
    """One epoch: what was measured here, and there what was not measured here."""
    if mine is None:
        return theirs
    missing = [name for name in EpochMetrics.__slots__ if getattr(mine, name) is None]
    return replace(mine, **{name: getattr(theirs, name) for name in missing})


def _take_files(store: Store, theirs: Store, run: RunRecord, counts: Counter[str], *, dry_run: bool) -> list[str]:
    """Copy the run's state and weights where those here are missing or of an earlier epoch; returns notices."""
    notices = []
    for place in (states.state_path, states.weights_path):
        source, target = place(theirs, run.id), place(store, run.id)
        if not source.exists() or _is_as_late(target, source):
            continue
        try:
            tensors, metadata = states.load(source, key=run.key)
        except DamagedState as error:
            notices.append(f"{error}: it is left out")
            continue
        key, epoch = metadata.pop("key"), int(metadata.pop("epoch"))
        if epoch > run.epochs_done:
            # It would continue behind epochs that are not here.
            notices.append(f"{source} was written during the merge: merge again to take it in")
            continue
        if not dry_run:
            if target.exists() and states.saved_epoch(target) is None:
                states.set_aside(target)
            states.save(target, tensors, metadata, key=key, epoch=epoch)
        counts["files"] += 1
    return notices


def _is_as_late(target: Path, source: Path) -> bool:
    here, there = states.saved_epoch(target), states.saved_epoch(source)
    return here is not None and there is not None and here >= there
