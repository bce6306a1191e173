"""A comparison as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ffcli.report.comparison import ComparedCell, Comparison
from ffcli.report.difference import Difference
from ffcli.report.pairing import Pairing
from ffcli.report.selectors import Selector


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
            {**_place_json(cell), "seeds": cell.seeds, "learned": cell.learned, **_difference_json(cell.difference)}
            for cell in comparison.cells
        ],
        "overall": _difference_json(comparison.overall) if comparison.overall else None,
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
