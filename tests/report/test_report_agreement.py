"""How far a table agrees with the paper."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from test_report_protocol import data_ref, outcome

from ffcli import published
from ffcli.records import Outcome
from ffcli.report.agreement import Agreement, agreement, spearman
from ffcli.report.protocol import Protocol
from ffcli.report.tables import Table, build, tables_document
from ffcli.report.writers import as_json, as_latex, as_markdown, as_rich


def table_of(*outcomes: Outcome, number: int = 2, published: bool = True, protocol: Protocol | None = None) -> Table:
    return build(protocol or Protocol(), 20, outcomes, numbers=(number,), with_published=published)[0]


def agreed(table: Table) -> Agreement | None:
    return agreement(table.rows, table.protocol.data)


def some_cells() -> list[Outcome]:
    """Of table 2, mnist label: published 97.7, 89, 10, 9, "-", "-"."""
    return [
        outcome("unseparated", 96.7),
        outcome("1:1", 84.0, seed=0),
        outcome("1:1", 90.0, seed=1),
        outcome("4:1", 20.0, seed=0),
        outcome("4:1", 22.0, seed=1),
        outcome("8:1", 9.8),
        outcome("5:1", 50.0),
        outcome("1:1", 60.0, data=data_ref("own", "file")),
        outcome("2:1", reached=3),
    ]


def test_agreement() -> None:
    # Differences -1, -2 (standard deviation 4.2) and +12 (1.4).
    found = agreed(table_of(*some_cells()))
    assert found is not None
    assert found.mean_absolute_difference == pytest.approx(5.0)
    assert (found.compared, found.left_out) == (3, 3)
    assert (found.within_spread, found.spread_known) == (1, 2)
    (row,) = found.rank_correlation
    assert (row.dataset, row.negatives, row.cells) == ("mnist", "label", 3)
    assert row.rho == pytest.approx(1.0)


def test_spread_is_the_sample_standard_deviation_inclusive() -> None:
    # Standard deviation 3 around 86 and 85.9; published 89.
    on_edge = [outcome("1:1", value, seed=seed) for seed, value in enumerate((83.0, 86.0, 89.0))]
    beyond = [outcome("1:1", value, seed=seed) for seed, value in enumerate((82.9, 85.9, 88.9))]
    for runs, within in ((on_edge, 1), (beyond, 0)):
        found = agreed(table_of(*runs, outcome("unseparated", 90.0)))
        assert found is not None
        assert (found.within_spread, found.spread_known, found.compared) == (within, 1, 2)


def test_agreement_needs_full_data_and_two_compared_cells() -> None:
    two = [outcome("unseparated", 90.0), outcome("1:1", 80.0)]
    assert agreed(table_of(*two)) is not None
    assert agreed(table_of(two[0], outcome("8:1", 9.8))) is None
    assert agreed(table_of()) is None
    assert agreed(table_of(*two, published=False)) is None
    sample = [outcome(schedule, 80.0, data=data_ref(source="sample")) for schedule in ("unseparated", "1:1")]
    table = table_of(*sample, protocol=Protocol(data="sample"))
    assert sum(cell.difference is not None for row in table.rows for cell in row.cells) == 2
    assert agreed(table) is None
    document = tables_document([table])
    assert document.data[0]["agreement"] is None
    assert "Agreement" not in as_markdown(document) + as_latex(document)


def test_published_figures_agree_with_themselves() -> None:
    for number, paper in published.tables().items():
        cells = [
            outcome(str(schedule), figure, data=data_ref(dataset), neg=negatives)
            for (dataset, negatives), row in paper.rows.items()
            for schedule, figure in row.items()
            if figure is not None
        ]
        found = agreed(table_of(*cells, number=number))
        assert found is not None
        assert (found.mean_absolute_difference, found.compared, found.left_out) == (0, len(cells), 0)
        assert [row.rho for row in found.rank_correlation] == [pytest.approx(1.0)] * 4


values = st.lists(st.sampled_from([9.8, 10.0, 33.3, 50.0, 87.0]) | st.floats(0, 100), min_size=3, max_size=12)


@settings(deadline=None)
@given(st.data(), values)
def test_rank_correlation_equals_scipy(data: st.DataObject, xs: list[float]) -> None:
    ys = data.draw(st.lists(st.sampled_from([10.0, 50.0, 80.0]), min_size=len(xs), max_size=len(xs)))
    ours = spearman(xs, ys)
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        assert ours is None
    else:
        assert ours == pytest.approx(spearmanr(xs, ys).statistic, abs=1e-9)


def test_rank_correlation_needs_three_cells() -> None:
    assert spearman([1, 2], [1, 2]) is None
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)


def test_every_format_shows_the_agreement() -> None:
    document = tables_document([table_of(*some_cells())])
    sentences = (
        "Agreement with the paper: mean absolute difference 5.0 over 3 cells"
        " (3 more measured, for which the paper has no number). "
        "Within the seeds' spread: 1 of the 2 cells with two seeds or more"
        " (|mean - published| at most the seeds' sample standard deviation). "
        "Rank correlation (Spearman) of the phases: mnist label +1.00 (3 cells)."
    )
    assert f"\n\n{sentences}\n" in as_markdown(document)
    assert f"\\par {sentences}\n\\end{{table}}" in as_latex(document)
    assert json.loads(as_json(document))[0]["agreement"] == {
        "mean_absolute_difference": pytest.approx(5.0),
        "compared": 3,
        "left_out": 3,
        "within_spread": 1,
        "spread_known": 2,
        "rank_correlation": [{"dataset": "mnist", "negatives": "label", "rho": pytest.approx(1.0), "cells": 3}],
    }
    file = io.StringIO()
    Console(width=60, file=file).print(as_rich(document), crop=False)
    assert " ".join(sentences.replace(". ", " ").removesuffix(".").split()) in " ".join(file.getvalue().split())
    single = as_markdown(tables_document([table_of(outcome("unseparated", 90.0), outcome("1:1", 80.0))]))
    assert "mean absolute difference" in single
    assert "spread" not in single, "unknown if every cell has one seed"
    assert "Rank" not in single
