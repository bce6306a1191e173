"""Labels and file names that contain anything are stored once, and printed as plain text."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from ff import SMALL
from test_bad_input import save_npz

from ffcli.text import csv_value, printable

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

EVIL = "=1+1|\x1b[31m\x9b2J\n<b>`&"
"""A formula, a column separator, control sequences and a line end."""


@pytest.fixture
def evil(inside: Inside) -> Inside:
    """Return `ff` with a run on a dataset of this name and with this name, tag and note, as another database has it."""
    path = save_npz(inside.ff.folder / f"{EVIL}.npz", side=28)
    inside("train", "--dataset", str(path), "--data", "full", *SMALL[2:], "--epochs", "1", "--tag", "a", "--quiet")
    with closing(sqlite3.connect(inside.ff.db)) as connection, connection:
        connection.execute("UPDATE run SET name = ?, note = ?, tags = json_array(?)", (EVIL, EVIL, EVIL))
    return inside


def test_stored_labels_never_reach_a_terminal_as_they_are(evil: Inside) -> None:
    (run,) = evil.json("list-runs")
    assert (run["name"], run["note"], run["tags"]) == (EVIL, EVIL, [EVIL])
    for command in (
        ("list-runs",), ("show", run["id"]), ("show", run["id"], "--toml"), ("export",), ("export", "--json"),
        ("report",), ("report", "--format", "markdown"), ("report", "--format", "latex"), ("report", "--format", "csv"),
        ("data", "list"), ("compare", "seed=0", "seed=1"), ("delete", run["id"], "--yes"),
    ):  # fmt: skip
        out, err = evil(*command, code=2 if command[0] == "compare" else 0)
        assert not any(c in out + err for c in "\x1b\x9b"), command
        assert "\n<b>" not in out + err, command


def test_tables_keep_their_rows_and_spreadsheets_see_no_formula(evil: Inside) -> None:
    (row,) = [row for row in csv.DictReader(io.StringIO(evil("export")[0])) if row["epoch"] == "1"]
    assert row["name"] == row["tags"] == row["dataset"] == f"'{printable(EVIL)}"
    table = [line for line in evil("report", "--format", "markdown", "--table", "2")[0].splitlines() if line[:1] == "|"]
    assert r"=1+1\|\\x1b\[31m\\x9b2J\\n\<b>\`&" in "".join(table)
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1


@pytest.mark.parametrize("number", ["-1.5", "+2", "-inf", "1e5", "-", "", "abc", "2:1"])
def test_numbers_and_plain_texts_stay_as_they_are_in_csv(number: str) -> None:
    assert csv_value(number) == number


@pytest.mark.parametrize("formula", ["=1", "+1+1", "-cmd", "@x", "\uff1d1+1"])
def test_formulas_are_guarded_in_csv(formula: str) -> None:
    assert csv_value(formula) == f"'{formula}"


def test_equal_tags_are_one(inside: Inside) -> None:
    assert inside.json("train", *SMALL, "--epochs", "1", "--tag", "a", "--tag", "b", "--tag", "a")["tags"] == ["a", "b"]
