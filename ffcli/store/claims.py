"""One process trains a run: it claims the run, records epochs under its claim, and ends it.

A claim is a token in the run's row. A process that takes a run over writes a new token, so that a process that slept
too long cannot write when it wakes: every update requires the claim's own token and a running row, and raises
ClaimLost otherwise. Each function here is one transaction that begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, CursorResult, Update, bindparam, func, insert, or_, select, update

from ffcli.choices import FailureKind, Status
from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, RunBusy, RunStored
from ffcli.records import ID_DIGITS, EpochMetrics, HourTrace, Provenance, RunRecord
from ffcli.store.database import Store, writing
from ffcli.store.liveness import STALE_AFTER, Owner, utc_now
from ffcli.store.mapping import (
    RUN_COLUMNS,
    config_columns,
    epochs_by_run,
    is_complete,
    run_record,
    run_records,
    write_epochs,
)
from ffcli.store.tables import EPOCH, IS_CURRENT, RUN
from ffcli.store.traces import drop_phases, write_trace
from ffcli.text import local_time


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one run."""

    run_id: str
    token: str
    epochs_done: int
    """Epochs that the run had when it was claimed."""


def claim(
    store: Store,
    config: RunConfig,
    *,
    owner: Owner,
    name: str | None = None,
    tags: Sequence[str] = (),
    note: str | None = None,
    force: bool = False,
) -> Claim:
    """Claim the current run of `config.key`, or a new one if there is none.

    The run's requested epochs become `config.epochs`, but at least the number that it has already. Runs of processes
    that no longer exist are marked first.

    Args:
        store: the database.
        config: the run to train.
        owner: the process that will train it.
        name: replaces the run's name; None keeps it.
        tags: replace the run's tags; an empty sequence keeps them.
        note: replaces the run's note; None keeps it.
        force: mark the current run as superseded and claim a new one.

    Raises:
        RunBusy: if another process is training the run.
        RunStored: if nothing is left to train, because another process completed the run after the caller looked it up,
            or found that it diverges. Not with `force`.
        DamagedRun: if the run's row cannot be read; `force` supersedes it.
    """
    with writing(store) as connection:
        now = utc_now()
        _mark_abandoned(connection, owner, now)
        current = connection.execute(select(*RUN_COLUMNS).where(RUN.c.key == config.key, IS_CURRENT)).one_or_none()
        if current is not None and current.status == "running":
            raise RunBusy(_busy(run_record(current, now), current.pid, current.host))
        if current is not None and force:
            connection.execute(update(RUN).where(RUN.c.id == current.id).values(status="superseded"))
            current = None
        if current is None:
            id, done, stored = uuid4().hex, 0, config
        else:
            run = run_record(current, now)
            id, done, stored = run.id, run.epochs_done, run.config
            if run.diverged or is_complete(run, epochs_by_run(connection, [id])[id], config.epochs):
                raise RunStored(f"run {id[:ID_DIGITS]} ended in another process: `ff show {id[:ID_DIGITS]}` shows it")
        token, epochs = uuid4().hex, max(config.epochs, done)
        values = {
            **_labels(name, tags, note),
            "config": stored.model_copy(update={"epochs": epochs}), "epochs_requested": epochs,
            "status": "running", "token": token, "heartbeat": now, "ended": None, "failure": None,
            "failure_kind": None, **asdict(owner),
        }  # fmt: skip
        if current is None:
            connection.execute(insert(RUN).values(id=id, **(_new_run(config, now) | values)))
        else:
            connection.execute(update(RUN).where(RUN.c.id == id).values(**values))
        return Claim(id, token, epochs_done=done)


def relabel(store: Store, stored: RunRecord, *, name: str | None, tags: Sequence[str], note: str | None) -> RunRecord:
    """Replace the labels of a stored run that are given, and return the run with them."""
    if values := _labels(name, tags, note):
        with writing(store) as connection:
            connection.execute(update(RUN).where(RUN.c.id == stored.id).values(**values))
    return replace(stored, **values)


