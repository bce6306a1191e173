"""The whole of `ff bench`: this machine, every row, and where an hour goes."""

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
    """Measure in about `seconds`, `on` so many threads (None: torch's own number) where a row does not name its own.

    `folder` is where data sets are kept; `notify` takes a line for the user. Raises BadData and StorageFull where the
    sample cannot be prepared there.
    """
    started = datetime.now(UTC)
    setting = make_setting(quick=quick, on=on, seconds=seconds / len(ROWS), folder=folder, notify=notify)
    rows = []
    for number, (name, measure) in enumerate(ROWS.items(), start=1):
        notify(f"measuring {name} ({number} of {len(ROWS)})")
        rows.append(measure(setting))
    notify("measuring where an hour goes")
    return BenchmarkRecord(started, this_machine(threads=setting.threads), tuple(rows), breakdown(setting))
