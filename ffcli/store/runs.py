"""Look up, list, label and delete runs.

Reading changes nothing: a run whose process no longer exists is returned as interrupted or stale, and the next claim
marks it so in the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, get_args

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, func, or_, select, type_coerce, update
from sqlalchemy import delete as delete_rows

from ffcli.choices import NEWEST, Status
from ffcli.config import CUSTOM, WARMUP, RunConfig, all_presets, presets_named
from ffcli.errors import BadOption, DamagedRun, NoSuchRun, RunBusy
from ffcli.records import ID_DIGITS, EpochMetrics, RunRecord
from ffcli.settings import NO_CURE, PresetSettings
from ffcli.store import states
from ffcli.store.checks import shown_id
from ffcli.store.database import Store, reading, writing
from ffcli.store.liveness import utc_now
from ffcli.store.mapping import RUN_COLUMNS, Skipped, collector_paused, epochs_by_run, run_record, run_records
from ffcli.store.tables import IS_CURRENT, RUN
from ffcli.text import unknown

BATCH_ROWS = 500
"""Number of rows, or of ids in a condition, that one statement reads."""

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
    """Which runs to list, in which order. A filter that is None admits every run."""

    dataset: str | None = None
    negatives: str | None = None
    status: str | None = None
    pos_phase: int | None = None
    """Length of the positive phase in hours; 0 for unseparated runs."""
    preset: str | None = None
    """A name (`fast`, any version), a label (`fast@1`), or `custom`."""
    cure: str | None = None
    """As in `config.Cure`: `none`, `gradient-memory`, `replay:512`."""
    tag: str | None = None
    since: datetime | None = None
    """Only runs that started at this time (aware) or later."""
    include_superseded: bool = False
    sort: str = "started"
    """One of SORTS; equal runs are sorted newest first."""
    limit: int | None = None


def find(store: Store, key: str) -> RunRecord | None:
    """Return the run of a key that is not superseded; None if there is none.

    Raises:
        DamagedRun: if its row cannot be read.
    """
    with reading(store) as connection:
        row = connection.execute(select(*RUN_COLUMNS).where(RUN.c.key == key, IS_CURRENT)).one_or_none()
        return None if row is None else run_record(row, utc_now())


def get(store: Store, ref: str) -> RunRecord:
    """Return the run that `ref` names (see `whole_id`).

    Raises:
        NoSuchRun: if there is none, or more than one.
        DamagedRun: if its row cannot be read.
    """
    with reading(store) as connection:
        return _record(connection, _whole_id(connection, ref))


def whole_id(store: Store, ref: str) -> str:
    """Return the id of a run that a user names, also of a damaged run.

    Args:
        store: the database.
        ref: the first digits of its id; its name; or `last`, the run that started last and is not superseded. A name
            that several runs have names the one that is not superseded.

    Raises:
        NoSuchRun: if there is none, or more than one.
    """
    with reading(store) as connection:
        return _whole_id(connection, ref)


def epochs(store: Store, run_id: str) -> list[EpochMetrics]:
    """Return the epochs of a run, in order. `run_id` is the whole id."""
    with reading(store) as connection:
        return epochs_by_run(connection, [run_id])[run_id]


def list_runs(store: Store, filters: Filters | None = None, skipped: Skipped | None = None) -> list[RunRecord]:
    """Return the runs that the filters admit, in their order.

    Args:
        store: the database.
        filters: which runs, in which order; None for all that are not superseded.
        skipped: called for each row that cannot be read, which is left out; if None, such a row is an error.

    Raises:
        BadOption: if the status or the sort key is unknown.
        DamagedRun: if the row of one of these runs cannot be read and there is no `skipped`.
    """
    filters = filters or Filters()
    with collector_paused(), reading(store) as connection:
        return list(islice(_matching(connection, filters, skipped), filters.limit))


def short_ids(store: Store, ids: Iterable[str]) -> dict[str, str]:
    """Return the shortest prefix of each id, of at least ID_DIGITS digits, that no other stored run shares."""
    short = {id: id[:ID_DIGITS] for id in ids}
    with reading(store) as connection:
        for some in chunks(short):
            for id, *neighbours in connection.execute(_neighbours(some)):
                shared = max(_shared(id, other or "") for other in neighbours)
                short[id] = id[: max(ID_DIGITS, shared + 1)]
    return short


def edit(
    store: Store, ref: str, *, name: str | None = None, tags: Collection[str] | None = None, note: str | None = None
) -> RunRecord:
    """Replace the labels of a run that are given, and return the run. An empty text or collection removes a label.

    Raises:
        NoSuchRun: if there is no such run, or more than one.
        DamagedRun: if its row cannot be read.
        BadDatabase: if the database is read-only.
    """
    values: dict[str, Any] = {
        label: text or None for label, text in (("name", name), ("note", note)) if text is not None
    }
    if tags is not None:
        values["tags"] = tuple(dict.fromkeys(tags))
    with writing(store) as connection:
        id = _whole_id(connection, ref)
        if values:
            connection.execute(update(RUN).where(RUN.c.id == id).values(**values))
        return _record(connection, id)


def delete(store: Store, refs: Iterable[str]) -> list[str]:
    """Delete runs, also damaged ones, with their epochs, traces, states and weights: all of them, or none on an error.

    Args:
        store: the database.
        refs: the runs, as in `whole_id`.

    Returns:
        The whole ids, each once.

    Raises:
        NoSuchRun: if there is no such run, or more than one.
        RunBusy: if a process is training one of them.
        BadDatabase: if the database is read-only.
    """
    with writing(store) as connection:
        ids = list(dict.fromkeys(_whole_id(connection, ref) for ref in refs))
        for id in ids:
            with suppress(DamagedRun):
                if _record(connection, id).status == "running":
                    raise RunBusy(f"run {id[:ID_DIGITS]} is being trained: stop it first")
        for some in chunks(ids):
            connection.execute(delete_rows(RUN).where(RUN.c.id.in_(some)))
    # After the commit: files that a killed process leaves are deleted by `prune`, a run without its files would stay.
    states.remove(file for id in ids for file in states.files_of(store, id))
    return ids


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield lists of at most BATCH_ROWS ids."""
    left = iter(ids)
    while some := list(islice(left, BATCH_ROWS)):
        yield some