def heartbeat(store: Store, claim: Claim) -> None:
    """Record that the run is still being trained.

    Raises:
        ClaimLost: if another process took the run over.
    """
    with writing(store) as connection:
        _update(connection, claim)


def heartbeats(store: Store, held: Iterable[Claim]) -> None:
    """Record that runs are still being trained, in one transaction; lost claims are passed over."""
    with writing(store) as connection:
        for claim in held:
            with suppress(ClaimLost):
                _update(connection, claim)


def record_epoch(store: Store, claim: Claim, metrics: EpochMetrics, trace: Sequence[HourTrace] = ()) -> None:
    """Commit an epoch with its trace, and update the run's accuracies, seconds and heartbeat.

    An epoch or a traced hour that was recorded before is replaced.

    Args:
        store: the database.
        claim: the claim of the run.
        metrics: the epoch.
        trace: the hours that were traced in this epoch.

    Raises:
        ClaimLost: if another process took the run over; nothing is written then.
    """
    with writing(store) as connection:
        _update(connection, claim)
        write_epochs(connection, claim.run_id, [metrics])
        write_trace(connection, claim.run_id, trace)
        aggregate(connection, claim.run_id)


def record_epochs(store: Store, epochs: Sequence[tuple[Claim, EpochMetrics]]) -> set[Claim]:
    """Commit epochs of several runs in one transaction, as `record_epoch` does for one.

    Returns:
        The claims that were lost; nothing is written for their runs.
    """
    by_claim: dict[Claim, list[EpochMetrics]] = {}
    for claim, metrics in epochs:
        by_claim.setdefault(claim, []).append(metrics)
    lost: set[Claim] = set()
    with writing(store) as connection:
        for claim, of_run in by_claim.items():
            try:
                _update(connection, claim)
            except ClaimLost:
                lost.add(claim)
                continue
            write_epochs(connection, claim.run_id, of_run)
            aggregate(connection, claim.run_id)
    return lost


def add_provenance(store: Store, claim: Claim, provenance: Provenance) -> None:
    """Record where a stretch of the run is trained. It replaces the stretches that began at its epoch or later.

    Raises:
        ClaimLost: if another process took the run over.
    """
    with writing(store) as connection:
        _update(connection, claim)
        this_run = RUN.c.id == claim.run_id
        before = connection.execute(select(RUN.c.provenance).where(this_run)).scalar_one()
        kept = (stretch for stretch in before if stretch.from_epoch < provenance.from_epoch)
        connection.execute(update(RUN).where(this_run).values(provenance=(*kept, provenance)))


def finish(store: Store, claim: Claim, *, untraced: Collection[int] = ()) -> None:
    """Mark the run as completed and release the claim.

    Args:
        store: the database.
        claim: the claim of the run.
        untraced: phases (counted from 1) whose trace is deleted.

    Raises:
        ClaimLost: if another process took the run over.
    """
    _end(store, claim, "completed", None, None, untraced)


def interrupt(store: Store, claim: Claim, reason: str) -> None:
    """Mark the run as interrupted, so that the next request continues it, and release the claim.

    Raises:
        ClaimLost: if another process took the run over.
    """
    _end(store, claim, "interrupted", reason, None)


def fail(store: Store, claim: Claim, reason: str, kind: FailureKind) -> None:
    """Mark the run as failed and release the claim.

    Raises:
        ClaimLost: if another process took the run over.
    """
    _end(store, claim, "failed", reason, kind)


