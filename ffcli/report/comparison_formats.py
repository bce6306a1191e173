"""A comparison in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from ffcli.report.comparison import ComparedCell, Comparison
from ffcli.report.difference import TRUSTED, Difference
from ffcli.report.pairing import Pairing, settings_named
from ffcli.report.selectors import Selector, shown
from ffcli.report.words import DATA, NOT_LEARNED, metric_words
from ffcli.schedule import Schedule
from ffcli.text import counted

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
        DIFFERENCE: f"{difference.difference:+z.1f}" if cell.learned else NOT_LEARNED,
        INTERVAL: _interval(difference) if cell.learned else "both at chance",
        PAIRS: str(difference.pairs),
        BETTER: _verdict(difference, names) if cell.learned else "",
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
    """The difference over all pairs, how many cells either side won, and what is left out of that."""
    lines = [] if comparison.overall is None else [_overall(comparison.overall, names)]
    if sure := _with_interval(comparison):
        better = Counter(difference.better for difference in sure)
        lines.append(
            f"{names[0]} better in {better['a']}, {names[1]} in {better['b']}"
            f" of {counted(len(sure), 'cell')} with two pairs or more"
        )
    if at_chance := sum(not cell.learned for cell in comparison.cells):
        chance = "no run of either side ever left chance"
        left_out = f"{counted(at_chance, 'cell')} ({NOT_LEARNED}) left out of that: {chance} there"
        lines.append(left_out if comparison.overall else f"Nothing to compare: {chance}")
    if comparison.left_out:
        lines.append(
            f"{counted(comparison.left_out, 'pair')} left out: not both at epoch {comparison.epochs}, or not evaluated"
            " there (--epochs reads all after as many)"
        )
    return lines


def _overall(overall: Difference, names: tuple[str, str]) -> str:
    line = (
        f"Overall {overall.mean_a:.1f} and {overall.mean_b:.1f}: {DIFFERENCE} {overall.difference:+z.1f},"
        f" {INTERVAL} {_interval(overall)}"
    )
    if verdict := _verdict(overall, names):
        line += f" over {counted(overall.pairs, 'pair')}; {'better: ' if overall.better else ''}{verdict}"
    return line


def caution(comparisons: Sequence[Comparison]) -> str:
    """That intervals over few pairs are too narrow; empty where none is."""
    intervals = [d for c in comparisons for d in (*_with_interval(c), c.overall) if d and d.interval]
    if all(difference.pairs >= TRUSTED for difference in intervals):
        return ""
    return (
        f"Intervals over fewer than {TRUSTED} pairs are too narrow: where nothing differs, two pairs exclude 0 every"
        " second time, three every fourth"
    )


def _with_interval(comparison: Comparison) -> list[Difference]:
    return [cell.difference for cell in comparison.cells if cell.learned and cell.difference.interval]


def unpaired(pairing: Pairing) -> str:
    """The runs that were selected and not compared; empty without any."""
    a, b = pairing.unpaired
    parts = [f"runs without a partner: {a} of a, {b} of b"] if a or b else []
    if pairing.in_both:
        parts.append(f"runs that fit both sides, left out: {pairing.in_both}")
    return "; ".join(parts)
