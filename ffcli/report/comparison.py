"""Compare two groups of runs over the same cells and seeds, and format the result for `ff compare`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from ffcli.choices import DataKind, Metric
from ffcli.errors import BadOption
from ffcli.published import DATASETS, NEGATIVES
from ffcli.records import Outcome, RunSummary
from ffcli.report.cells import DATA, Place, metric_words, place_of
from ffcli.report.difference import MIN_PAIRS, Difference, difference_of
from ffcli.report.pairing import LOOSE, Pair, Pairing, differing_values, pair, setting, settings_named
from ffcli.report.protocol import DESCRIBED, SHARED, data_kind, describe
from ffcli.report.selectors import Selector, overlap, shown, values_of
from ffcli.report.sheet import NOT_LEARNED, Document, Sheet, Span, make_list
from ffcli.schedule import Schedule
from ffcli.text import counted

LONGEST_NAME = 16
"""Longest selector, in characters, that names a column; longer ones are replaced by a and b."""

DIFFERENCE, INTERVAL = "b - a", "95 % interval"


@dataclass(frozen=True, slots=True)
class ComparedCell:
    """A cell of side a and the matching cell of side b."""

    a: Place
    b: Place
    seeds: tuple[int, ...]
    """Of side a."""
    difference: Difference
    learned: bool
    """Whether any run of either side left chance. If none did, the difference is meaningless."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """All compared cells whose runs share the settings that are not compared."""

    protocol: str
    """Settings that all runs share and that differ from the defaults."""
    data: DataKind | None
    """None if the kind of data is compared."""
    differing: Mapping[str, tuple[tuple[Any, ...], tuple[Any, ...]]]
    """The settings in which partners differ, each with its values on side a and on side b."""
    metric: Metric
    held_out: bool
    """Whether all the runs chose their best epoch by held-out images."""
    epochs: int
    """The horizon: every run is read after this many epochs."""
    cells: tuple[ComparedCell, ...]
    overall: Difference | None
    """Over the pairs of all cells that learned; None if none did."""
    left_out: int
    """Number of pairs in which a run is too short or was not evaluated at the horizon."""

    @property
    def pairs(self) -> int:
        """Number of pairs in all cells."""
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
    """Compare the runs that two selectors choose.

    Args:
        runs: all stored runs.
        outcomes_at: returns the outcomes at a horizon of epochs.
        a: selects side a.
        b: selects side b.
        only: conditions on both sides.
        metric: the accuracy to compare.
        epochs: the horizon; None for the number of epochs that both runs of most pairs reached.

    Returns:
        a comparison for each set of settings that partners share, and the pairing.

    Raises:
        BadOption: as `pair` does, and if no pair has an accuracy at the horizon.
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
        raise BadOption(f"no pair of {a.text} and {b.text} reached epoch {epochs or 1}")
    return sorted(comparisons, key=lambda c: (c.data or "", -c.pairs, c.protocol)), pairing


class _Scored(NamedTuple):
    pair: Pair
    a: float
    b: float
    learned: bool


def _grouped(pairing: Pairing) -> Iterable[list[Pair]]:
    """Group pairs by their common settings. Pairs without masks join the group with the fewest blurs."""
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
    """First value of a loose setting that fits all runs; None if every value fits or none does."""
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
    shared = {name: setting(runs[0].config, name) for name in DESCRIBED if len(_values(runs, name)) == 1}
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
    a, b = (place_of(run.config) for run in both)
    return a, b


def _order(places: tuple[Place, Place]) -> list[tuple[Any, ...]]:
    """Sort key: rows in the order of the paper, then other names alphabetically; schedules by phase length."""
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
    for name in ("data", "dataset", "neg", "pos_phase", "neg_phase", "seed", *DESCRIBED, *LOOSE):
        if any(_apart(both, name) for both in pairs):
            shown_name, (ours, theirs) = differing_values(name, *zip(*pairs, strict=True))
            differing[shown_name] = (tuple(ours), tuple(theirs))
    return differing


def _apart(both: Pair, name: str) -> bool:
    if name in LOOSE:
        return not overlap(*(values_of(run, name) for run in both))
    return len(_values(both, name)) > 1


def _values(runs: Iterable[RunSummary], name: str) -> set[Any]:
    return {setting(run.config, name) for run in runs}


# What `ff compare` prints


