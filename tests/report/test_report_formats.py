"""The tables for other programs."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from test_report_protocol import data_ref, outcome

from ffcli.records import Outcome
from ffcli.report.formats import as_csv, as_json, as_latex, as_markdown
from ffcli.report.protocol import Protocol
from ffcli.report.tables import Table, draw


@pytest.fixture(scope="module")
def tables() -> list[Table]:
    runs: list[Outcome] = [
        outcome("1:1", 87.0, seed=0),
        outcome("1:1", 88.0, seed=1),
        outcome("16:1", 9.8),
        outcome("2:2", reached=3),
        outcome("4:2", 33.0),
        outcome("1:1", 50.0, data=data_ref("my_data|100%", "file")),
    ]
    return draw([o.run for o in runs], lambda _: runs, default=Protocol())


def test_json(tables: list[Table]) -> None:
    one, two = json.loads(json.dumps([as_json(table) for table in tables]))
    assert (one["table"], one["data"], one["metric"], one["epochs"]) == (1, "full", "final", 20)
    assert one["protocol"]["label"] == "fast@1"
    assert Protocol(**{k: v for k, v in one["protocol"].items() if k != "label"}) == tables[0].protocol
    cells = {(c["pos_phase"], c["neg_phase"]): c for c in two["rows"][0]["cells"]}
    assert list(cells) == [(0, 0), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1)]
    assert cells[1, 1] == {
        "pos_phase": 1, "neg_phase": 1, "mean": 87.5, "std": pytest.approx(0.5**0.5), "runs": 2,
        "published": 89.0, "published_learned": True, "learned": True,
    }  # fmt: skip
    assert cells[16, 1] == {
        "pos_phase": 16, "neg_phase": 1, "mean": 9.8, "std": None, "runs": 1,
        "published": None, "published_learned": False, "learned": False,
    }  # fmt: skip
    assert cells[0, 0]["mean"] is cells[0, 0]["learned"] is None
    assert one["rows"][0]["cells"][2]["mean"] is None
    assert two["others"][0]["cells"][0]["mean"] == 33.0
    assert (
        two["rows"][-1]["cells"][1] | {"mean": 50.0, "published": None, "published_learned": None}
        == two["rows"][-1]["cells"][1]
    )


def test_csv(tables: list[Table]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(tables))))
    assert len(rows) == 5 * 9 + 5 * 6 + 1
    first = next(row for row in rows if (row["table"], row["pos_phase"]) == ("2", "1"))
    assert first == {
        "table": "2", "protocol": "fast@1", "data": "full", "metric": "final", "epochs": "20", "dataset": "mnist",
        "negatives": "label", "pos_phase": "1", "neg_phase": "1", "mean": "87.5", "std": "0.707107", "runs": "2",
        "published": "89.0", "difference": "-1.5", "learned": "true",
    }  # fmt: skip
    assert rows[-1]["table"] == ""
    assert rows[-1]["mean"] == "33.0"
    assert {row["learned"] for row in rows} == {"true", "false", ""}


def test_markdown(tables: list[Table]) -> None:
    text = as_markdown(tables)
    assert "### Table 1: n hours awake, n hours asleep" in text
    assert "87.5 ±0.7 ×2 (89, -1.5)" in text  # noqa: RUF001
    assert "my_data\\|100%" in text
    grid = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {9 + 3, 6 + 3}


def test_latex(tables: list[Table]) -> None:
    text = as_latex(tables)
    assert r"my\_data|100\%" in text
    assert r"87.5 $\pm$0.7 $\times$2 (89, -1.5)" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == text.count(r"\midrule") == 2
    assert text.isascii()
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in body} == {10, 7}