def _aggregation() -> Update:
    of_run = EPOCH.c.run_id == bindparam("this_run")
    trained = (of_run, EPOCH.c.epoch > 0, EPOCH.c.accuracy.is_not(None))
    choice = func.coalesce(EPOCH.c.validation_accuracy, EPOCH.c.accuracy)
    last = select(func.coalesce(func.max(EPOCH.c.epoch), 0)).where(of_run).scalar_subquery()
    return (
        update(RUN)
        .where(RUN.c.id == bindparam("this_run"))
        .values(
            epochs_done=last,
            best_accuracy=select(EPOCH.c.accuracy)
            .where(*trained)
            .order_by(choice.desc(), EPOCH.c.epoch)
            .limit(1)
            .scalar_subquery(),
            final_accuracy=select(EPOCH.c.accuracy).where(*trained, EPOCH.c.epoch == last).scalar_subquery(),
            seconds=select(func.coalesce(func.sum(EPOCH.c.seconds), 0.0)).where(of_run).scalar_subquery(),
        )
    )


_AGGREGATE = _aggregation()
_UPDATE = (
    update(RUN)
    .where(RUN.c.id == bindparam("this_run"), RUN.c.token == bindparam("held_token"), RUN.c.status == "running")
    .values(heartbeat=bindparam("now"))
)
"""These two are executed for each epoch. SQLAlchemy takes longer to make them than SQLite to execute them."""


def aggregate(connection: Connection, run_id: str) -> None:
    """Update the columns of a run that summarise its epochs (see `records.best_accuracy` and `RunRecord`)."""
    connection.execute(_AGGREGATE, {"this_run": run_id})


def _end(
    store: Store,
    claim: Claim,
    status: Status,
    reason: str | None,
    kind: FailureKind | None,
    untraced: Collection[int] = (),
) -> None:
    with writing(store) as connection:
        _update(connection, claim, status=status, failure=reason, failure_kind=kind, ended=utc_now(), token=None)
        drop_phases(connection, claim.run_id, untraced)


def _update(connection: Connection, claim: Claim, **values: Any) -> None:
    """Update the heartbeat and `values` of the claimed run. Raises ClaimLost."""
    held = {"this_run": claim.run_id, "held_token": claim.token, "now": utc_now()}
    result = connection.execute(_UPDATE.values(**values) if values else _UPDATE, held)
    assert isinstance(result, CursorResult)
    if result.rowcount == 0:
        raise ClaimLost(
            f"run {claim.run_id[:ID_DIGITS]} was given up because this process did not respond; another process may"
            " have taken it over"
        )


def _mark_abandoned(connection: Connection, owner: Owner, now: datetime) -> None:
    """Mark running rows whose process no longer trains them as interrupted or stale.

    Rows of `owner`, the process that claims a run, are read only if their heartbeat is old: a sweep has hundreds.
    """
    process = {"host": owner.host, "pid": owner.pid, "pid_started": owner.pid_started, "boot": owner.boot}
    doubtful = or_(
        RUN.c.heartbeat.is_(None),
        RUN.c.heartbeat < now - STALE_AFTER,
        *(RUN.c[name].is_distinct_from(value) for name, value in process.items()),
    )
    running = connection.execute(select(*RUN_COLUMNS).where(RUN.c.status == "running", doubtful)).all()
    for run in run_records(running, now, skipped=lambda _: None):
        if run.status != "running":
            ended = {"status": run.status, "failure": run.failure, "ended": run.ended, "token": None}
            connection.execute(update(RUN).where(RUN.c.id == run.id).values(**ended))


def _labels(name: str | None, tags: Sequence[str], note: str | None) -> dict[str, Any]:
    return {label: value for label, value in (("name", name), ("tags", tuple(tags)), ("note", note)) if value}


def _new_run(config: RunConfig, now: datetime) -> dict[str, Any]:
    return {
        "key": config.key, **config_columns(config), "tags": (), "provenance": (), "started": now, "epochs_done": 0,
        "seconds": 0.0,
    }  # fmt: skip


def _busy(run: RunRecord, pid: int, host: str) -> str:
    since = local_time(run.started)
    return (
        f"run {run.id[:ID_DIGITS]} is being trained by process {pid} on {host} (since {since}, now at epoch"
        f" {run.epochs_done} of {run.config.epochs}): wait for it, or stop that process"
    )
