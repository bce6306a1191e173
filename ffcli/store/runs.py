"""Looking runs up, listing and deleting them. Reading changes nothing: a run whose process is gone is shown as
interrupted or stale, and marked so by the next claim."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, Text, func, select, type_coerce
from sqlalchemy import delete as delete_rows

from ffcli.choices import Status
from ffcli.errors import BadOption, DamagedRun, NoSuchRun, RunBusy
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord
from ffcli.store import states
from ffcli.store.database import Store, reading, writing
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, collector_paused, epochs_by_run, run_record
from ffcli.store.tables import IS_CURRENT, RUN
from ffcli.text import unknown

BATCH_ROWS = 500
"""Rows, or ids in a condition, that one statement reads."""

STATUSES: tuple[Status, ...] = get_args(Status)

_NEWEST = (RUN.c.started.desc(), RUN.c.id.desc())
_ORDERS: dict[str, tuple[ColumnElement[Any], ...]] = {
    "started": _NEWEST,
    "oldest": (RUN.c.started.asc(), RUN.c.id.asc()),
    "best": (RUN.c.best_accuracy.desc().nulls_last(), *_NEWEST),
    "final": (RUN.c.final_accuracy.desc().nulls_last(), *_NEWEST),
    "epochs": (RUN.c.epochs_done.desc(), *_NEWEST),
    "seconds": (RUN.c.seconds.desc(), *_NEWEST),
    "dataset": (RUN.c.dataset.asc(), *_NEWEST),
}
SORTS = tuple(_ORDERS)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs to list, and how. None asks for nothing; 0 hours of a phase are the unseparated runs."""

    dataset: str | None = None
    negatives: str | None = None
    status: str | None = None
    pos_phase: int | None = None
    neg_phase: int | None = None
    preset: str | None = None
    cure: str | None = None
    """As `config.Cure` is written: `none`, `gradient-memory`, `replay:512`."""
    tag: str | None = None
    since: datetime | None = None
    """Started then or later; aware."""
    include_superseded: bool = False
    sort: str = "started"
    """One of SORTS; the newest first among equals."""
    limit: int | None = None


def find(store: Store, key: str) -> RunRecord | None:
    """The current run under a key, if there is one."""
    with reading(store) as connection:
        row = connection.execute(select(*RUN_COLUMNS).where(RUN.c.key == key, IS_CURRENT)).one_or_none()
        return None if row is None else run_record(row, utc_now())


def get(store: Store, prefix: str) -> RunRecord:
    """The run whose id begins with `prefix`. Raises NoSuchRun where none does, or more than one, and DamagedRun."""
    with reading(store) as connection:
        return _record(connection, _whole_id(connection, prefix))


def whole_id(store: Store, prefix: str) -> str:
    """The id that begins with `prefix`, of a damaged run too. Raises NoSuchRun where none does, or more than one."""
    with reading(store) as connection:
        return _whole_id(connection, prefix)


def epochs(store: Store, run_id: str) -> list[EpochMetrics]:
    """All epochs of a run, in order. `run_id` is the whole id."""
    with reading(store) as connection:
        return epochs_by_run(connection, [run_id])[run_id]


def list_runs(store: Store, filters: Filters | None = None) -> list[RunRecord]:
    """The runs that pass the filters. Raises BadOption for a status or sort key that does not exist."""
    filters = filters or Filters()
    with collector_paused(), reading(store) as connection:
        return list(islice(_matching(connection, filters), filters.limit))


def short_ids(store: Store, ids: Iterable[str]) -> dict[str, str]:
    """For each id its shortest prefix, of at least ID_DIGITS digits, that no other run in the store shares."""
    short = {id: id[:ID_DIGITS] for id in ids}
    with reading(store) as connection:
        for some in chunks(short):
            for id, *neighbours in connection.execute(neighbours_of(some)):
                shared = max(_shared(id, other or "") for other in neighbours)
                short[id] = id[: max(ID_DIGITS, shared + 1)]
    return short


