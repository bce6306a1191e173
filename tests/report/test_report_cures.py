"""The table of cures: which runs it compares, after how many epochs, and what a cure costs."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from itertools import product
from typing import Any

import pytest
import torch
from rich.console import Console
from test_report_protocol import data_ref, outcome

from ffcli.engine.training import initial_state
from ffcli.records import EpochMetrics, Outcome, Provenance, RunRecord
from ffcli.report.cures import (
    Cost,
    CureCell,
    CureTable,
    TimedRun,
    cure_costs,
    cures_caption,
    cures_document,
    draw_cures,
    kept_bytes,
    set_aside,
)
from ffcli.report.protocol import Protocol
from ffcli.report.writers import as_csv, as_json, as_latex, as_markdown, as_rich
from ffcli.settings import Precision

GRADIENT: dict[str, Any] = {"cure": "gradient-memory", "lr": "auto"}


def drawn(*runs: Outcome, **options: Any) -> list[CureTable]:
    def at(horizon: int) -> list[Outcome]:
        return [
            Outcome(o.run, horizon, min(o.run.epochs_done, horizon), o.best if o.run.epochs_done >= horizon else None,
                    o.best, o.best)
            for o in runs
        ]  # fmt: skip

    return draw_cures([o.run for o in runs], at, **options)


def cell(table: CureTable, line: str, schedule: str, row: int = 0) -> CureCell:
    lines = {found.name: found.cells for found in table.rows[row].lines}
    return lines[line][[str(s) for s in table.schedules].index(schedule)]


def test_a_cure_is_compared_with_plain_runs_at_the_presets_rate_and_at_its_own() -> None:
    (table,) = drawn(
        *(outcome("16:16", 80.0 + seed, epochs=40, seed=seed, **GRADIENT) for seed in range(3)),
        outcome("16:16", 70.0, epochs=40, cure="replay:64", lr="auto"),
        outcome("64:64", 60.0, epochs=60, **GRADIENT),
        outcome("16:16", 30.0, epochs=20),
        outcome("16:16", 35.0, epochs=40, lr="auto"),
        outcome("16:16", 36.0, epochs=39, lr="auto", seed=1),
        outcome("16:16", 99.0, epochs=40, lr=0.02),
        outcome("4:4", 99.0, epochs=40, lr=0.04),
        outcome("unseparated", 92.0),
        outcome("16:16", 98.0, data=data_ref("fashion")),
    )
    assert [str(schedule) for schedule in table.schedules] == ["unseparated", "16:16", "64:64"]
    assert [row.dataset for row in table.rows] == ["mnist"]
    assert [line.name for line in table.rows[0].lines] == ["plain", "same rate", "gradient-memory", "replay:64"]
    cured = cell(table, "gradient-memory", "16:16")
    assert (cured.measured.mean, cured.measured.std, cured.measured.runs, cured.epochs) == (81.0, 1.0, 3, 40)
    assert cured.published == 35.0
    assert cell(table, "replay:64", "16:16").measured.mean == 70.0
    plain, control = cell(table, "plain", "16:16"), cell(table, "same rate", "16:16")
    assert (plain.measured.mean, plain.epochs) == (30.0, 20)
    assert (control.measured.mean, control.measured.runs, control.epochs) == (35.0, 1, 40)
    assert cell(table, "plain", "unseparated").measured.mean == 92.0
    assert cell(table, "same rate", "unseparated").measured.runs == 0


def test_cell_is_read_at_the_largest_completed_number_of_epochs() -> None:
    runs = [
        outcome("16:16", 70.0, epochs=20, **GRADIENT),
        outcome("16:16", 80.0, epochs=40, seed=1, **GRADIENT),
        outcome("16:16", 90.0, epochs=60, reached=50, seed=2, status="running", **GRADIENT),
    ]
    (table,) = drawn(*runs)
    found = cell(table, "gradient-memory", "16:16")
    assert (found.epochs, found.measured.runs, found.measured.mean) == (40, 2, 85.0)
    short = "Not counted because they are shorter: mnist label 16:16 gradient-memory seed 0 (20 of 40 epochs)"
    assert short in printed([table])
    assert cell(drawn(*runs, epochs=20)[0], "gradient-memory", "16:16").measured.runs == 3


def test_each_protocol_and_learning_rate_has_its_own_table() -> None:
    runs = [
        outcome("1:1", **GRADIENT),
        outcome("16:16", **GRADIENT),
        outcome("16:16", cure="replay", lr=0.05),
        outcome("16:16", holdout=100, **GRADIENT),
        outcome("16:16", data=data_ref(source="sample"), **GRADIENT),
        outcome("16:16", preset="paper", **GRADIENT),
    ]
    found = [(t.family.protocol.label, t.family.protocol.data, t.family.rate, len(t.schedules)) for t in drawn(*runs)]
    assert found == [
        ("fast@1", "full", "auto", 2),
        ("fast@1", "full", 0.05, 1),
        ("fast@1 with 100 images held out", "full", "auto", 1),
        ("paper@1", "full", "auto", 1),
        ("fast@1", "sample", "auto", 1),
    ]
    assert [t.family.protocol.label for t in drawn(*runs, preset="paper@1")] == ["paper@1"]


@pytest.mark.parametrize("preset", [{}, {"preset": "paper"}, {"preset": "paper", "updates_per_batch": 10}])
def test_every_cured_run_is_in_exactly_one_table(preset: dict[str, Any]) -> None:
    for cure, lr, warmup in product(
        ("gradient-memory", "replay:100"), (None, "auto", 0.03, 0.05, 0.001), (None, 0, 7, 256)
    ):
        options = preset | {name: value for name, value in (("lr", lr), ("warmup", warmup)) if value is not None}
        tables = drawn(outcome("4:4", 81.5, cure=cure, **options))
        assert [cell(table, cure, "4:4").measured.mean for table in tables] == [81.5], (cure, options)


@pytest.mark.parametrize("precision", ["float32", "float64", "bf16"])
@pytest.mark.parametrize("cure", ["gradient-memory", "replay:7"])
def test_reported_memory_equals_what_the_engine_keeps(cure: str, precision: Precision) -> None:
    config = outcome("2:2", cure=cure, precision=precision, hidden=(30, 20, 10)).run.config
    layers = initial_state(config, torch.device("cpu")).network.layers
    kept = sum(t.nbytes for layer in layers if layer.memory for t in (layer.memory.filling, layer.memory.kept))
    protocol = Protocol(hidden=config.hidden, precision=precision)
    assert kept_bytes(config.cure, config.data.features, protocol) == kept > 0


def timed(times: dict[str, tuple[str, float, float | None]]) -> TimedRun:
    """Return a lookup of runs by id; `times` has host, seconds of an evaluated epoch, and of one without evaluation."""

    def of(id: str) -> tuple[RunRecord, list[EpochMetrics]]:
        host, evaluated, other = times[id]
        provenance = Provenance(0, "", "", "", "cpu", 1, host, None)
        seconds = [(99.0, True), (evaluated, True), (evaluated, True), (50.0, True)]
        seconds += [(other, False)] if other else []
        epochs = [
            EpochMetrics(n, n, None, 50.0 if flag else None, None, None, None, None, None, None, time)
            for n, (time, flag) in enumerate(seconds)
        ]
        return RunRecord(
            id, "", None, "completed", (), 4, None, None, None, None, None, None, None, None, None, 0.0, (provenance,)  # type: ignore[arg-type]
        ), epochs  # fmt: skip

    return of


def test_time_is_compared_within_a_cell_on_the_same_host() -> None:
    runs = [
        outcome("16:16", **GRADIENT),
        outcome("16:16", lr="auto"),
        outcome("64:64", **GRADIENT),
        outcome("64:64", lr="auto"),
    ]
    (table,) = drawn(*runs)
    ids = [o.run.id for o in runs]

    def cost(*times: tuple[str, float, float | None]) -> Cost:
        (found,) = cure_costs(table, timed(dict(zip(ids, times, strict=True))))
        return found

    same = cost(("a", 4.0, None), ("a", 2.0, None), ("a", 4.5, None), ("a", 1.0, None))
    assert same.time == pytest.approx(3.0)
    assert (same.cells, same.evaluated) == (2, True)
    assert cost(("a", 4.0, None), ("b", 2.0, None), ("a", 4.5, None), ("b", 1.0, None)).time is None
    pure = cost(("a", 4.0, 1.5), ("a", 2.0, 1.0), ("a", 4.5, None), ("a", 1.0, 9.0))
    assert pure.time == pytest.approx(1.5)
    assert (pure.cells, pure.evaluated) == (1, False)


def test_tables_1_and_2_leave_out_cured_runs_and_their_controls() -> None:
    cured = outcome("16:16", **GRADIENT)
    control = outcome("16:16", lr="auto", seed=5)
    study = [outcome("16:16", lr=0.02), outcome("1:1", lr=0.02)]
    at_preset = [outcome("1:1", **GRADIENT), outcome("1:1")]
    runs = [o.run for o in (cured, control, *study, *at_preset, outcome("16:16", cure="replay", lr=0.02))]
    kept, aside = set_aside(runs)
    assert kept == [*(o.run for o in study), at_preset[1].run]
    assert len(aside) == 4
    assert set_aside([control.run]) == ([control.run], [])


def test_plain_runs_at_automatic_rates_are_in_one_of_the_tables() -> None:
    cured = outcome("16:16", **GRADIENT)
    automatic = [outcome(schedule, lr="auto") for schedule in ("unseparated", "1:1", "16:16", "64:64")]
    other = outcome("1:1", lr="auto", neg="masks")
    kept, aside = set_aside([o.run for o in (cured, *automatic, other)])
    assert kept == [other.run]
    assert len(aside) == 5
    (table,) = drawn(cured, *automatic, other)
    assert [str(schedule) for schedule in table.schedules] == ["unseparated", "1:1", "16:16", "64:64"]
    assert all(cell(table, "same rate", str(schedule)).measured.runs == 1 for schedule in table.schedules)
    assert cures_caption(table).startswith("fast@1 with lr auto · full data")


def many() -> list[tuple[CureTable, list[Cost]]]:
    runs = [
        outcome(schedule, accuracy, seed=seed, neg=neg, **options)
        for schedule, neg in (("1:1", "label"), ("16:16", "label"), ("128:128", "masks"), ("16:1", "masks"))
        for accuracy, options in ((12.3, {}), (91.7, GRADIENT), (63.4, {"cure": "replay", "lr": "auto"}))
        for seed in range(3)
    ]
    return [(table, [Cost("replay:512", ("mnist",), 784, 7_307_264, 1.25, 2, True)]) for table in drawn(*runs)]


def test_each_scaling_of_cured_runs_has_its_own_table() -> None:
    plain, cured = outcome("16:1", 10.0), outcome("16:1", 92.0, **GRADIENT)
    (table,) = drawn(plain, cured, outcome("16:16", 90.0, **GRADIENT))
    assert [cell(table, line, "16:1").measured.mean for line in ("plain", "gradient-memory")] == [10.0, 92.0]
    scaled = outcome("16:1", 72.0, **GRADIENT, lr_scaling="ratio")
    usual, other = drawn(plain, cured, scaled)
    assert [cell(table, "gradient-memory", "16:1").measured.mean for table in (usual, other)] == [92.0, 72.0]
    assert "lr scaling ratio" in cures_caption(other)
    assert "scaling" not in cures_caption(usual)


def printed(tables: Iterable[CureTable], width: int = 200) -> str:
    return shown([(table, []) for table in tables], width)


def shown(tables: list[tuple[CureTable, list[Cost]]], width: int) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(as_rich(cures_document(tables)), crop=False)
    return file.getvalue()


@pytest.mark.parametrize("width", [200, 100, 70, 60, 40])
def test_numbers_are_never_cut_at_any_width(width: int) -> None:
    text = shown(many(), width)
    assert max(map(len, text.splitlines())) <= width
    assert (len(re.findall(r"91\.7", text)), len(re.findall(r"63\.4", text))) == (4, 4)
    assert {"35", "74", "11"} <= set(re.findall(r"\b\d+\b", text))
    assert "7,307,264 bytes" in " ".join(text.split())


def test_narrow_terminals_get_other_layouts() -> None:
    wide, stacked, list_of_cells = (shown(many(), width).splitlines() for width in (100, 70, 40))
    assert any(line.count("91.7 ±0.0 ×3") == 2 for line in wide)  # noqa: RUF001
    assert any(line.count("91.7") == 2 and "×3" not in line for line in stacked)  # noqa: RUF001
    assert "mnist masks 128:128" in [line.strip() for line in list_of_cells]


def test_empty_table_suggests_a_command() -> None:
    assert "ff train" in printed([])
    assert drawn(outcome()) == []


def test_every_format_has_the_same_numbers() -> None:
    document = cures_document(many())
    (table,) = json.loads(as_json(document))
    assert (table["table"], table["lr_rule"], table["costs"][0]["memory"]) == ("cures", "auto", 7_307_264)
    lines = {line["line"]: line["cells"] for line in table["rows"][0]["lines"]}
    assert lines["gradient-memory"][1] == {
        "pos_phase": 16, "neg_phase": 16, "lr": 0.01, "epochs": 20, "mean": pytest.approx(91.7),
        "std": pytest.approx(0.0), "runs": 3, "devices": ["cpu"], "seeds": [0, 1, 2],
        "published": 35.0, "published_learned": True,
        "learned": True,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(as_csv(document))))
    assert len(rows) == sum(len(line["cells"]) for row in table["rows"] for line in row["lines"])
    replay = next(row for row in rows if (row["line"], row["pos_phase"]) == ("replay:512", "16"))
    assert (replay["mean"], replay["lr"], replay["memory"], replay["time"]) == ("63.4", "0.04", "7307264", "1.25")
    markdown = as_markdown(document)
    grid = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in grid}) == 1
    assert "| mnist | label | paper | 89 | 35 |" in markdown
    latex = as_latex(document)
    assert latex.isascii()
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
