"""Export runs with their epochs as CSV, JSON or Parquet.

CSV has one row per epoch, which repeats the settings of its run; a run without epochs has no row. Every number reads
back as the same number; a missing value is an empty field; text that a spreadsheet would read as a formula begins with
`'`. Parquet has the same columns with types, and text as it was stored. JSON has the names of `ff show --json`, and
the traces.
The text is produced piece by piece, so that the epochs of all runs are never in memory together.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ffcli.config import RunConfig
from ffcli.errors import MissingPackage
from ffcli.records import EpochMetrics, RunRecord, epoch_json, run_json
from ffcli.store.database import Store, reading
from ffcli.store.mapping import Skipped, epochs_by_run
from ffcli.store.runs import Filters, chunks, list_runs
from ffcli.store.traces import traces_by_run
from ffcli.text import csv_value

_FLATTENED = ("data", "negatives", "schedule", "seed", "hidden", "epochs")
"""Fields of the config that have columns of their own below, or none."""

_SETTINGS = [name for name in RunConfig.model_fields if name not in _FLATTENED]
"""Settings that have the same name in the config and in CSV."""

GROUP_ROWS = 10_000
"""Rows of a row group of Parquet at least, except in the last one."""

_BY_LAYER = ("goodness_positive", "goodness_negative", "dead_units")
_PLAIN = [name for name in EpochMetrics.__slots__ if name not in (*_BY_LAYER, "seconds")]


def as_csv(store: Store, filters: Filters, skipped: Skipped | None = None) -> Iterator[str]:
    """Yield the header, then the rows of one run at a time, in the order of `filters`.

    Raises:
        BadOption, DamagedRun: as `list_runs` does, which also explains `skipped`.
    """
    records = list_runs(store, filters, skipped)
    layers = max((len(run.config.hidden) for run in records), default=0)
    yield _lines([[*RUN_COLUMNS, *epoch_columns(layers)]])
    for run, epochs in _with(store, records, epochs_by_run):
        of_run = run_values(run)
        yield _lines([*of_run, *epoch_values(epoch, layers)] for epoch in epochs)


def as_json(store: Store, filters: Filters, skipped: Skipped | None = None) -> Iterator[str]:
    """Yield a JSON list of runs with epochs and traces, one run per line. Infinities and NaN become null.

    Raises:
        BadOption, DamagedRun: as `list_runs` does, which also explains `skipped`.
    """
    before = "[\n"
    for run, epochs, trace in _with(store, list_runs(store, filters, skipped), epochs_by_run, traces_by_run):
        epochs_json = [{name: _finite(value) for name, value in epoch_json(e).items()} for e in epochs]
        yield before + json.dumps(run_json(run) | {"epochs": epochs_json, "trace": [asdict(hour) for hour in trace]})
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def write_parquet(store: Store, filters: Filters, path: Path, skipped: Skipped | None = None) -> None:
    """Write the rows of CSV into a Parquet file.

    Raises:
        MissingPackage: if pyarrow is not installed.
        BadOption, DamagedRun: as `list_runs` does, which also explains `skipped`.
    """
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise MissingPackage('Parquet needs pyarrow, which is not installed: pip install "ffcli[parquet]"') from error

    def typed(value: Any) -> Any:
        return value if value is None or isinstance(value, (bool, int, float)) else str(value)

    records = list_runs(store, filters, skipped)
    layers = max((len(run.config.hidden) for run in records), default=0)
    by_run = [[typed(value) for value in run_values(run)] for run in records]
    types = [pyarrow.array([row[i] for row in by_run]).type for i in range(len(RUN_COLUMNS))]
    # A column without any value has no type of its own.
    fields = [
        (name, pyarrow.string() if pyarrow.types.is_null(kind) else kind)
        for name, kind in zip(RUN_COLUMNS, types, strict=True)
    ]
    plain = {"epoch": pyarrow.int64(), "hour": pyarrow.int64(), "phase": pyarrow.string()}
    fields += [(name, plain.get(name, pyarrow.float64())) for name in epoch_columns(layers)]
    schema = pyarrow.schema(fields)
    with ParquetWriter(path, schema) as writer:
        rows = []
        for last, (run, epochs) in enumerate(_with(store, records, epochs_by_run), start=1 - len(records)):
            of_run = [typed(value) for value in run_values(run)]
            rows += [[*of_run, *map(typed, epoch_values(epoch, layers))] for epoch in epochs]
            # Each row group has a description of all columns, which takes more space than the rows of one run.
            if rows and (len(rows) >= GROUP_ROWS or last == 0):
                columns = [pyarrow.array(c, f[1]) for c, f in zip(zip(*rows, strict=True), fields, strict=True)]
                writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
                rows = []


def runs_with_epochs(store: Store, records: list[RunRecord]) -> Iterator[tuple[RunRecord, list[EpochMetrics]]]:
    """Yield each run with its epochs."""
    yield from ((run, epochs) for run, epochs in _with(store, records, epochs_by_run))


def epoch_columns(layers: int) -> list[str]:
    """Return the names of what `epoch_values` returns: one column for each layer of what is measured by layer."""
    return [*_PLAIN, *(f"{name}_{layer}" for name in _BY_LAYER for layer in range(1, layers + 1)), "seconds"]


def epoch_values(epoch: EpochMetrics, layers: int) -> list[Any]:
    """Return the values of an epoch for a flat table of runs with at most `layers` layers."""
    by_layer = (value for name in _BY_LAYER for value in _padded(getattr(epoch, name), layers))
    return [*(getattr(epoch, name) for name in _PLAIN), *by_layer, epoch.seconds]


def _with(store: Store, records: list[RunRecord], *read: Callable[..., dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield each run with the results of each reader. One transaction per chunk, so that a slow consumer does not keep
    a snapshot of the database open."""
    by_id = {run.id: run for run in records}
    for ids in chunks(by_id):
        with reading(store) as connection:
            found = [of_runs(connection, ids) for of_runs in read]
        yield from ((by_id[id], *(by_run[id] for by_run in found)) for id in ids)


RUN_COLUMNS = (
    "id", "key", "status", "name", "tags", "seed", "dataset", "data_source", "data_fingerprint", "negatives",
    "pos_phase", "neg_phase", "preset", *_SETTINGS, "hidden",
)  # fmt: skip
"""The columns of a run in a flat table."""


def run_values(run: RunRecord) -> list[Any]:
    """Return the values of RUN_COLUMNS."""
    config = run.config
    return [
        run.id, run.key, run.status, run.name, ",".join(run.tags), config.seed, config.data.name, config.data.source,
        config.data.fingerprint, config.negatives, config.schedule.positive, config.schedule.negative,
        config.preset, *(getattr(config, name) for name in _SETTINGS), ",".join(map(str, config.hidden)),
    ]  # fmt: skip


def _padded(values: tuple[float, ...] | None, layers: int) -> list[float | None]:
    known = values or ()
    return [*known, *[None] * (layers - len(known))]


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_value, row) for row in rows)
    return text.getvalue()


def _finite(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
