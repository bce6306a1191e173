"""The content of cells, and that every run is in exactly the cells where it belongs."""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, stdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_protocol import admits, data_ref, on_gpu, outcome

from ffcli import published
from ffcli.choices import Metric
from ffcli.records import Outcome
from ffcli.report.cells import Cell
from ffcli.report.protocol import Protocol
from ffcli.report.tables import Table, build, caption, draw_tables, tables_document
from ffcli.report.titles import protocol_of
from ffcli.schedule import Schedule


def tables_of(*outcomes: Outcome, metric: Metric = "final", epochs: int = 20) -> list[Table]:
    return build(Protocol(), epochs, outcomes, metric)


def cell_at(table: Table, dataset: str, negatives: str, schedule: str) -> Cell:
    cells = [
        cell
        for row in table.rows
        for cell in row.cells
        if (row.dataset, row.negatives, str(cell.schedule)) == (dataset, negatives, schedule)
    ]
    assert len(cells) == 1
    return cells[0]


def test_tables_without_runs_equal_the_paper() -> None:
    for table in draw_tables([], lambda horizon: [], default=Protocol()):
        paper = published.tables()[table.number]
        assert table.schedules == paper.schedules
        assert [(row.dataset, row.negatives) for row in table.rows] == list(paper.rows)
        for row in table.rows:
            for cell in row.cells:
                figure = paper.rows[row.dataset, row.negatives][cell.schedule]
                assert (cell.published, cell.published_learned) == (figure, figure is not None)
                assert (cell.measured.mean, cell.measured.runs, cell.measured.learned) == (None, 0, None)
        assert table.epochs == 20
        assert table.next_command == "ff train --dataset mnist --data full --neg label --unseparated"


def test_selected_rows_and_own_data_bring_no_other_rows() -> None:
    runs = [outcome("2:1", 50.0, data=data_ref("fashion"), neg="masks")]
    (_, table) = draw_tables(
        [o.run for o in runs], lambda _: runs, default=Protocol(), dataset="fashion", negatives="masks"
    )
    assert [(row.dataset, row.negatives) for row in table.rows] == [("fashion", "masks")]
    assert (table.size, len(table.missing)) == (6, 5)
    (sheet,) = tables_document([table]).sheets
    assert sheet.hints[-1].text == "  ff sweep --table 2 --data full --dataset fashion --neg masks"

    own = outcome("2:1", 50.0, data=data_ref("mine", "file"))
    (_, table) = draw_tables([own.run], lambda _: [own], default=Protocol())
    assert [row.dataset for row in table.rows] == ["mine"]
    assert table.next_command == "ff train --dataset /data/mine.npz --neg label --unseparated"
    (_, table) = tables_of(own, *runs)
    assert [row.dataset for row in table.rows] == ["mnist", "mnist", "fashion", "fashion", "mine"]


def test_cell_is_the_mean_over_its_seeds() -> None:
    runs = [outcome("16:1", value, seed=seed) for seed, value in enumerate((30.0, 40.0, 44.0))]
    cell = cell_at(tables_of(*runs)[1], "mnist", "label", "16:1").measured
    assert (cell.runs, cell.seeds) == (3, (0, 1, 2))
    assert cell.mean == pytest.approx(38.0)
    assert cell.std == pytest.approx(stdev((30, 40, 44)))
    alone = cell_at(tables_of(runs[0])[1], "mnist", "label", "16:1")
    assert (alone.measured.std, alone.difference) == (None, None)
    assert cell_at(tables_of(outcome(accuracy=87.5))[0], "mnist", "label", "1:1").difference == -1.5


def test_runs_of_a_seed_on_two_devices_count_once() -> None:
    gpu = on_gpu(outcome(accuracy=90.0))
    table = tables_of(outcome(accuracy=80.0), gpu, outcome(accuracy=87.0, seed=1))[0]
    cell = cell_at(table, "mnist", "label", "1:1").measured
    assert (cell.runs, cell.seeds, cell.devices) == (3, (0, 1), ("cpu", "cuda"))
    assert (cell.mean, cell.std) == (86.0, stdev((85.0, 87.0)))
    assert caption(table) == "fast@1 · full data · final test accuracy in % after 20 epochs · seeds 0-1 · cpu, cuda"
    assert protocol_of(gpu.run.config) == "fast@1 with device cuda"


@pytest.mark.parametrize(("metric", "value"), [("final", 50.0), ("best", 70.0), ("last5", 60.0)])
def test_metrics(metric: Metric, value: float) -> None:
    reached = outcome()
    run = Outcome(reached.run, 20, 20, final=50.0, best=70.0, last5=60.0)
    assert cell_at(tables_of(run, metric=metric)[0], "mnist", "label", "1:1").measured.mean == value


def test_runs_at_chance_have_not_learned_but_keep_their_accuracy() -> None:
    chance = [outcome("8:1", 11.35 + 1.4, seed=seed) for seed in (0, 1)]
    cell = cell_at(tables_of(*chance)[1], "mnist", "label", "8:1").measured
    assert cell.learned is False
    assert cell.mean == pytest.approx(12.75)
    cell = cell_at(tables_of(*chance, outcome("8:1", 13.0, seed=2))[1], "mnist", "label", "8:1").measured
    assert (cell.learned, cell.runs) == (True, 3)