def _neighbours(ids: list[str]) -> Select[Any]:
    """Select each id with the stored ids before and after it: no other id shares a longer prefix with it."""
    other = RUN.alias().c
    before = select(func.max(other.id)).where(other.id < RUN.c.id).scalar_subquery()
    after = select(func.min(other.id)).where(other.id > RUN.c.id).scalar_subquery()
    return select(RUN.c.id, before, after).where(RUN.c.id.in_(ids))


def _shared(one: str, other: str) -> int:
    """Length of the common prefix of two different ids."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _record(connection: Connection, id: str) -> RunRecord:
    return run_record(connection.execute(select(*RUN_COLUMNS).where(RUN.c.id == id)).one(), utc_now())


def _whole_id(connection: Connection, ref: str) -> str:
    id, wanted = RUN.c.id, ref.strip()
    if wanted == NEWEST:
        newest = connection.scalar(select(id).where(IS_CURRENT).order_by(*_NEWEST).limit(1))
        if newest is None:
            raise NoSuchRun("there is no run yet: `ff train` makes one")
        return str(newest)
    digits = wanted.lower()
    beginning: list[str] = []
    if re.fullmatch("[0-9a-f]{1,32}", digits):
        # 'g' follows every hexadecimal digit: a range, for which SQLite uses an index, as it does not for LIKE.
        beginning = list(connection.scalars(select(id).where(id >= digits, id < digits + "g").order_by(id)))
    if beginning == [digits]:
        return digits
    named = list(connection.scalars(select(id).where(RUN.c.name == ref, IS_CURRENT).order_by(*_NEWEST)))
    if not named:
        named = list(connection.scalars(select(id).where(RUN.c.name == ref).order_by(*_NEWEST)))
    found = list(dict.fromkeys([*named, *beginning]))
    if not found:
        damaged = connection.scalars(select(id).where(id.op("NOT GLOB")("[0-9a-f]" * 32)))
        found = [one for one in damaged if shown_id(one) == ref]
    if len(found) > 1:
        length = ID_DIGITS if named else max(len(digits) + 3, ID_DIGITS)
        shown = ", ".join(one[:length] for one in found[:5]) + (", ..." if found[5:] else "")
        if not named:
            raise NoSuchRun(f"'{ref}' begins the ids of {len(found)} runs ({shown}): give more digits")
        how = "names or begins the id of" if beginning else "is the name of"
        raise NoSuchRun(f"'{ref}' {how} {len(found)} runs ({shown}): give an id")
    if not found:
        raise NoSuchRun(f"there is no run '{ref}': give an id, a name or {NEWEST}; `ff list-runs --all` shows all runs")
    whole: str = found[0]
    return whole


def _matching(connection: Connection, filters: Filters, skipped: Skipped | None) -> Iterator[RunRecord]:
    """Yield the runs that the filters admit, in order; rows are read only as far as the caller iterates.

    The status depends on which processes exist, so that it is compared here. The conditions on tags and presets in SQL
    admit more runs, so that they are repeated here.
    """
    rows = connection.execute(
        _statement(filters), execution_options={"yield_per": min(BATCH_ROWS, filters.limit or BATCH_ROWS)}
    )
    for record in run_records(rows, utc_now(), skipped):
        preset = record.config.preset
        if (
            filters.status in (None, record.status)
            and (filters.tag is None or filters.tag in record.tags)
            and filters.preset in (None, preset, preset.partition("@")[0])
        ):
            yield record


def _statement(filters: Filters) -> Select[Any]:
    """Select the rows that the filters admit, in order, without their limit. With a status, a tag or a preset it may
    select more rows than those."""
    if filters.status is not None and filters.status not in STATUSES:
        raise BadOption(unknown("status", filters.status, STATUSES))
    if filters.sort not in _ORDERS:
        raise BadOption(unknown("sort key", filters.sort, SORTS))
    rows = select(*RUN_COLUMNS).order_by(*_ORDERS[filters.sort])
    for column in ("dataset", "negatives", "pos_phase"):
        wanted = getattr(filters, column)
        if wanted is not None:
            rows = rows.where(RUN.c[column] == wanted)
    if filters.preset is not None:
        rows = rows.where(_has_preset(filters.preset))
    if filters.cure is not None:
        rows = rows.where(func.coalesce(_stored_setting("cure"), str(NO_CURE)) == filters.cure)
    if filters.since is not None:
        rows = rows.where(RUN.c.started >= filters.since)
    if filters.tag is not None:
        written = json.dumps(filters.tag, ensure_ascii=False)
        rows = rows.where(type_coerce(RUN.c.tags, Text).contains(written, autoescape=True))
    if filters.status is not None:
        rows = rows.where(RUN.c.status.in_({filters.status, "running"}))
    elif not filters.include_superseded:
        rows = rows.where(IS_CURRENT)
    return rows


def _has_preset(name: str) -> ColumnElement[bool]:
    """A run may have this preset: its settings, or its warm-up, which is that of automatic rates, are the preset's.

    A column with the preset would be out of date as soon as a preset is added.
    """
    wanted = all_presets() if name == CUSTOM else presets_named(name)
    fields = PresetSettings.model_fields
    matches = or_(*(and_(*(_setting(field) == getattr(preset, field) for field in fields)) for preset in wanted))
    return ~matches if name == CUSTOM else or_(matches, _setting("warmup") == WARMUP)


def _setting(name: str) -> ColumnElement[Any]:
    """A setting of a run's config; its default if the config was stored before this setting existed."""
    stored, field = _stored_setting(name), RunConfig.model_fields[name]
    return stored if field.is_required() else func.coalesce(stored, field.default)


def _stored_setting(name: str) -> ColumnElement[Any]:
    return func.json_extract(type_coerce(RUN.c.config, Text), f"$.{name}")