def delete(store: Store, prefix: str) -> str:
    """Delete a run, be it damaged, with its epochs, state and weights. Returns its id.

    Raises NoSuchRun, and RunBusy where a process is training it.
    """
    with writing(store) as connection:
        id = _whole_id(connection, prefix)
        with suppress(DamagedRun):
            if _record(connection, id).status == "running":
                raise RunBusy(f"run {id[:ID_DIGITS]} is being trained: stop that first")
        connection.execute(delete_rows(RUN).where(RUN.c.id == id))
        states.remove(states.files_of(store, id))
        return id


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """`ids`, BATCH_ROWS at a time."""
    left = iter(ids)
    while some := list(islice(left, BATCH_ROWS)):
        yield some


def neighbours_of(ids: list[str]) -> Select[Any]:
    """Each id with the one before and the one after it in the store: no other shares a longer prefix."""
    other = RUN.alias().c
    before = select(func.max(other.id)).where(other.id < RUN.c.id).scalar_subquery()
    after = select(func.min(other.id)).where(other.id > RUN.c.id).scalar_subquery()
    return select(RUN.c.id, before, after).where(RUN.c.id.in_(ids))


def _shared(one: str, other: str) -> int:
    """How many digits two different ids begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _record(connection: Connection, id: str) -> RunRecord:
    return run_record(connection.execute(select(*RUN_COLUMNS).where(RUN.c.id == id)).one(), utc_now())


def _whole_id(connection: Connection, prefix: str) -> str:
    wanted = prefix.strip().lower()
    if not re.fullmatch("[0-9a-f]{1,32}", wanted):
        raise NoSuchRun(f"'{prefix}' is no run id: ids are hex digits, and `ff list-runs` shows them")
    id = RUN.c.id
    # 'g' follows every hex digit: a range, which an index serves, where LIKE would be a scan.
    ids = connection.scalars(select(id).where(id >= wanted, id < wanted + "g").order_by(id)).all()
    if len(ids) > 1:
        shown = ", ".join(one[: max(len(wanted) + 3, ID_DIGITS)] for one in ids[:5])
        raise NoSuchRun(
            f"'{prefix}' begins the ids of {len(ids)} runs ({shown}{', ...' if ids[5:] else ''}): give more"
        )
    if not ids:
        known = [one[: len(wanted)] for one in connection.scalars(select(id))]
        near = difflib.get_close_matches(wanted, known, n=1)
        guess = f" did you mean '{near[0]}'?" if near else ""
        raise NoSuchRun(f"there is no run '{prefix}':{guess} `ff list-runs --all` shows all")
    whole: str = ids[0]
    return whole


def _matching(connection: Connection, filters: Filters) -> Iterator[RunRecord]:
    """Records that pass, in order. Status and tag are looked at here: the first depends on which processes live, the
    second is one of a list. Rows come as they are asked for, so that whoever has enough ends the reading."""
    now = utc_now()
    for row in connection.execute(statement(filters), execution_options={"yield_per": BATCH_ROWS}):
        record = run_record(row, now)
        if filters.status in (None, record.status) and (filters.tag is None or filters.tag in record.tags):
            yield record


def statement(filters: Filters) -> Select[Any]:
    """The rows among which the runs that pass are, in order; no others, and no more than asked for, unless status or
    tag is to be looked at."""
    if filters.status is not None and filters.status not in STATUSES:
        raise BadOption(unknown("status", filters.status, STATUSES))
    if filters.sort not in _ORDERS:
        raise BadOption(unknown("sort key", filters.sort, SORTS))
    rows = select(*RUN_COLUMNS).order_by(*_ORDERS[filters.sort])
    for column in ("dataset", "negatives", "pos_phase", "neg_phase", "preset"):
        wanted = getattr(filters, column)
        if wanted is not None:
            rows = rows.where(RUN.c[column] == wanted)
    if filters.cure is not None:
        cure = func.json_extract(type_coerce(RUN.c.config, Text), "$.cure")
        rows = rows.where(func.coalesce(cure, "none") == filters.cure)
    if filters.since is not None:
        rows = rows.where(RUN.c.started >= filters.since)
    if filters.tag is not None:
        written = json.dumps(filters.tag, ensure_ascii=False)
        rows = rows.where(type_coerce(RUN.c.tags, Text).contains(written, autoescape=True))
    if filters.status is not None:
        rows = rows.where(RUN.c.status.in_({filters.status, "running"}))
    elif not filters.include_superseded:
        rows = rows.where(IS_CURRENT)
    return rows.limit(filters.limit) if filters.status is None and filters.tag is None else rows
