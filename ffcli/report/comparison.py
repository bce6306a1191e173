"""Two sides over the same cells and seeds, as `ff compare` tells it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ffcli.choices import DataKind, Metric
from ffcli.errors import BadOption
from ffcli.published import DATASETS, NEGATIVES
from ffcli.records import Outcome, RunSummary
from ffcli.report.cells import Place
from ffcli.report.difference import Difference, difference_of
from ffcli.report.pairing import LOOSE, Pair, Pairing, pair, setting
from ffcli.report.protocol import SHARED, data_kind, describe
from ffcli.report.selectors import Selector, overlap, values_of


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """One cell: where the runs of either side stand, which is the same place in all that is not compared."""

    a: Place
    b: Place
    seeds: tuple[int, ...]
    """Of side a."""
    difference: Difference
    learned: bool
    """Whether any run of either side ever left chance. Where none did, the difference is no evidence."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The cells whose runs share every setting that is not compared."""

    protocol: str
    """The settings that all the runs share, where they are not the defaults."""
    data: DataKind | None
    """None where that is compared."""
    differing: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]]
    """The settings in which partners differ, each with its values on side a and on side b."""
    metric: Metric
    held_out: bool
    """Whether all the runs chose their best epoch by held-out images."""
    epochs: int
    """The horizon: both runs of every pair are read after this many epochs."""
    cells: tuple[ComparedCell, ...]
    overall: Difference | None
    """Over the pairs of all cells that learned; None where none did."""
    left_out: int
    """Pairs of which a run is shorter, or was not evaluated there."""

    @property
    def pairs(self) -> int:
        return sum(cell.difference.pairs for cell in self.cells)


def compare(
    runs: Iterable[RunSummary],
    outcomes_at: Callable[[int], Iterable[Outcome]],
    a: Selector,
    b: Selector,
    *,
    only: Sequence[Selector] = (),
    metric: Metric = "final",
    epochs: int | None = None,
) -> tuple[list[Comparison], Pairing]:
    """Compare the runs that `a` and `b` select, one comparison for each set of settings that partners share.

    `outcomes_at` gives what runs had reached at a horizon of epochs: `epochs`, else as many as both runs of most pairs
    have reached. Raises BadOption as `pair` does, and where no pair has a number there.
    """
    pairing = pair(runs, a, b, only)
    read: dict[int, dict[str, Outcome]] = {}
    comparisons = []
    for pairs in _grouped(pairing):
        horizon = epochs or _horizon(pairs)
        if horizon not in read:
            read[horizon] = {outcome.run.id: outcome for outcome in outcomes_at(horizon)}
        if scored := list(_scored(pairs, read[horizon], metric)):
            comparisons.append(_comparison(scored, metric, horizon, left_out=len(pairs) - len(scored)))
    if not comparisons:
        raise BadOption(f"no pair of {a.text} and {b.text} has got as far as epoch {epochs or 1}")
    return sorted(
        comparisons, key=lambda c: (c.data or "", -sum(cell.difference.pairs for cell in c.cells), c.protocol)
    ), pairing


class _Scored(NamedTuple):
    pair: Pair
    a: float
    b: float
    learned: bool


def _grouped(pairing: Pairing) -> Iterable[list[Pair]]:
    """Pairs by the settings that all partners agree in. Those without masks stand beside the least blurred."""
    strict = [name for name in (*SHARED, "data") if name in pairing.agreed]
    loose = [name for name in LOOSE if name in pairing.agreed]
    fitting = [{name: _common(both, name) for name in loose} for both in pairing.pairs]
    blurs = [values["mask_blur"] for values in fitting if values.get("mask_blur") is not None]
    groups: dict[tuple[Any, ...], list[Pair]] = defaultdict(list)
    for both, values in zip(pairing.pairs, fitting, strict=True):
        if values.get("mask_blur", 0) is None:
            values["mask_blur"] = min(blurs, default=None)
        groups[tuple(setting(both[0].config, name) for name in strict) + tuple(values.values())].append(both)
    return groups.values()


