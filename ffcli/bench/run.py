"""The complete benchmark of `ff bench`: this machine, every row, and the breakdown of an hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ffcli.bench.breakdown import breakdown
from ffcli.bench.rows import ROWS
from ffcli.bench.setting import make_setting
from ffcli.benchmark import BenchmarkRecord
from ffcli.machine import this_machine


def benchmark(
    *, quick: bool, on: int | None, seconds: float, folder: Path, notify: Callable[[str], None]
) -> BenchmarkRecord:
    """Measure every row and the breakdown of an hour.

    Args:
        quick: use a tiny network, to see that everything works.
        on: threads, for rows that do not set their own number; None for torch's default.
        seconds: approximate time for all rows.
        folder: where datasets are kept.
        notify: called with a line of progress for the user.

    Raises:
        BadData: if the sample cannot be read.
        StorageFull: if the prepared copy of the sample does not fit on the disk.
    """
    started = datetime.now(UTC)
    setting = make_setting(quick=quick, on=on, seconds=seconds / len(ROWS), folder=folder, notify=notify)
    rows = []
    for number, (name, measure) in enumerate(ROWS.items(), start=1):
        notify(f"measuring {name} ({number} of {len(ROWS)})")
        rows.append(measure(setting))
    notify("measuring the breakdown of an hour")
    return BenchmarkRecord(started, this_machine(threads=setting.threads, quick=quick), tuple(rows), breakdown(setting))
