"""A comparison as words and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ffcli.config import Schedule
from ffcli.report.comparison import ComparedCell, Comparison
from ffcli.report.difference import TRUSTED, Difference
from ffcli.report.pairing import Pairing, settings_named
from ffcli.report.selectors import Selector, shown
from ffcli.report.words import DATA, metric_words
from ffcli.wording import counted

LONGEST_NAME = 16
"""A longer selector is called a or b in the tables."""

Line = dict[str, str]
"""One line of a table, by column."""

DIFFERENCE, INTERVAL, PAIRS, BETTER = "b - a", "95 % interval", "pairs", "better"


def side_names(a: Selector, b: Selector) -> tuple[str, str]:
    """What the sides are called in a table's columns."""
    return (a.text, b.text) if max(len(a.text), len(b.text)) <= LONGEST_NAME else ("a", "b")


def layouts(names: tuple[str, str]) -> list[list[str]]:
    """The columns of a table, from the widest terminal to the narrowest."""
    return [
        ["phases", *names, DIFFERENCE, INTERVAL, PAIRS, BETTER],
        ["phases", *names, DIFFERENCE, INTERVAL, BETTER],
        ["phases", DIFFERENCE, INTERVAL, BETTER],
        ["phases", DIFFERENCE, INTERVAL],
        ["phases", DIFFERENCE],
    ]


def caption(comparison: Comparison) -> str:
    """What the compared runs share, the metric and the horizon in one line."""
    data = DATA[comparison.data] if comparison.data else ""
    metric = metric_words(comparison.metric, comparison.epochs, held_out=comparison.held_out)
    return " · ".join(filter(None, (comparison.protocol, data, metric)))


def also_differing(comparison: Comparison, a: Selector, b: Selector) -> str:
    """The settings in which partners differ although neither side names them: `threshold 1.5 | 2.0`."""
    named = settings_named({*a.conditions, *b.conditions} - {"tag"})
    left = [(name, sides) for name, sides in comparison.differing.items() if name not in named]
    return "; ".join(
        f"{name} {' | '.join(', '.join(map(shown, values)) or '-' for values in sides)}" for name, sides in left
    )


def tables(comparison: Comparison, names: tuple[str, str]) -> list[tuple[str, list[Line]]]:
    """A title and lines for each data set and negatives."""
    contents = Counter(name for name, _ in {place[:2] for cell in comparison.cells for place in (cell.a, cell.b)})
    grouped = groupby(comparison.cells, lambda cell: _title(cell, contents))
    return [(title, [_line(cell, names) for cell in cells]) for title, cells in grouped]


def _title(cell: ComparedCell, contents: Counter[str]) -> str:
    """What both sides have in common of data set and negatives."""
    a, b = cell.a, cell.b
    parts = (
        a.dataset if a.dataset == b.dataset else "",
        a.fingerprint[:8] if a.fingerprint == b.fingerprint and contents[a.dataset] > 1 else "",
        a.negatives if a.negatives == b.negatives else "",
    )
    return " ".join(filter(None, parts)) or "all data"


def _phases(cell: ComparedCell) -> str:
    phases = [Schedule(positive=p, negative=n) for p, n in (cell.a.schedule, cell.b.schedule)]
    return " | ".join(map(str, phases if phases[0] != phases[1] else phases[:1]))


def _line(cell: ComparedCell, names: tuple[str, str]) -> Line:
    difference = cell.difference
    return {
        "phases": _phases(cell),
        names[0]: f"{difference.mean_a:.1f}",
        names[1]: f"{difference.mean_b:.1f}",
        DIFFERENCE: f"{difference.difference:+z.1f}",
        INTERVAL: _interval(difference),
        PAIRS: str(difference.pairs),
        BETTER: _verdict(difference, names),
    }


def _interval(difference: Difference) -> str:
    if difference.interval is None:
        return "none: one pair"
    return "{:+z.1f} to {:+z.1f}".format(*difference.interval)


