"""Tables in every format and terminal width: no number is cut, and no text is parsed as markup."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from test_report_protocol import data_ref, outcome

from ffcli.published import tables as paper_tables
from ffcli.records import Outcome
from ffcli.report import writers
from ffcli.report.protocol import Protocol
from ffcli.report.sheet import Block, Column, Document, Item, Line, Sheet, Span, make_list
from ffcli.report.tables import Table, draw_tables, tables_document
from ffcli.report.writers import WRITERS, as_csv, as_json, as_latex, as_markdown, as_rich

NUMBER = re.compile(r"[±\N{MULTIPLICATION SIGN}+-]?\d+(?:\.\d+)?")
WIDTHS = (200, 120, 80, 60, 40)


def printed(document: Document, width: int = 120, *, color: bool = False) -> str:
    file = io.StringIO()
    console = Console(width=width, file=file, force_terminal=color, color_system="standard" if color else None)
    console.print(as_rich(document), crop=False)
    return file.getvalue()


def tables_of(runs: Iterable[Outcome], published: bool = True) -> list[Table]:
    runs = list(runs)
    return draw_tables([o.run for o in runs], lambda _: runs, default=Protocol(), with_published=published)


def report(runs: Iterable[Outcome], width: int = 120, published: bool = True, color: bool = False) -> str:
    return printed(tables_document(tables_of(runs, published)), width, color=color)


def runs_of_all_cells(accuracies: tuple[float, ...]) -> list[Outcome]:
    """Return a run for each cell of the paper and each accuracy."""
    rows = {(row, schedule) for table in paper_tables().values() for row in table.rows for schedule in table.schedules}
    return [
        outcome(str(schedule), accuracy, seed=seed, data=data_ref(dataset), neg=negatives)
        for (dataset, negatives), schedule in rows
        for seed, accuracy in enumerate(accuracies)
    ]


# Any sheet

texts = st.text("ab[]/:\\|&_ ", max_size=30) | st.sampled_from(["[red]x[/red]", "[/]", "[link=a]", ":smile:", "[b"])


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    columns = draw(st.lists(texts, min_size=1, max_size=5, unique=True))
    named, grouped = draw(st.booleans()), draw(st.booleans())
    items = st.builds(Item, text=texts, spread=texts, published=texts, difference=st.builds(Span, texts))
    lines = st.builds(
        Line, st.tuples(*[items] * len(columns)), st.text("xy", min_size=1, max_size=9) if named else st.just("")
    )
    blocks = st.builds(Block, st.lists(lines, max_size=3).map(tuple), st.just(("[a]", "b")))
    if grouped:
        return Sheet(
            tuple(Column(title, "right") for title in columns),
            tuple(draw(st.lists(blocks, max_size=3))),
            heads=("data", "negatives", *([""] if named else [])),
            caption=draw(texts),
            transposable=True,
        )
    rows = draw(st.lists(st.dictionaries(st.sampled_from(columns), texts), max_size=4))
    return make_list(
        [columns, columns[:1]], {"": rows}, right=columns[1:2], least=dict.fromkeys(columns[:1], 12), title=draw(texts)
    )


@settings(deadline=None, max_examples=60)
@given(sheets(), st.sampled_from([1, 20, 40, 80, 200]))
def test_any_sheet_can_be_written_in_every_format(sheet: Sheet, width: int) -> None:
    document = Document((sheet,), intro=("[bold]",), legend=(Span("[/]", "dim"),), data={"a": float("nan")})
    for write in WRITERS.values():
        assert write(document)
    text = printed(document, width)
    if width >= 20:
        assert max(map(len, text.splitlines())) <= width
        assert "[bold]" in text


def test_list_uses_the_widest_layout_that_fits() -> None:
    rows: list[dict[str, str | Item]] = [
        {"run": "6d04824", "what": "[dim]fashion masks", "final": "25.59", "status": Item("completed", "completed")},
        {"run": "55ad941", "what": "mnist", "final": "9.80", "status": Item("failed", "failed")},
    ]
    runs = make_list(
        [["run", "what", "final", "status"], ["run", "final", "status"], ["run", "final"]],
        {"": rows},
        right=["final"],
        least={"what": 12},
    )
    shown = {width: printed(Document((runs,)), width).splitlines() for width in (80, 40, 25, 12)}
    assert shown[80][1] == "6d04824  [dim]fashion masks  25.59  completed"
    assert shown[80][2].split() == ["55ad941", "mnist", "9.80", "failed"]
    assert shown[40][0].split() == ["run", "what", "final", "status"], "what breaks between words"
    assert shown[25][1] == "6d04824  25.59  completed"
    assert shown[12][0].split()[0] == "run", "the last layout, though it is too wide"
    colours = printed(Document((runs,)), 80, color=True)
    assert "\x1b[32mcompleted" in colours
    assert "\x1b[31mfailed" in colours
    assert as_csv(Document((runs,))).splitlines()[1] == "6d04824,[dim]fashion masks,25.59,completed"


def test_titles_and_entries_are_not_parsed_as_markup() -> None:
    columns = ["[red]a", "[/]", "[b]c[/b]"]
    entries = {title: f"{title}!" for title in columns}
    listed = make_list([columns], {"[i]block": [entries]}, title="[u]title", caption="[/]", notes=(("[d]note",),))
    line = Line(tuple(Item(f"{title}!") for title in columns), "[e]line")
    block = Block((line,), ("[f]data", "[/f]"))
    across = Sheet(tuple(map(Column, columns)), (block,), ("data", "negatives", ""), transposable=True)
    for width in (200, 60):
        text = "".join(printed(Document((listed, across)), width).split())
        for part in (*columns, *entries.values(), "[i]block", "[u]title", "[d]note", "[f]data", "[/f]", "[e]line"):
            assert part in text, (width, part)


@pytest.mark.parametrize("spare", [0, 1])
def test_layout_is_used_if_the_terminal_is_wide_enough(spare: int) -> None:
    listed = make_list([["a", "b", "c"], ["a", "b"]], {"": [{"a": "12345", "b": "123", "c": "1234"}]})
    assert "1234\n" in printed(Document((listed,)), 5 + 2 + 3 + 2 + 4 + spare)
    assert printed(Document((listed,)), 5 + 2 + 3 + 2 + 4 - 1).splitlines()[1].split() == ["12345", "123"]


def test_every_format_has_a_writer() -> None:
    assert get_args(writers.Format) == tuple(WRITERS) == ("rich", "markdown", "csv", "json", "latex")


# Tables 1 and 2 on a terminal


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("accuracies", [(), (100.0, 79.5), (100.0,) * 5 + (72.9,) * 6])
def test_numbers_are_never_cut_at_any_width(width: int, accuracies: tuple[float, ...]) -> None:
    text = report(runs_of_all_cells(accuracies), width)
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
                    expected[f"\N{MULTIPLICATION SIGN}{len(accuracies)}"] += 1
    assert not expected - Counter(NUMBER.findall(text))
    assert all(len(line) <= width for line in text.splitlines() if "ff train" not in line)


def test_narrow_terminals_get_other_layouts() -> None:
    runs = runs_of_all_cells((80.0, 90.0))
    headings = {width: next(line for line in report(runs, width).splitlines() if "16:16" in line) for width in WIDTHS}
    assert "128:128" in headings[200]
    assert "128:128" in headings[120]
    assert "128:128" not in headings[80]
    assert headings[80].count("85.0") == 4
    assert headings[40].count("85.0") == 1


def test_missing_cells_are_counted_with_the_command_to_train_them() -> None:
    text = report([outcome("unseparated", 92.0), outcome(reached=7, status="running"), outcome("4:2", 33.0)], 40)
    assert "\n  ff sweep --table 1 --data full\n" in text
    assert "34 of 36 cells not yet run" in text
    assert "7/20 ep" in text
    assert "Also measured, in neither table: mnist label 4:2 33.0" in " ".join(text.split())
    assert "Nothing is measured yet" not in text


def test_sweep_that_fills_a_table_has_its_settings() -> None:
    text = report([outcome("1:1", threshold=2.0, precision="bf16")])
    assert (
        "35 of 36 cells not yet run; this command fills them:\n  ff sweep --table 1 --data full --threshold 2.0" in text
    )
    assert text.count("--precision bf16") == 2


def test_cells_outside_the_sweep_get_a_train_command() -> None:
    text = report([*runs_of_all_cells((80.0,)), outcome("1:1", data=data_ref("mine", "file"))])
    assert len(re.findall(r"cells not yet run; .* the first, .*:\n  ff train .*\n", text)) == 2, text


def test_empty_report_suggests_a_first_run() -> None:
    text = report([], 40)
    assert text.count("\N{EN DASH}") == 2 + 1, "the paper's two and the legend's"
    assert text.endswith("To start:\n  ff train --dataset mnist --data full --neg label --unseparated\n")
    assert "cells not yet run" not in text


def test_table_of_an_earlier_algorithm_suggests_no_command() -> None:
    run = outcome()
    old = run.run.config.model_copy(update={"algorithm_version": 0})
    object.__setattr__(run.run, "config", old)
    text = report([run])
    assert "fast@1 with algorithm version 0" in text
    assert "ff train" not in text


def test_captions_describe_protocol_metric_and_seeds() -> None:
    text = report([outcome(data=data_ref(source="sample"), seed=seed, threshold=2.0) for seed in (1, 2, 3)], 160)
    caption = "fast@1 with threshold 2.0 · the sample that ships with ffcli, not the full data"
    assert f"{caption} · final test accuracy in % after 20 epochs · seeds 1-3 · cpu" in text


def test_colour_depends_on_the_difference() -> None:
    runs = [outcome("1:1", 88.0), outcome("2:2", 80.0), outcome("4:4", 60.0)]
    text = report(runs, 160, color=True)
    for colour, difference in ((36, "-1.0"), (94, "-8.0"), (35, "-21.0")):
        assert f"\x1b[{colour}m{difference}\x1b[0m" in text
    assert "\x1b[" not in report(runs, 160)


def test_report_without_published_figures() -> None:
    text = report([outcome("1:1", 88.0)], published=False)
    assert "88.0" in text
    assert "paper" not in text
    assert "97.7" not in text


def test_accuracy_at_chance_is_a_dash_with_the_difference() -> None:
    text = report([outcome("64:64", 9.8)], 160)
    assert "9.8" not in text
    assert re.search(r"10 +-0\.2", text)


def test_long_names_are_folded_and_not_parsed_as_markup() -> None:
    name = "a_data_set_[red]_with_a_name_longer_than_the_terminal"
    text = report([outcome(accuracy=71.5, data=data_ref(name, "file"))], 40)
    assert name in "".join(text.split())
    assert "71.5" in text


# Tables 1 and 2 for other programs


@pytest.fixture(scope="module")
def tables() -> Sequence[Table]:
    return tables_of(
        [
            outcome("1:1", 87.0, seed=0),
            outcome("1:1", 88.0, seed=1),
            outcome("16:1", 9.8),
            outcome("2:2", reached=3),
            outcome("4:2", 33.0),
            outcome("1:1", 50.0, data=data_ref("my_data|100%", "file")),
        ]
    )


def test_json(tables: Sequence[Table]) -> None:
    one, two = json.loads(as_json(tables_document(tables)))
    assert (one["table"], one["data"], one["metric"], one["epochs"]) == (1, "full", "final", 20)
    assert one["protocol"]["label"] == "fast@1"
    assert Protocol(**{k: v for k, v in one["protocol"].items() if k != "label"}) == tables[0].protocol
    cells: dict[tuple[int, int], Any] = {(c["pos_phase"], c["neg_phase"]): c for c in two["rows"][0]["cells"]}
    assert list(cells) == [(0, 0), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1)]
    assert cells[1, 1] == {
        "pos_phase": 1, "neg_phase": 1, "mean": 87.5, "std": pytest.approx(0.5**0.5), "runs": 2, "devices": ["cpu"],
        "published": 89.0, "published_learned": True, "learned": True,
    }  # fmt: skip
    assert cells[16, 1] == {
        "pos_phase": 16, "neg_phase": 1, "mean": 9.8, "std": None, "runs": 1, "devices": ["cpu"],
        "published": None, "published_learned": False, "learned": False,
    }  # fmt: skip
    assert cells[0, 0]["mean"] is cells[0, 0]["learned"] is None
    assert one["rows"][0]["cells"][2]["mean"] is None
    assert two["others"][0]["cells"][0]["mean"] == 33.0
    own = two["rows"][-1]["cells"][1]
    assert (own["mean"], own["published"], own["published_learned"]) == (50.0, None, None)


def test_csv(tables: Sequence[Table]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(tables_document(tables)))))
    assert len(rows) == 5 * 9 + 5 * 6 + 1
    first = next(row for row in rows if (row["table"], row["pos_phase"]) == ("2", "1"))
    assert first == {
        "table": "2", "protocol": "fast@1", "data": "full", "metric": "final", "epochs": "20", "dataset": "mnist",
        "negatives": "label", "pos_phase": "1", "neg_phase": "1", "mean": "87.5", "std": "0.707107", "runs": "2",
        "published": "89.0", "difference": "-1.5", "learned": "true",
    }  # fmt: skip
    assert (rows[-1]["table"], rows[-1]["mean"]) == ("", "33.0")
    assert {row["learned"] for row in rows} == {"true", "false", ""}


def test_markdown_and_latex(tables: Sequence[Table]) -> None:
    document = tables_document(tables)
    text = as_markdown(document)
    assert "### Table 1: n positive hours, n negative hours" in text
    assert "87.5 ±0.7\N{DAGGER} \N{MULTIPLICATION SIGN}2 (89, -1.5)" in text
    assert "my_data\\|100%" in text
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {9 + 3, 6 + 3}

    text = as_latex(document)
    assert r"my\_data|100\%" in text
    assert r"87.5 $\pm$0.7$\dagger$ $\times$2 (89, -1.5)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\midrule") == 2
    assert text.isascii()
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {10, 7}