def test_runs_short_of_the_horizon_are_shown_but_not_counted() -> None:
    short = outcome(reached=7, status="running")
    table = tables_of(short)[0]
    cell = cell_at(table, "mnist", "label", "1:1")
    assert (cell.measured.runs, cell.measured.mean, cell.measured.short) == (0, None, "7/20 ep")
    assert cell not in [missing for _, missing in table.missing]
    both = cell_at(tables_of(short, outcome(accuracy=66.0, seed=1))[0], "mnist", "label", "1:1").measured
    assert (both.runs, both.mean, both.short) == (1, 66.0, None)
    failed = outcome(reached=3, status="failed")
    assert cell_at(tables_of(failed)[0], "mnist", "label", "1:1").measured.short == "failed"
    again = outcome(accuracy=61.0)
    assert again.run.key == failed.run.key
    assert cell_at(tables_of(again, failed)[0], "mnist", "label", "1:1").measured.mean == 61.0


def test_other_schedules_get_a_column_or_the_line_below_the_table() -> None:
    one, two = tables_of(outcome("3:3"), outcome("5:1"), outcome("4:2"), outcome("1:3"))
    assert [str(s) for s in one.schedules][:5] == ["unseparated", "1:1", "2:2", "3:3", "4:4"]
    assert [str(s) for s in two.schedules][3:5] == ["4:1", "5:1"]
    assert one.others == ()
    assert [str(cell.schedule) for row in two.others for cell in row.cells] == ["1:3", "4:2"]
    assert build(Protocol(), 20, [outcome("4:2")], numbers=(1,))[0].others


def test_datasets_with_the_same_name_have_separate_rows() -> None:
    other = data_ref(fingerprint="ab" * 32)
    own = data_ref("mnist", "file", fingerprint="cd" * 32)
    table = tables_of(outcome(accuracy=80.0), outcome(accuracy=60.0, data=other), outcome(accuracy=40.0, data=own))[0]
    labels = [row.dataset for row in table.rows if row.negatives == "label"]
    full = data_ref().fingerprint[:8]
    assert labels == [*sorted(["mnist abababab", f"mnist {full}"]), "fashion", "mnist cdcdcdcd"]
    assert cell_at(table, "mnist abababab", "label", "1:1").published == 89
    mine = cell_at(table, "mnist cdcdcdcd", "label", "1:1")
    assert (mine.measured.mean, mine.published, mine.published_learned) == (40.0, None, None)
    assert table.rows[-1].source == "/data/mnist.npz"


def test_each_protocol_is_read_at_its_own_horizon() -> None:
    runs = [outcome(epochs=20), outcome(preset="paper", epochs=500), outcome(data=data_ref(source="sample"))]
    asked: list[int] = []

    def outcomes_at(horizon: int) -> list[Outcome]:
        asked.append(horizon)
        return [Outcome(o.run, horizon, min(o.run.epochs_done, horizon), 50.0, 50.0, 50.0) for o in runs]

    drawn = draw_tables([o.run for o in runs], outcomes_at, default=Protocol(), numbers=(2,))
    assert [(t.protocol.label, t.protocol.data, t.epochs) for t in drawn] == [
        ("fast@1", "full", 20),
        ("paper@1", "full", 500),
        ("fast@1", "sample", 20),
    ]
    assert sorted(asked) == [20, 500]
    kept = draw_tables([runs[0].run], outcomes_at, default=Protocol())
    assert sum(cell.measured.runs for table in kept for row in table.rows for cell in row.cells) == 2


outcomes = st.builds(
    outcome,
    schedule=st.sampled_from(["unseparated", "1:1", "2:2", "3:3", "64:64", "2:1", "5:1", "16:1", "4:2", "1:2"]),
    accuracy=st.floats(20, 99),
    data=st.builds(
        data_ref,
        st.sampled_from(["mnist", "fashion", "own"]),
        st.sampled_from(["full", "sample", "file"]),
        st.sampled_from([None, "ab" * 32]),
    ),
    reached=st.sampled_from([20, 20, 20, 5]),
    horizon=st.just(20),
    seed=st.integers(0, 2),
    neg=st.sampled_from(["label", "masks"]),
    mask_blur=st.sampled_from([5, 6]),
    lr_scaling=st.sampled_from(["ratio", "none", "notebook"]),
    threshold=st.sampled_from([1.5, 2.0]),
)


@settings(deadline=None)
@given(st.lists(outcomes, max_size=30, unique_by=lambda o: (o.run.config.data.name, o.run.key)))
def test_every_run_is_in_one_cell_of_each_protocol_that_admits_it_and_in_no_other(runs: list[Outcome]) -> None:
    drawn = draw_tables([o.run for o in runs], lambda horizon: runs, default=Protocol(), epochs=20)
    for run in runs:
        assert any(admits(table.protocol, run.run.config) for table in drawn)
    for table in drawn:
        expected: dict[tuple[str, str, str, Schedule], list[float]] = defaultdict(list)
        for run in runs:
            config = run.run.config
            if admits(table.protocol, config) and run.final is not None and _in_table(table.number, config.schedule):
                place = (config.data.name, config.data.fingerprint, config.negatives, config.schedule)
                expected[place].append(run.final)
        counted = {
            (row.dataset.split()[0], row.fingerprint, row.negatives, cell.schedule): cell.measured
            for row in table.rows
            for cell in row.cells
            if cell.measured.runs
        }
        assert counted.keys() == expected.keys()
        for place, values in expected.items():
            assert counted[place].runs == len(values)
            assert counted[place].mean == pytest.approx(mean(values))
        assert len({(row.dataset, row.negatives) for row in table.rows}) == len(table.rows)
        assert all(tuple(cell.schedule for cell in row.cells) == table.schedules for row in table.rows)


def _in_table(number: int, schedule: Schedule) -> bool:
    if not schedule.separated:
        return True
    return schedule.positive == schedule.negative if number == 1 else schedule.negative == 1
