"""One process trains a run: it claims the run, records epochs under its claim, and ends it.

A claim is a token in the run's row. Whoever takes a run over writes another token, so that a process that slept, was
given up and wakes again cannot write: each update asks for its own token and a running row, and finding none raises
ClaimLost. Every function here is one transaction that begins IMMEDIATE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, RunBusy
from ffcli.records import SHORT, EpochMetrics, HourTrace, Provenance
from ffcli.store.database import Store, writing
from ffcli.store.liveness import Owner, abandoned, utc_now
from ffcli.store.mapping import config_columns, epoch_row
from ffcli.store.tables import IS_CURRENT, Epoch, Run
from ffcli.store.traces import drop_phases, write_trace


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one run."""

    run_id: str
    token: str
    taken_over: bool
    """Whether the run was there before: it may have epochs and a saved state."""
    epochs_done: int


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
    """Claim the run under `config.key`: its current row, which is taken over, or a new one.

    The epochs asked for become `config.epochs`, or what is there already; name, tags and note are replaced only where
    given. `force` leaves the current row as superseded and begins anew. Raises RunBusy while another process trains
    the run.
    """
    with writing(store) as session:
        now = utc_now()
        _reap(session, now)
        run = session.scalar(select(Run).where(Run.key == config.key, IS_CURRENT))
        if run is not None and run.status == "running":
            raise RunBusy(_busy(run))
        if run is not None and force:
            run.status = "superseded"
            session.flush()
            run = None
        taken_over = run is not None
        if run is None:
            run = _new_run(config, now)
            session.add(run)
        else:
            run.epochs_requested = max(config.epochs, run.epochs_done)
            run.config = run.config.model_copy(update={"epochs": run.epochs_requested})
        run.name, run.tags, run.note = name or run.name, tuple(tags) or run.tags, note or run.note
        run.host, run.pid, run.pid_started = owner.host, owner.pid, owner.pid_started
        run.status, run.token, run.heartbeat, run.ended, run.failure = "running", uuid4().hex, now, None, None
        return Claim(run.id, run.token, taken_over, run.epochs_done)


def heartbeat(store: Store, claim: Claim) -> None:
    """Say that the run is still being trained. Raises ClaimLost."""
    with writing(store) as session:
        _update(session, claim)


def record_epoch(store: Store, claim: Claim, metrics: EpochMetrics, trace: Sequence[HourTrace] = ()) -> None:
    """Commit an epoch, and with it what was traced in it and the run's accuracies, seconds and heartbeat. An epoch or
    a traced hour recorded before is replaced.

    Raises ClaimLost, and then nothing is written.
    """
    with writing(store) as session:
        _update(session, claim)
        session.merge(epoch_row(claim.run_id, metrics))
        write_trace(session, claim.run_id, trace)
        aggregate(session, claim.run_id)


def add_provenance(store: Store, claim: Claim, provenance: Provenance) -> None:
    """Note where a stretch is trained; it replaces those that began no earlier. Raises ClaimLost."""
    with writing(store) as session:
        _update(session, claim)
        run = session.get_one(Run, claim.run_id)
        kept = (stretch for stretch in run.provenance if stretch.from_epoch < provenance.from_epoch)
        run.provenance = (*kept, provenance)


def finish(store: Store, claim: Claim, *, untraced: Collection[int] = ()) -> None:
    """Mark the run as completed, drop the trace of the phases `untraced`, and give the claim up. Raises ClaimLost, as
    the next two do."""
    _end(store, claim, "completed", None, untraced)


def interrupt(store: Store, claim: Claim, reason: str) -> None:
    """Mark the run as interrupted, for the next call to continue."""
    _end(store, claim, "interrupted", reason)


def fail(store: Store, claim: Claim, reason: str) -> None:
    """Mark the run as failed."""
    _end(store, claim, "failed", reason)


def _end(store: Store, claim: Claim, status: str, reason: str | None, untraced: Collection[int] = ()) -> None:
    with writing(store) as session:
        _update(session, claim, status=status, failure=reason, ended=utc_now(), token=None)
        drop_phases(session, claim.run_id, untraced)


def _update(session: Session, claim: Claim, **values: Any) -> None:
    """Renew the heartbeat, with `values`, if the claim still holds. Raises ClaimLost if it does not."""
    held = (Run.id == claim.run_id, Run.token == claim.token, Run.status == "running")
    result = session.execute(update(Run).where(*held).values(heartbeat=utc_now(), **values))
    assert isinstance(result, CursorResult)
    if result.rowcount == 0:
        raise ClaimLost(
            f"run {claim.run_id[:SHORT]} was given up while this process slept, and is no longer its to write"
        )


def aggregate(session: Session, run_id: str) -> None:
    """Renew what the run's row says of its epochs (as `records.best_accuracy` and its fields define it)."""
    mine = Epoch.run_id == run_id
    trained = (mine, Epoch.epoch > 0, Epoch.accuracy.is_not(None))
    choice = func.coalesce(Epoch.validation_accuracy, Epoch.accuracy)
    last = select(func.coalesce(func.max(Epoch.epoch), 0)).where(mine).scalar_subquery()
    session.execute(
        update(Run)
        .where(Run.id == run_id)
        .values(
            epochs_done=last,
            best_accuracy=select(Epoch.accuracy)
            .where(*trained)
            .order_by(choice.desc(), Epoch.epoch)
            .limit(1)
            .scalar_subquery(),
            final_accuracy=select(Epoch.accuracy).where(*trained, Epoch.epoch == last).scalar_subquery(),
            seconds=select(func.coalesce(func.sum(Epoch.seconds), 0.0)).where(mine).scalar_subquery(),
        )
        .execution_options(synchronize_session=False)
    )


def _reap(session: Session, now: datetime) -> None:
    """Give up the running rows that nobody trains any more."""
    columns = (Run.id, Run.token, Run.heartbeat, Run.host, Run.pid, Run.pid_started)
    for id, token, heartbeat, host, pid, started in session.execute(
        select(*columns).where(Run.status == "running")
    ).all():
        if end := abandoned(Owner(host, pid, started), heartbeat, now):
            session.execute(
                update(Run)
                .where(Run.id == id, Run.token == token, Run.status == "running")
                .values(status=end[0], failure=end[1], ended=heartbeat, token=None)
            )


def _new_run(config: RunConfig, now: datetime) -> Run:
    return Run(
        id=uuid4().hex, key=config.key, **config_columns(config), tags=(), provenance=(), started=now, epochs_done=0,
        seconds=0.0,
    )  # fmt: skip


def _busy(run: Run) -> str:
    since = run.started.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"run {run.id[:SHORT]} is being trained by process {run.pid} on {run.host} (since {since}, now at epoch"
        f" {run.epochs_done} of {run.epochs_requested}): wait for it, or stop that process"
    )
