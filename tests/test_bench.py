"""`ff bench`: both sides of a row do the same work, results are stored, and an inexact engine is detected."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sqlalchemy import text
from torch.utils.flop_counter import FlopCounterMode

from ffcli.bench import check, ours, plain, products, rows
from ffcli.bench.breakdown import breakdown
from ffcli.bench.items import PlainItems, items_of
from ffcli.bench.measuring import medians
from ffcli.bench.setting import Setting, make_setting
from ffcli.benchmark import BenchmarkRecord, Machine, Row
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.estimate import evaluation_operations, hour_operations
from ffcli.report.benchmarks import history_sheet, row_sheet
from ffcli.report.sheet import Document
from ffcli.report.writers import as_csv
from ffcli.store import benchmarks
from ffcli.store.database import open_store, writing

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

NAMES = [
    "separated-1-thread", "separated-2-threads", "unseparated-label", "unseparated-masks", "separated-bf16",
    "evaluate", "evaluate-bf16", "masks", "load", "gemm-share",
]  # fmt: skip


@pytest.fixture(scope="module")
def setting(data_folder: Path) -> Setting:
    return make_setting(quick=True, on=1, seconds=0.01, folder=data_folder, notify=lambda line: None)


def test_every_row_is_measured_printed_and_saved(inside: Inside) -> None:
    measured = inside.json("bench", "--quick", "--seconds", "0.1", "--save")
    assert [row["name"] for row in measured["rows"]] == NAMES
    for row in measured["rows"]:
        assert min(row["seconds"], row["baseline_seconds"]) > 0
        if row["name"] != "gemm-share":
            assert row["ratio"] == pytest.approx(row["baseline_seconds"] / row["seconds"])
        assert (row["mark"], row["reached"]) == (None, None)
        assert "network this small" in row["note"]
    share = measured["rows"][-1]
    assert share["ratio"] == share["products_share"] == pytest.approx(share["baseline_seconds"] / share["seconds"])
    assert (measured["machine"]["threads"], measured["machine"]["torch"]) == (1, torch.__version__)
    assert sum(step["share"] for step in measured["breakdown"]) == pytest.approx(1)

    assert inside.json("bench", "--history") == [measured]
    shown, _ = inside("bench", "--history")
    assert all(name in shown for name in NAMES)
    assert measured["machine"]["quick"]
    assert "(quick)" in shown


def test_results_are_saved_only_on_request(inside: Inside) -> None:
    assert "there is no database" in inside("bench", "--history", code=2)[1]
    assert not inside.ff.db.exists()


@pytest.mark.parametrize("unseparated", [False, True])
@pytest.mark.parametrize("negatives", ["wrong_labels", "masks"])
def test_engine_and_baseline_compute_the_same_losses(setting: Setting, negatives: str, unseparated: bool) -> None:
    config = setting.config(unseparated=unseparated)
    data = (setting.positive, getattr(setting, negatives))
    engine, baseline = ours.hours(config, *data), plain.hours(config, *data)
    for _ in range(4):
        losses = engine()
        assert isinstance(losses, torch.Tensor)
        loss = losses.mean() if unseparated else losses.sum(1).mean()
        assert baseline() == pytest.approx(float(loss), rel=1e-5)


def test_engine_and_baseline_predict_the_same(setting: Setting) -> None:
    data = setting.evaluated
    found = ours.evaluation(setting.config(), data, data.labels)()
    assert found == plain.evaluation(setting.config(), data)()


def test_products_have_the_operations_of_the_formula(setting: Setting) -> None:
    def operations(contestant: Any) -> int:
        with FlopCounterMode(display=False) as counter:
            contestant()
        return int(counter.get_total_flops())

    separated, joint = setting.config(), setting.config(unseparated=True)
    assert operations(products.of_hour(separated)) == hour_operations(separated)
    assert operations(products.of_hour(joint)) == hour_operations(joint)
    evaluated = separated.model_copy(update={"data": separated.data.model_copy(update={"test": 500})})
    assert operations(products.of_evaluation(separated, 500)) == evaluation_operations(evaluated)
    saved = hour_operations(joint) - operations(products.of_hour(joint, shared_images=True))
    assert saved == first_layer(joint) / 2


def first_layer(config: RunConfig) -> float:
    """Return the operations of the products in layer 1 of an unseparated hour."""
    inputs, units = next(pairwise((config.data.features, *config.hidden)))
    return 2 * 2 * config.batch_size * inputs * units * (2 * config.updates_per_batch + 1)


def test_items_equal_the_prepared_images(setting: Setting) -> None:
    arrays = datasets.load(setting.ref, setting.folder)
    with items_of(arrays, 20) as (items, _):
        for made in (list(items), [PlainItems(arrays)[i] for i in range(20)]):
            assert len(made) == 20
            pixels, labels = zip(*made, strict=True)
            torch.testing.assert_close(torch.stack(pixels), setting.data.images[:20])
            assert list(labels) == setting.data.labels[:20].tolist()


def test_breakdown_has_every_layer_and_step(setting: Setting) -> None:
    steps = breakdown(setting)
    assert [step.layer for step in steps] == [1] * 5 + [2] * 5 + [3] * 5
    assert [step.step for step in steps[:5]] == [
        "products forward", "products backward", "elementwise", "Adam", "the rest",
    ]  # fmt: skip
    assert all(step.seconds > 0 for step in steps)
    assert sum(step.share for step in steps) == pytest.approx(1)


def test_medians_time_the_functions_in_turn() -> None:
    calls: list[str] = []
    found = medians(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0, min_rounds=3)
    assert calls == ["a", "b"] * 3
    assert len(found) == 2
    calls.clear()
    medians(lambda: calls.append("a"), seconds=10, min_rounds=1, max_rounds=5)
    assert calls == ["a"] * 5


def test_marks_apply_only_if_the_machine_can_reach_them(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = replace(setting, quick=False)
    monkeypatch.setattr(rows, "bf16_instructions", lambda: None)
    monkeypatch.setattr(rows, "cores", lambda: 1)
    before = torch.get_num_threads()
    bf16, single, double = (rows.ROWS[name](whole) for name in ("separated-bf16", NAMES[0], NAMES[1]))
    assert torch.get_num_threads() == before
    assert (single.mark, single.note) == (1.4, None)
    assert single.reached == (single.ratio >= 1.4)
    assert (double.mark, double.reached) == (None, None)
    assert "one core" in str(double.note)
    assert (bf16.mark, bf16.reached) == (None, None)
    assert "neither AVX512-BF16 nor AMX" in str(bf16.note)
    monkeypatch.setattr(rows, "bf16_instructions", lambda: "AMX")
    assert rows.ROWS["separated-bf16"](whole).mark == 2.8


def make_record(host: str, ratio: float, day: int) -> BenchmarkRecord:
    machine = Machine(host, "processor", 2, 2, "AMX", "2.6.0", "3.11", "0.1.0", None)
    row = Row("separated-1-thread", 0.5, 0.5 * ratio, ratio, 1.4, 0.9)
    return BenchmarkRecord(datetime(2026, 1, day, tzinfo=UTC), machine, (row,), ())


def test_history_of_a_machine(tmp_path: Path) -> None:
    records = [make_record("here", 1.5, 1), make_record("there", 1.6, 2), make_record("here", 1.3, 3)]
    with open_store(tmp_path / "ff.db") as store:
        for record in reversed(records):
            benchmarks.keep(store, record)
        skipped: list[str] = []
        assert benchmarks.history(store, "here", skipped.append) == [records[0], records[2]]
        for change in ("machine = '{}'", "rows = '[5]'", "measured = 'x'"):
            with writing(store) as connection:
                connection.execute(text(f"UPDATE benchmarks SET {change} WHERE measured LIKE '2026-01-01%'"))
            assert benchmarks.history(store, "here", skipped.append) == [records[2]]
        assert len(skipped) == 3
    sheet = history_sheet(records)
    dates = [f"{records[place].measured.astimezone():%Y-%m-%d %H:%M}" for place in (2, 1, 0)]
    assert list(sheet.layouts) == [("row", *dates[:last]) for last in (3, 2, 1)], "old dates are left out first"
    assert as_csv(Document((sheet,))).splitlines()[1] == "separated-1-thread,500 ms  1.30x,500 ms  1.60x,500 ms  1.50x"


def test_rows_show_whether_the_mark_is_reached() -> None:
    reached, missed = (make_record("here", ratio, 1).rows[0] for ratio in (1.4, 1.39))
    assert (reached.reached, missed.reached) == (True, False)
    lines = as_csv(Document((row_sheet([reached, missed]),))).splitlines()
    assert [line.rsplit(",")[-1] for line in lines] == ["reached", "yes", "no"]


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "reference"
    folder.mkdir()
    shutil.copy(check.reference_folder() / "separated_1_1.npz", folder)
    return folder


def change(path: Path, name: str, by: float) -> None:
    with np.load(path) as arrays:
        contents = {key: arrays[key].copy() for key in arrays.files}
    contents[name].flat[0] += by
    np.savez(path, **contents)


@pytest.mark.parametrize(
    ("name", "by"),
    [("final_w1", 1e-8), ("loss", 1e-8), ("probe_goodness", np.nan), ("phase", 1), ("probe_prediction", 1)],
)
def test_check_fails_if_one_number_differs(
    inside: Inside, recordings: Path, monkeypatch: pytest.MonkeyPatch, name: str, by: float
) -> None:
    monkeypatch.setattr(check, "reference_folder", lambda: recordings)
    good = json.loads(inside("bench", "--check", "--json")[0])
    assert good["exact"]
    assert [one["name"] for one in good["trajectories"]] == ["separated_1_1"]
    change(recordings / "separated_1_1.npz", name, by)
    bad, _ = inside("bench", "--check", code=1)
    assert "the engine is not exact here" in bad


def test_check_passes_for_the_recorded_trajectories(inside: Inside) -> None:
    shown, _ = inside("bench", "--check")
    assert all(path.stem in shown for path in check.recorded())
    assert "the engine is exact here" in shown


def test_scaling_measures_predicts_and_plots(inside: Inside, tmp_path: Path) -> None:
    picture = tmp_path / "scaling.svg"
    found = inside.json("bench", "--scaling", "--quick", "--seconds", "0.5", "--plot", str(picture))
    points = found["points"]
    hours = [point for point in points if point["what"] == "hour"]
    assert {"batch size", "width", "updates per batch", "threads"} == {point["quantity"] for point in hours}
    rates = {point["operations"] / point["predicted_seconds"] for point in hours if point["quantity"] != "threads"}
    assert len({round(rate) for rate in rates}) == 1
    for point in points:
        assert point["per_second"] is None or point["per_second"] > 0
    assert "</svg>" in picture.read_text()
    shown, _ = inside("bench", "--scaling", "--quick", "--seconds", "0.1")
    assert "hours by batch size" in shown


def test_conflicting_options_are_refused(inside: Inside, tmp_path: Path) -> None:
    assert "--history and --check" in inside.refused("bench", "--history", "--check")
    assert "--save" in inside.refused("bench", "--save", "--scaling")
    assert "--scaling" in inside.refused("bench", "--plot", str(tmp_path / "a.svg"))
    assert ".svg, .png or .pdf" in inside.refused("bench", "--scaling", "--plot", str(tmp_path / "a.docx"))
    assert "no folder" in inside.refused("bench", "--scaling", "--plot", str(tmp_path / "none" / "a.svg"))


def test_the_sample_replaces_a_full_dataset_that_is_missing(setting: Setting) -> None:
    row = rows.load(replace(setting, quick=False))
    assert row.note == "measured on 10,000 images of the sample and scaled to 60,000"
    assert row.mark == 20