def comparison_document(
    comparisons: Sequence[Comparison], pairing: Pairing, a: Selector, b: Selector, only: Sequence[Selector]
) -> Document:
    """Return what `ff compare` prints: a sheet for each comparison."""
    sheets = [_sheet(comparison, a, b) for comparison in comparisons]
    remarks = tuple(filter(None, (_caution(comparisons), _unpaired(pairing))))
    return Document(
        sheets=tuple(sheets),
        intro=(f"a: {a.text}", f"b: {b.text}", *(f"only: {selector.text}" for selector in only)),
        legend=tuple(map(Span, remarks)),
        data={
            "a": a.text,
            "b": b.text,
            "only": [selector.text for selector in only],
            "unpaired_a": pairing.unpaired[0],
            "unpaired_b": pairing.unpaired[1],
            "in_both": pairing.in_both,
            "comparisons": [_json(comparison) for comparison in comparisons],
        },
    )


def _sheet(comparison: Comparison, a: Selector, b: Selector) -> Sheet:
    names = _side_names(a, b)
    layouts = [
        ["phases", *names, DIFFERENCE, INTERVAL, "pairs", "better"],
        ["phases", *names, DIFFERENCE, INTERVAL, "better"],
        ["phases", DIFFERENCE, INTERVAL, "better"],
        ["phases", DIFFERENCE, INTERVAL],
        ["phases", DIFFERENCE],
    ]
    return make_list(
        layouts,
        _blocks(comparison, names),
        right={*names, DIFFERENCE},
        caption="\n".join(filter(None, (_caption(comparison), _also_differing(comparison, a, b)))),
        notes=(tuple(_summary(comparison, names)),),
    )


def _side_names(a: Selector, b: Selector) -> tuple[str, str]:
    """Column titles of the two sides."""
    return (a.text, b.text) if max(len(a.text), len(b.text)) <= LONGEST_NAME else ("a", "b")


def _caption(comparison: Comparison) -> str:
    """What the compared runs share, the metric and the horizon in one line."""
    data = DATA[comparison.data] if comparison.data else ""
    metric = metric_words(comparison.metric, comparison.epochs, held_out=comparison.held_out)
    return " · ".join(filter(None, (comparison.protocol, data, metric)))


def _also_differing(comparison: Comparison, a: Selector, b: Selector) -> str:
    """Settings that no side names but in which partners differ: `threshold 1.5 | 2.0`."""
    named = settings_named({*a.conditions, *b.conditions} - {"tag", "cure"}) | {"cure"}
    left = [
        f"{name} {' | '.join(', '.join(map(shown, values)) or '-' for values in sides)}"
        for name, sides in comparison.differing.items()
        if name not in named
    ]
    return f"partners also differ in {'; '.join(left)}" if left else ""


def _blocks(comparison: Comparison, names: tuple[str, str]) -> dict[str, list[dict[str, str]]]:
    """Lines of the table, grouped by the dataset and negatives that both sides share."""
    contents = Counter(name for name, _ in {place[:2] for cell in comparison.cells for place in (cell.a, cell.b)})
    grouped = groupby(comparison.cells, lambda cell: _block_name(cell, contents))
    return {name: [_line(cell, names) for cell in cells] for name, cells in grouped}


def _block_name(cell: ComparedCell, contents: Counter[str]) -> str:
    a, b = cell.a, cell.b
    parts = (
        a.dataset if a.dataset == b.dataset else "",
        a.fingerprint[:8] if a.fingerprint == b.fingerprint and contents[a.dataset] > 1 else "",
        a.negatives if a.negatives == b.negatives else "",
    )
    return " ".join(filter(None, parts)) or "all data"


def _line(cell: ComparedCell, names: tuple[str, str]) -> dict[str, str]:
    difference = cell.difference
    return {
        "phases": _phases(cell),
        names[0]: f"{difference.mean_a:.1f}",
        names[1]: f"{difference.mean_b:.1f}",
        DIFFERENCE: f"{difference.difference:+z.1f}" if cell.learned else NOT_LEARNED,
        INTERVAL: _interval(difference) if cell.learned else "both at chance",
        "pairs": str(difference.pairs),
        "better": _verdict(difference, names) if cell.learned else "",
    }


def _phases(cell: ComparedCell) -> str:
    phases = [Schedule(positive=p, negative=n) for p, n in (cell.a.schedule, cell.b.schedule)]
    return " | ".join(map(str, phases if phases[0] != phases[1] else phases[:1]))


