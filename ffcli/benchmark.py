"""What `ff bench` measured, as it crosses from the measurement to the store and the command line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

Part = Literal["products forward", "products backward", "elementwise", "Adam", "the rest"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured, and with what."""

    host: str
    processor: str
    cores: int
    threads: int
    """Of every row that does not name its own."""
    bf16: str | None
    """The processor's instructions for bfloat16 products; None where it has none."""
    torch: str
    python: str
    ffcli: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians of repetitions that took turns."""

    name: str
    seconds: float
    baseline_seconds: float
    ratio: float
    """How many times faster than the baseline; of `gemm-share` the share (0 to 1) of the hour."""
    mark: float | None
    """What `ratio` is to reach; None where that cannot be asked here, and `note` says why."""
    products_share: float | None
    """Share (0 to 1) of `seconds` that the same matrix products take alone; None where there are none to speak of."""
    note: str | None = None

    @property
    def reached(self) -> bool | None:
        return None if self.mark is None else self.ratio >= self.mark


@dataclass(frozen=True, slots=True)
class Step:
    """What one layer spends on one kind of step in one separated hour."""

    layer: int
    """From 1."""
    step: Part
    seconds: float
    share: float
    """Of the hour, 0 to 1."""


@dataclass(frozen=True, slots=True)
class BenchmarkRecord:
    measured: datetime
    machine: Machine
    rows: tuple[Row, ...]
    breakdown: tuple[Step, ...]


def benchmark_json(record: BenchmarkRecord) -> dict[str, Any]:
    """With the stable names of `--json`."""
    return {
        "measured": record.measured.isoformat(),
        "machine": asdict(record.machine),
        "rows": [asdict(row) | {"reached": row.reached} for row in record.rows],
        "breakdown": [asdict(step) for step in record.breakdown],
    }
