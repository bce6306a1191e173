"""Results of `ff bench`: the values that are measured, stored and shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

Part = Literal["products forward", "products backward", "elementwise", "Adam", "the rest"]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine, the settings and the versions that were measured."""

    host: str
    processor: str
    cores: int
    threads: int
    """Threads of every row that does not set its own number."""
    bf16: str | None
    """The processor's instructions for bfloat16 products; None if it has none."""
    torch: str
    python: str
    ffcli: str
    revision: str | None
    quick: bool = False
    """Whether a tiny network was measured, to try the command: its times say nothing about a run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: median times of the engine and of its baseline, which ran in turns."""

    name: str
    seconds: float
    baseline_seconds: float
    ratio: float
    """How many times faster than the baseline; for `gemm-share`, the share (0 to 1) of an hour."""
    mark: float | None
    """Smallest `ratio` that is good enough; None if this machine cannot be judged, which `note` explains."""
    products_share: float | None
    """Share (0 to 1) of `seconds` that the matrix products take alone; None for a row without large products."""
    note: str | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the ratio is good enough; None if it is not judged."""
        return None if self.mark is None else self.ratio >= self.mark


@dataclass(frozen=True, slots=True)
class Step:
    """Time that one layer spends on one kind of operation in one hour of separated phases."""

    layer: int
    """From 1."""
    step: Part
    seconds: float
    share: float
    """Share of the hour, 0 to 1."""


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    """One complete benchmark."""

    measured: datetime
    machine: Machine
    rows: tuple[Row, ...]
    breakdown: tuple[Step, ...]


def benchmark_json(record: BenchmarkRecord) -> dict[str, Any]:
    """Return a benchmark as `--json` prints it; the names are stable."""
    return {
        "measured": record.measured.isoformat(),
        "machine": asdict(record.machine),
        "rows": [asdict(row) | {"reached": row.reached} for row in record.rows],
        "breakdown": [asdict(step) for step in record.breakdown],
    }
