"""The tables on a terminal: every number whole at every width."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable

import pytest
from rich.console import Console
from test_report_protocol import data_ref, outcome

from ffcli.published import tables as paper_tables
from ffcli.records import Outcome
from ffcli.report.protocol import Protocol
from ffcli.report.render import show
from ffcli.report.tables import draw
from ffcli.report.words import NOT_LEARNED

NUMBER = re.compile(r"[±×+-]?\d+(?:\.\d+)?")  # noqa: RUF001
WIDTHS = (200, 120, 80, 60, 40)


def printed(runs: Iterable[Outcome], width: int = 120, published: bool = True, color: bool = False) -> str:
    runs = list(runs)
    file = io.StringIO()
    console = Console(width=width, file=file, force_terminal=color, color_system="standard" if color else None)
    show(draw([o.run for o in runs], lambda _: runs, default=Protocol(), published=published), console)
    return file.getvalue()


def everywhere(accuracies: tuple[float, ...]) -> list[Outcome]:
    """A run for each cell of the paper and each accuracy."""
    rows = {(row, schedule) for table in paper_tables().values() for row in table.rows for schedule in table.schedules}
    return [
        outcome(str(schedule), accuracy, seed=seed, data=data_ref(dataset), neg=negatives)
        for (dataset, negatives), schedule in rows
        for seed, accuracy in enumerate(accuracies)
    ]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("accuracies", [(), (87.3,), (100.0, 79.5), (100.0,) * 5 + (72.9,) * 6])
def test_every_number_is_whole_at_every_width(width: int, accuracies: tuple[float, ...]) -> None:
    text = printed(everywhere(accuracies), width)
    expected: Counter[str] = Counter()
    for table in paper_tables().values():
        for row in table.rows.values():
            for figure in row.values():
                if figure is not None:
                    expected[f"{figure:g}"] += 1
                if accuracies and figure is not None:
                    expected[f"{sum(accuracies) / len(accuracies) - figure:+z.1f}"] += 1
                if accuracies:
                    expected[f"{sum(accuracies) / len(accuracies):.1f}"] += 1
                if len(accuracies) > 1:
                    expected[f"×{len(accuracies)}"] += 1  # noqa: RUF001
    assert not expected - Counter(NUMBER.findall(text))
    assert all(len(line) <= width for line in text.splitlines() if "ff train" not in line)


def test_narrow_terminals_get_other_layouts() -> None:
    runs = everywhere((80.0, 90.0))
    headings = {width: next(line for line in printed(runs, width).splitlines() if "16:16" in line) for width in WIDTHS}
    assert "128:128" in headings[200]
    assert "128:128" in headings[120]
    assert "128:128" not in headings[80]
    assert headings[80].count("85.0") == 4
    assert headings[40].count("85.0") == 1


def test_what_is_missing_and_the_command_that_fills_it() -> None:
    text = printed([outcome("unseparated", 92.0), outcome(reached=7, status="running"), outcome("4:2", 33.0)], 100)
    assert "34 of 36 cells not yet run; they are filled by:\n  ff sweep --table 1 --data full\n" in text
    assert "7/20 ep" in text
    assert "Also measured, in neither table: mnist label 4:2 33.0" in text
    assert "Nothing is measured yet" not in text


@pytest.mark.parametrize("run", [outcome("1:1", threshold=2.0), outcome("1:1", data=data_ref("mine", "file"))])
def test_what_no_sweep_of_the_papers_table_fills_is_filled_cell_by_cell(run: Outcome) -> None:
    text = printed([*everywhere((80.0,)), run])
    found = re.findall(r"cells not yet run; the first, .*, is filled by:\n  (ff train .*)\n", text)
    assert len(found) == 2, text


def test_nothing_measured() -> None:
    assert printed([]).count(NOT_LEARNED) == 2 + 1, "the paper's two and the legend's"
    text = printed([], 40)
    assert text.endswith(
        "Nothing is measured yet. To start:\n  ff train --dataset mnist --data full --neg label --unseparated\n"
    )
    assert "cells not yet run" not in text


def test_a_table_of_an_earlier_algorithm_offers_no_command() -> None:
    run = outcome()
    old = run.run.config.model_copy(update={"algorithm_version": 0})
    object.__setattr__(run.run, "config", old)
    text = printed([run])
    assert "fast@1 with algorithm version 0" in text
    assert "ff train" not in text


def test_captions_say_what_the_table_is() -> None:
    text = printed([outcome(data=data_ref(source="sample"), seed=seed, threshold=2.0) for seed in (1, 2, 3)], 160)
    caption = "fast@1 with threshold 2.0 · the sample that ships with ffcli, not the full data"
    assert f"{caption} · final test accuracy in % after 20 epochs · seeds 1-3 · cpu" in text


def test_colour_stands_beside_the_signed_difference() -> None:
    runs = [outcome("1:1", 88.0), outcome("2:2", 80.0), outcome("4:4", 60.0)]
    text = printed(runs, 160, color=True)
    for colour, difference in ((32, "-1.0"), (33, "-8.0"), (31, "-21.0")):
        assert f"\x1b[{colour}m{difference}\x1b[0m" in text
    assert "\x1b[" not in printed(runs, 160)


def test_without_published_figures_only_measured_ones_are_printed() -> None:
    text = printed([outcome("1:1", 88.0)], published=False)
    assert "88.0" in text
    assert "paper" not in text
    assert "97.7" not in text
    assert "\n\n\n" not in printed(everywhere((80.0,)), published=False)


def test_no_learning_is_a_dash_with_its_distance_from_the_papers_chance() -> None:
    text = printed([outcome("64:64", 9.8)], 160)
    assert "9.8" not in text
    assert re.search(r"10 +-0\.2", text)


def test_long_names_are_folded_not_lost() -> None:
    name = "a_data_set_with_a_name_longer_than_the_terminal"
    text = printed([outcome(accuracy=71.5, data=data_ref(name, "file"))], 40)
    assert name in "".join(text.split())
    assert "71.5" in text