def _verdict(difference: Difference, names: tuple[str, str]) -> str:
    if difference.interval is None:
        return ""
    return "no difference shown" if difference.better is None else names["ab".index(difference.better)]


def summary(comparison: Comparison, names: tuple[str, str]) -> list[str]:
    """The difference over all pairs, how many cells either side won, and the pairs left out."""
    overall, count = comparison.overall, comparison.overall.pairs
    verdict = _verdict(overall, names)
    lines = [
        f"Overall {overall.mean_a:.1f} and {overall.mean_b:.1f}: {DIFFERENCE} {overall.difference:+z.1f},"
        f" {INTERVAL} {_interval(overall)}"
        + (f" over {counted(count, 'pair')}; {'better: ' if overall.better else ''}{verdict}" if verdict else "")
    ]
    if sure := _with_interval(comparison):
        better = Counter(difference.better for difference in sure)
        lines.append(
            f"{names[0]} better in {better['a']}, {names[1]} in {better['b']}"
            f" of {counted(len(sure), 'cell')} with two pairs or more"
        )
    if comparison.left_out:
        lines.append(
            f"{counted(comparison.left_out, 'pair')} left out: not both at epoch {comparison.epochs}, or not evaluated"
            " there (--epochs reads all after as many)"
        )
    return lines


def caution(comparisons: Sequence[Comparison]) -> str:
    """That intervals over few pairs are too narrow; empty where none is."""
    intervals = [d for c in comparisons for d in (*_with_interval(c), c.overall) if d.interval]
    if all(difference.pairs >= TRUSTED for difference in intervals):
        return ""
    return (
        f"Intervals over fewer than {TRUSTED} pairs are too narrow: where nothing differs, two pairs exclude 0 every"
        " second time, three every fourth"
    )


def _with_interval(comparison: Comparison) -> list[Difference]:
    return [cell.difference for cell in comparison.cells if cell.difference.interval]


def unpaired(pairing: Pairing) -> str:
    """The runs that were selected and not compared; empty without any."""
    a, b = pairing.unpaired
    parts = [f"runs without a partner: {a} of a, {b} of b"] if a or b else []
    if pairing.in_both:
        parts.append(f"runs that fit both sides, left out: {pairing.in_both}")
    return "; ".join(parts)


def as_json(
    comparisons: Sequence[Comparison], pairing: Pairing, a: Selector, b: Selector, only: Sequence[Selector]
) -> dict[str, Any]:
    """The stable names of `ff compare --json`. Accuracies in percent; null where there is no number, and for what is
    compared."""
    return {
        "a": a.text,
        "b": b.text,
        "only": [selector.text for selector in only],
        "unpaired_a": pairing.unpaired[0],
        "unpaired_b": pairing.unpaired[1],
        "in_both": pairing.in_both,
        "comparisons": [_comparison_json(comparison) for comparison in comparisons],
    }


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {
        "protocol": comparison.protocol,
        "data": comparison.data,
        "metric": comparison.metric,
        "epochs": comparison.epochs,
        "differing": {name: {"a": ours, "b": theirs} for name, (ours, theirs) in comparison.differing.items()},
        "left_out": comparison.left_out,
        "cells": [
            {**_place_json(cell), "seeds": cell.seeds, **_difference_json(cell.difference)} for cell in comparison.cells
        ],
        "overall": _difference_json(comparison.overall),
    }


def _place_json(cell: ComparedCell) -> dict[str, Any]:
    names = ("dataset", "fingerprint", "negatives", "pos_phase", "neg_phase")
    a, b = ((*place[:3], *place.schedule) for place in (cell.a, cell.b))
    return {name: one if one == other else None for name, one, other in zip(names, a, b, strict=True)}


def _difference_json(difference: Difference) -> dict[str, Any]:
    return {
        "pairs": difference.pairs,
        "mean_a": difference.mean_a,
        "mean_b": difference.mean_b,
        "difference": difference.difference,
        "interval": difference.interval,
        "better": difference.better,
    }
