"""One process trains a run: it claims the run, records epochs under its claim, and ends it.

A claim is a token in the run's row. Whoever takes a run over writes another token, so that a process that slept, was
given up and wakes again cannot write: each update asks for its own token and a running row, and finding none raises
ClaimLost. Every function here is one transaction that begins IMMEDIATE.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, CursorResult, func, insert, select, update

from ffcli.config import RunConfig
from ffcli.errors import ClaimLost, RunBusy
from ffcli.records import ID_DIGITS, EpochMetrics, HourTrace, Provenance, RunRecord
from ffcli.store.database import Store, writing
from ffcli.store.liveness import Owner, abandoned, utc_now
from ffcli.store.mapping import RUN_COLUMNS, config_columns, run_record, write_epoch
from ffcli.store.tables import EPOCH, IS_CURRENT, RUN
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
    with writing(store) as connection:
        now = utc_now()
        _reap(connection, now)
        here = connection.execute(select(*RUN_COLUMNS).where(RUN.c.key == config.key, IS_CURRENT)).one_or_none()
        if here is not None and here.status == "running":
            raise RunBusy(_busy(run_record(here, now), here.pid, here.host))
        if here is not None and force:
            connection.execute(update(RUN).where(RUN.c.id == here.id).values(status="superseded"))
            here = None
        if here is None:
            id, done, stored = uuid4().hex, 0, config
        else:
            id, done, stored = here.id, here.epochs_done, run_record(here, now).config
        token, epochs = uuid4().hex, max(config.epochs, done)
        values = {
            **_labels(name, tags, note),
            "config": stored.model_copy(update={"epochs": epochs}), "epochs_requested": epochs,
            "status": "running", "token": token, "heartbeat": now, "ended": None, "failure": None, **asdict(owner),
        }  # fmt: skip
        if here is None:
            connection.execute(insert(RUN).values(id=id, **(_new_run(config, now) | values)))
        else:
            connection.execute(update(RUN).where(RUN.c.id == id).values(**values))
        return Claim(id, token, taken_over=here is not None, epochs_done=done)


def relabel(store: Store, stored: RunRecord, *, name: str | None, tags: Sequence[str], note: str | None) -> RunRecord:
    """Give a run that is stored the labels that are given; what is not given stays as it is. Returns the run so."""
    if values := _labels(name, tags, note):
        with writing(store) as connection:
            connection.execute(update(RUN).where(RUN.c.id == stored.id).values(**values))
    return replace(stored, **values)


def heartbeat(store: Store, claim: Claim) -> None:
    """Say that the run is still being trained. Raises ClaimLost."""
    with writing(store) as connection:
        _update(connection, claim)


def record_epoch(store: Store, claim: Claim, metrics: EpochMetrics, trace: Sequence[HourTrace] = ()) -> None:
    """Commit an epoch, and with it what was traced in it and the run's accuracies, seconds and heartbeat. An epoch or
    a traced hour recorded before is replaced.

    Raises ClaimLost, and then nothing is written.
    """
    with writing(store) as connection:
        _update(connection, claim)
        write_epoch(connection, claim.run_id, metrics)
        write_trace(connection, claim.run_id, trace)
        aggregate(connection, claim.run_id)


def add_provenance(store: Store, claim: Claim, provenance: Provenance) -> None:
    """Note where a stretch is trained; it replaces those that began no earlier. Raises ClaimLost."""
    with writing(store) as connection:
        _update(connection, claim)
        mine = RUN.c.id == claim.run_id
        before = connection.execute(select(RUN.c.provenance).where(mine)).scalar_one()
        kept = (stretch for stretch in before if stretch.from_epoch < provenance.from_epoch)
        connection.execute(update(RUN).where(mine).values(provenance=(*kept, provenance)))


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
    with writing(store) as connection:
        _update(connection, claim, status=status, failure=reason, ended=utc_now(), token=None)
        drop_phases(connection, claim.run_id, untraced)


def _update(connection: Connection, claim: Claim, **values: Any) -> None:
    """Renew the heartbeat, with `values`, if the claim still holds. Raises ClaimLost if it does not."""
    held = (RUN.c.id == claim.run_id, RUN.c.token == claim.token, RUN.c.status == "running")
    result = connection.execute(update(RUN).where(*held).values(heartbeat=utc_now(), **values))
    assert isinstance(result, CursorResult)
    if result.rowcount == 0:
        raise ClaimLost(
            f"run {claim.run_id[:ID_DIGITS]} was given up while this process slept, and is no longer its to write"
        )


def aggregate(connection: Connection, run_id: str) -> None:
    """Renew what the run's row says of its epochs (as `records.best_accuracy` and its fields define it)."""
    mine = EPOCH.c.run_id == run_id
    trained = (mine, EPOCH.c.epoch > 0, EPOCH.c.accuracy.is_not(None))
    choice = func.coalesce(EPOCH.c.validation_accuracy, EPOCH.c.accuracy)
    last = select(func.coalesce(func.max(EPOCH.c.epoch), 0)).where(mine).scalar_subquery()
    connection.execute(
        update(RUN)
        .where(RUN.c.id == run_id)
        .values(
            epochs_done=last,
            best_accuracy=select(EPOCH.c.accuracy)
            .where(*trained)
            .order_by(choice.desc(), EPOCH.c.epoch)
            .limit(1)
            .scalar_subquery(),
            final_accuracy=select(EPOCH.c.accuracy).where(*trained, EPOCH.c.epoch == last).scalar_subquery(),
            seconds=select(func.coalesce(func.sum(EPOCH.c.seconds), 0.0)).where(mine).scalar_subquery(),
        )
    )


def _reap(connection: Connection, now: datetime) -> None:
    """Give up the running rows that nobody trains any more."""
    columns = (RUN.c.id, RUN.c.token, RUN.c.heartbeat, RUN.c.host, RUN.c.pid, RUN.c.pid_started)
    for id, token, heartbeat, host, pid, started in connection.execute(
        select(*columns).where(RUN.c.status == "running")
    ).all():
        if end := abandoned(Owner(host, pid, started), heartbeat, now):
            connection.execute(
                update(RUN)
                .where(RUN.c.id == id, RUN.c.token == token, RUN.c.status == "running")
                .values(status=end[0], failure=end[1], ended=heartbeat, token=None)
            )


def _labels(name: str | None, tags: Sequence[str], note: str | None) -> dict[str, Any]:
    return {label: value for label, value in (("name", name), ("tags", tuple(tags)), ("note", note)) if value}


def _new_run(config: RunConfig, now: datetime) -> dict[str, Any]:
    return {
        "key": config.key, **config_columns(config), "tags": (), "provenance": (), "started": now, "epochs_done": 0,
        "seconds": 0.0,
    }  # fmt: skip


def _busy(run: RunRecord, pid: int, host: str) -> str:
    since = run.started.astimezone().strftime("%Y-%m-%d %H:%M")
    return (
        f"run {run.id[:ID_DIGITS]} is being trained by process {pid} on {host} (since {since}, now at epoch"
        f" {run.epochs_done} of {run.config.epochs}): wait for it, or stop that process"
    )
