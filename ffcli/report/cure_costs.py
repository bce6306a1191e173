"""What a cure costs: the memory that it keeps for the network, and the time of an hour against plain training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, geometric_mean, median

from ffcli.config import Cure
from ffcli.records import EpochMetrics, RunRecord, RunSummary
from ffcli.report.cures import PLAIN, SAME_RATE, CureRow, CureTable
from ffcli.report.protocol import Protocol

Timed = Callable[[str], tuple[RunRecord, list[EpochMetrics]]]
"""A run and its epochs, by its id."""

_Setting = tuple[str, str, int, bool]
"""Host, device, threads, and whether the epoch was evaluated."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one cure on data with one number of features."""

    cure: str
    datasets: tuple[str, ...]
    features: int
    memory: int
    """Bytes kept for the network."""
    time: float | None
    """An hour's time over that of plain training; None where no cell has both."""
    cells: int
    """Compared for the time."""
    evaluated: bool
    """Whether the compared times include an evaluation after each epoch."""


def costs(table: CureTable, timed: Timed) -> list[Cost]:
    """For each of the table's cures.

    Compared are runs of one cell on the same host, device and number of threads, by the median seconds of
    their epochs: of those without an evaluation, or where a pair has none, of those with one. The ratios of the cells
    give their geometric mean, those without an evaluation where there are any.
    """
    found = []
    for cure in table.cures:
        for features in sorted({row.data.features for row in table.rows}):
            rows = [row for row in table.rows if row.data.features == features and _line(row, cure)]
            if rows:
                ratios = [pair for row in rows for pair in _ratios(row, cure, timed)]
                evaluated = bool(ratios) and all(flag for _, flag in ratios)
                own = [ratio for ratio, flag in ratios if flag == evaluated]
                names = tuple(dict.fromkeys(row.data.name for row in rows))
                memory = kept_bytes(Cure.model_validate(cure), features, table.family.protocol)
                found.append(
                    Cost(cure, names, features, memory, geometric_mean(own) if own else None, len(own), evaluated)
                )
    return found


def kept_bytes(cure: Cure, features: int, protocol: Protocol) -> int:
    """`gradient-memory` keeps two vectors of each layer's parameters, `replay` its samples of two phases' inputs to
    each layer (see `ffcli.engine.cures`)."""
    layers = list(pairwise((features, *protocol.hidden)))
    size = 8 if protocol.precision == "float64" else 4
    if cure.samples is None:
        return 2 * size * sum((inputs + 1) * units for inputs, units in layers)
    return 2 * size * cure.samples * sum(inputs for inputs, _ in layers)


def _line(row: CureRow, name: str) -> dict[object, tuple[RunSummary, ...]]:
    """Runs by schedule."""
    return {cell.schedule: cell.runs for line in row.lines if line.name == name for cell in line.cells if cell.runs}


def _ratios(row: CureRow, cure: str, timed: Timed) -> list[tuple[float, bool]]:
    # At whatever rate: the time does not depend on it.
    at_preset, at_same = _line(row, PLAIN), _line(row, SAME_RATE)
    ratios = []
    for schedule, runs in _line(row, cure).items():
        if plain := at_preset.get(schedule, ()) + at_same.get(schedule, ()):
            with_cure, without = _seconds(runs, timed), _seconds(plain, timed)
            shared = sorted(with_cure.keys() & without.keys(), key=lambda setting: setting[-1])
            evaluated = shared[0][-1] if shared else False
            ratios += [(with_cure[s] / without[s], evaluated) for s in shared if s[-1] == evaluated]
    return ratios


def _seconds(runs: Iterable[RunSummary], timed: Timed) -> dict[_Setting, float]:
    """Of an epoch, by setting: the mean over the runs of their medians; of runs that stayed in one place."""
    medians: dict[_Setting, list[float]] = defaultdict(list)
    for record, epochs in (timed(run.id) for run in runs):
        settings = {(p.host, p.device, p.threads) for p in record.provenance}
        if len(settings) != 1:
            continue
        for evaluated in (False, True):
            own = [e.seconds for e in epochs if e.epoch and (e.accuracy is not None) == evaluated]
            if own:
                medians[(*next(iter(settings)), evaluated)].append(median(own))
    return {setting: fmean(values) for setting, values in medians.items()}