def _common(runs: Sequence[RunSummary], name: str) -> Any:
    """The first value of a loose setting that fits all the runs; None where every value does, or none."""
    fitting = [values for run in runs if None not in (values := values_of(run, name))]
    return next((v for v in fitting[0] if all(v in values for values in fitting)), None) if fitting else None


def _horizon(pairs: Sequence[Pair]) -> int:
    reached = Counter(min(ours.epochs_done, theirs.epochs_done) for ours, theirs in pairs)
    return max((epochs for epochs in reached if epochs), key=lambda epochs: (reached[epochs], epochs), default=1)


def _scored(pairs: Iterable[Pair], outcomes: Mapping[str, Outcome], metric: Metric) -> Iterable[_Scored]:
    for both in pairs:
        read = [outcomes.get(run.id) for run in both]
        a, b = (_value(outcome, metric) for outcome in read)
        if a is not None and b is not None:
            yield _Scored(both, a, b, any(outcome and outcome.learned for outcome in read))


def _value(outcome: Outcome | None, metric: Metric) -> float | None:
    if outcome is None or outcome.reached < outcome.horizon:
        return None
    value: float | None = getattr(outcome, metric)
    return value


def _comparison(scored: Sequence[_Scored], metric: Metric, horizon: int, left_out: int) -> Comparison:
    pairs = [each.pair for each in scored]
    runs = [run for both in pairs for run in both]
    shared = {name: setting(runs[0].config, name) for name in SHARED if len(_values(runs, name)) == 1}
    shared |= {name: value for name in LOOSE if (value := _common(runs, name)) is not None}
    kinds = {data_kind(run.config) for run in runs}
    cells: dict[tuple[Place, Place], list[_Scored]] = defaultdict(list)
    for each in scored:
        cells[_places(each.pair)].append(each)
    learned = [each for group in cells.values() if any(each.learned for each in group) for each in group]
    return Comparison(
        protocol=describe(shared),
        data=kinds.pop() if len(kinds) == 1 else None,
        differing=_differing(pairs),
        metric=metric,
        held_out=all(run.config.holdout for run in runs),
        epochs=horizon,
        cells=tuple(_compared_cell(places, cells[places]) for places in sorted(cells, key=_order)),
        overall=_difference(learned) if learned else None,
        left_out=left_out,
    )


def _places(both: Pair) -> tuple[Place, Place]:
    a, b = (
        Place(c.data.name, c.data.fingerprint, c.negatives, (c.schedule.positive, c.schedule.negative))
        for c in (run.config for run in both)
    )
    return a, b


def _order(places: tuple[Place, Place]) -> list[tuple[Any, ...]]:
    """The paper's order, then by name; the phases by length."""
    return [
        (_index(DATASETS, place.dataset), _index(NEGATIVES, place.negatives), place.fingerprint, place.schedule)
        for place in places
    ]


def _index(order: Sequence[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def _compared_cell(places: tuple[Place, Place], scored: Sequence[_Scored]) -> ComparedCell:
    seeds = tuple(sorted(each.pair[0].config.seed for each in scored))
    return ComparedCell(*places, seeds, _difference(scored), any(each.learned for each in scored))


def _difference(scored: Sequence[_Scored]) -> Difference:
    return difference_of([each.a for each in scored], [each.b for each in scored])


def _differing(pairs: Sequence[Pair]) -> dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]]:
    differing = {}
    for name in ("data", "dataset", "neg", "pos_phase", "neg_phase", "seed", *SHARED, *LOOSE):
        if any(_apart(both, name) for both in pairs):
            ours, theirs = (tuple(sorted(_values(side, name) - {None})) for side in zip(*pairs, strict=True))
            differing[name] = (ours, theirs)
    return differing


def _apart(both: Pair, name: str) -> bool:
    if name in LOOSE:
        return not overlap(*(values_of(run, name) for run in both))
    return len(_values(both, name)) > 1


def _values(runs: Iterable[RunSummary], name: str) -> set[Any]:
    return {setting(run.config, name) for run in runs}
