"""`ff export --to`: what a tracker reads back is what is stored."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ff import SMALL

from ffcli.store import runs
from ffcli.store.database import open_store
from ffcli.trackers import metrics, parameters

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]


@pytest.fixture
def trained(inside: Inside) -> Inside:
    """Return `ff` with two runs of two epochs, one of them with a cure and labels."""
    inside("train", *SMALL, "--epochs", "2", "--quiet", "--neg", "masks", "--pos-phase", "2")
    inside(
        "train", *SMALL, "--epochs", "2", "--quiet", "--cure", "replay", "--name", "cured", "--tag", "a", "--note", "b"
    )
    return inside


def stored(inside: Inside) -> dict[str, tuple[dict[str, Any], list[dict[str, float]]]]:
    """The parameters and the metrics of each epoch, by id."""
    with open_store(inside.ff.db, create=False) as store:
        return {
            run.id: (parameters(run), [metrics(epoch) for epoch in runs.epochs(store, run.id)])
            for run in runs.list_runs(store)
        }


def test_tensorboard_reads_the_runs_back(trained: Inside, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    place = tmp_path / "board"
    trained("export", "--to", "tensorboard", str(place), "--tag", "a")
    _, message = trained("export", "--to", "tensorboard", str(place))
    assert message == f"written to {place}: 2 runs\n"
    for id, (settings, epochs) in stored(trained).items():
        (folder,) = place.glob(f"*-{id[:12]}")
        board = EventAccumulator(str(folder))
        board.Reload()
        for name, value in epochs[2].items():
            points = [(p.step, p.value) for p in board.Scalars(name)]
            assert [step for step, _ in points] == [n for n, epoch in enumerate(epochs) if name in epoch], name
            assert points[-1][1] == pytest.approx(value)
        content = board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        shown = HParamsPluginData.FromString(content).session_start_info.hparams
        assert set(shown) == settings.keys()
        assert shown["negatives"].string_value == settings["negatives"]
        assert shown["lr_positive"].number_value == settings["lr_positive"]


def test_mlflow_reads_the_runs_back(trained: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    place = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert trained("export", "--to", "mlflow", place).stderr.endswith(f"written to {place}: 2 runs\n")
    trained("train", *SMALL, "--epochs", "3", "--quiet", "--cure", "replay")
    again = trained("export", "--to", "mlflow", place).stderr
    assert again.endswith(f"written to {place}: 1 run, 1 already there\n")

    client = MlflowClient(tracking_uri=place)
    experiment = client.get_experiment_by_name("ffcli")
    assert experiment is not None
    found = {run.data.tags["ffcli.run_id"]: run for run in client.search_runs([experiment.experiment_id])}
    expected = stored(trained)
    assert found.keys() == expected.keys()
    for id, (settings, epochs) in expected.items():
        run = found[id]
        assert run.data.params == {name: str(value) for name, value in settings.items()}
        assert run.info.status == "FINISHED"
        for name in epochs[2]:
            points = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            assert points == [(n, epoch[name]) for n, epoch in enumerate(epochs) if name in epoch], name
    (cured,) = (run for run in found.values() if run.info.run_name == "cured")
    assert (cured.data.tags["ffcli.tags"], cured.data.tags["mlflow.note.content"]) == ("a", "b")


@pytest.mark.parametrize("tracker", ["tensorboard", "mlflow"])
def test_a_missing_package_or_a_wrong_option_is_one_line(inside: Inside, tracker: str, tmp_path: Path) -> None:
    inside("train", *SMALL, "--epochs", "1", "--quiet")
    assert "ff export --to mlflow URI" in inside.refused("export", "--to", tracker)
    assert "without --to" in inside.refused("export", str(tmp_path))
    assert "contradicts" in inside.refused("export", "--to", tracker, str(tmp_path), "--json")
    if importlib.util.find_spec(tracker) is None:
        assert f'pip install "ffcli[{tracker}]"' in inside.refused("export", "--to", tracker, str(tmp_path / "new"))
