"""Rows and records: what goes into a row, what comes out of one."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, cast

from ffcli.config import RunConfig
from ffcli.records import EpochMetrics, Phase, RunRecord
from ffcli.store.liveness import Owner, abandoned
from ffcli.store.tables import Epoch, Run


def config_columns(config: RunConfig) -> dict[str, Any]:
    """The config, and its copies in the columns that one filters by."""
    return {
        "config": config,
        "dataset": config.data.name,
        "data_source": config.data.source,
        "negatives": config.negatives,
        "pos_phase": config.schedule.positive,
        "neg_phase": config.schedule.negative,
        "preset": config.preset,
        "seed": config.seed,
        "epochs_requested": config.epochs,
    }


RUN_COLUMNS = tuple(Run.__table__.c[name] for name in (*RunRecord.__slots__, "host", "pid", "pid_started"))
"""What `run_record` reads, in order: plain columns, since objects for 10,000 runs take longer than all the rest."""


def run_record(row: Sequence[Any], now: datetime) -> RunRecord:
    """A row of RUN_COLUMNS as it is to be seen at `now`: a run whose process is gone no longer shows as running."""
    record = RunRecord(*row[:-3])
    if record.status == "running" and (end := abandoned(Owner(*row[-3:]), record.heartbeat, now)):
        return replace(record, status=end[0], failure=end[1], ended=record.heartbeat)
    return record


def epoch_row(run_id: str, metrics: EpochMetrics) -> Epoch:
    """A row to merge. What was not measured stays unset, so that an epoch that is trained again without being
    evaluated keeps what was measured the first time: the trajectory is the same."""
    return Epoch(run_id=run_id, **{name: value for name, value in asdict(metrics).items() if value is not None})


def epoch_metrics(row: Epoch) -> EpochMetrics:
    return EpochMetrics(
        epoch=row.epoch,
        hour=row.hour,
        phase=cast(Phase | None, row.phase),
        accuracy=row.accuracy,
        validation_accuracy=row.validation_accuracy,
        loss_positive=row.loss_positive,
        loss_negative=row.loss_negative,
        goodness_positive=_floats(row.goodness_positive),
        goodness_negative=_floats(row.goodness_negative),
        dead_units=_floats(row.dead_units),
        seconds=row.seconds,
    )


def _floats(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Build many records without the cycle collector, which would walk every object of the program again and again
    (half of the time of 10,000 records) to find none: records hold no cycles."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