def _interval(difference: Difference) -> str:
    if difference.interval is None:
        return "none: one pair"
    return "{:+z.1f} to {:+z.1f}".format(*difference.interval)


def _verdict(difference: Difference, names: tuple[str, str]) -> str:
    if difference.interval is None:
        return ""
    return "no difference shown" if difference.better is None else names["ab".index(difference.better)]


def _summary(comparison: Comparison, names: tuple[str, str]) -> Iterator[str]:
    """Overall difference, number of cells in which each side is better, and what was left out."""
    if comparison.overall is not None:
        yield _overall(comparison.overall, names)
    if certain := _with_interval(comparison):
        better = Counter(difference.better for difference in certain)
        yield (
            f"{names[0]} better in {better['a']}, {names[1]} in {better['b']}"
            f" of {counted(len(certain), 'cell')} with two pairs or more"
        )
    if at_chance := sum(not cell.learned for cell in comparison.cells):
        chance = "no run of either side ever left chance"
        left_out = f"{counted(at_chance, 'cell')} ({NOT_LEARNED}) left out of that: {chance} there"
        yield left_out if comparison.overall else f"Nothing to compare: {chance}"
    if comparison.left_out:
        yield (
            f"{counted(comparison.left_out, 'pair')} left out: not both at epoch {comparison.epochs}, or not evaluated"
            " there (--epochs reads all runs at another epoch)"
        )


def _overall(overall: Difference, names: tuple[str, str]) -> str:
    line = (
        f"Overall {overall.mean_a:.1f} and {overall.mean_b:.1f}: {DIFFERENCE} {overall.difference:+z.1f},"
        f" {INTERVAL} {_interval(overall)}"
    )
    if verdict := _verdict(overall, names):
        line += f" over {counted(overall.pairs, 'pair')}; {'better: ' if overall.better else ''}{verdict}"
    return line


def _with_interval(comparison: Comparison) -> list[Difference]:
    return [cell.difference for cell in comparison.cells if cell.learned and cell.difference.interval]


def _caution(comparisons: Sequence[Comparison]) -> str:
    """That intervals over few pairs are too narrow; empty if none is."""
    intervals = [d for c in comparisons for d in (*_with_interval(c), c.overall) if d and d.interval]
    if all(difference.pairs >= MIN_PAIRS for difference in intervals):
        return ""
    return (
        f"Intervals over fewer than {MIN_PAIRS} pairs are too narrow: if nothing differs, two pairs exclude 0 every"
        " second time, three every fourth"
    )


def _unpaired(pairing: Pairing) -> str:
    """Number of selected runs that were not compared; empty if there are none."""
    a, b = pairing.unpaired
    parts = [f"runs without a partner: {a} of a, {b} of b"] if a or b else []
    if pairing.in_both:
        parts.append(f"runs that fit both sides, left out: {pairing.in_both}")
    return "; ".join(parts)


def _json(comparison: Comparison) -> dict[str, Any]:
    """JSON of `ff compare --json`; its names are stable.

    Accuracies are in percent; null if there is no number, and for what is compared.
    """
    return {
        "protocol": comparison.protocol,
        "data": comparison.data,
        "metric": comparison.metric,
        "epochs": comparison.epochs,
        "differing": {name: {"a": ours, "b": theirs} for name, (ours, theirs) in comparison.differing.items()},
        "left_out": comparison.left_out,
        "cells": [
            {**_json_place(cell), "seeds": cell.seeds, "learned": cell.learned, **_json_difference(cell.difference)}
            for cell in comparison.cells
        ],
        "overall": _json_difference(comparison.overall) if comparison.overall else None,
    }


def _json_place(cell: ComparedCell) -> dict[str, Any]:
    names = ("dataset", "fingerprint", "negatives", "pos_phase", "neg_phase")
    a, b = ((*place[:3], *place.schedule) for place in (cell.a, cell.b))
    return {name: one if one == other else None for name, one, other in zip(names, a, b, strict=True)}


def _json_difference(difference: Difference) -> dict[str, Any]:
    return {
        "pairs": difference.pairs,
        "mean_a": difference.mean_a,
        "mean_b": difference.mean_b,
        "difference": difference.difference,
        "interval": difference.interval,
        "better": difference.better,
    }
