"""The Python API, its documentation and the examples, as programs use them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ff import FF

import ffcli
from ffcli import settings
from ffcli.errors import BadData, BadOption, FFError, MissingPackage, NoSuchRun

ROOT = Path(__file__).parent.parent
SMALL: dict[str, Any] = {"hidden": [30, 20], "epochs": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Iterator[FF]:
    """A database of the module's tests, named by the environment."""
    ff = FF(tmp_path_factory.mktemp("api"), data_folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ff.environment.items():
            if name.startswith("FFCLI_"):
                patch.setenv(name, value)
        patch.setenv("MPLBACKEND", "agg")
        yield ff


def test_import_is_fast_and_loads_nothing_heavy() -> None:
    heavy = {"torch", "sqlalchemy", "pydantic", "pandas", "numpy", "typer", "rich"}
    program = (
        "import sys, time; t = time.perf_counter(); import ffcli; seconds = time.perf_counter() - t; dir(ffcli);"
        f" print(seconds, sorted({heavy} & sys.modules.keys()))"
    )
    outputs = [subprocess.check_output([sys.executable, "-c", program], text=True) for _ in range(3)]
    assert all(output.endswith(" []\n") for output in outputs)
    assert min(float(output.split()[0]) for output in outputs) < 0.1


def test_a_run_is_trained_once_and_agrees_with_the_command_line(home: FF) -> None:
    seen: list[int] = []
    run = ffcli.train(neg="masks", pos_phase=16, progress=lambda epoch: seen.append(epoch.epoch), name="api", **SMALL)
    again = ffcli.train(neg="masks", pos_phase=16, **SMALL)
    shown = home.json("show", "api")
    assert (run.cached, again.cached, seen) == (False, True, [0, 1, 2])
    assert run.id == again.id == shown["id"]
    assert json.loads(json.dumps(run.to_dict())) == {name: value for name, value in shown.items() if name != "trace"}
    shorter = ffcli.train(neg="masks", pos_phase=16, **SMALL | {"epochs": 1})
    assert shorter.final_accuracy == run.epochs[1].accuracy
    assert [record.id for record in ffcli.runs(neg="masks")] == [run.id]
    assert [row.epoch for row in ffcli.epochs(run)] == [row.epoch for row in ffcli.epochs("api")] == list(run.epochs)


def test_keywords_are_the_settings() -> None:
    import inspect

    names = set(inspect.signature(ffcli.train).parameters)
    assert names == {*settings.names(), "db", "data_dir", "force", "progress"}
    assert all(f" {name}: " in (ffcli.train.__doc__ or "") for name in settings.names())
    assert set(ffcli.__all__) <= set(dir(ffcli))


def test_predictions_are_those_of_the_evaluation(home: FF, data_folder: Path) -> None:
    from ffcli.data.catalogue import CATALOGUE
    from ffcli.data.sources import sample_file

    run = ffcli.train(neg="masks", pos_phase=16, **SMALL)
    with np.load(sample_file(CATALOGUE["mnist"])) as sample:
        images, labels = sample["test_images"], sample["test_labels"]
    predicted = run.predict(images)
    scores = run.evaluate()
    assert predicted.shape == (2000,)
    assert 100 * (predicted == labels).sum() / 2000 == scores.accuracy == run.final_accuracy
    assert (run.predict(images[:3, ..., np.newaxis]) == predicted[:3]).all()
    assert run.goodness(images[:3]).shape == (3, 2, 10)
    assert run.predict(images[:0]).shape == (0,)
    assert not any(parameter.requires_grad for parameter in run.network.parameters())
    with pytest.raises(BadData, match="not one array"):
        run.predict([images[0], images[1, :20]])
    for wrong in (images[0], images[:2] / 255, images[:2, :20], np.zeros((2, 28, 28, 3), np.uint8), "a"):
        with pytest.raises(BadData, match="takes uint8"):
            run.predict(wrong)


def test_errors_are_one_line_exceptions(home: FF) -> None:
    calls: list[tuple[Any, type[FFError], str]] = [
        (lambda: ffcli.train(datset="mnist"), BadOption, "did you mean 'dataset'"),
        (lambda: ffcli.train(dataset="minst"), FFError, "did you mean 'mnist'"),
        (lambda: ffcli.train(epochs="many"), BadOption, "--epochs should be a whole number"),
        (lambda: ffcli.train(pos_phase=2, unseparated=True), BadOption, "no phases"),
        (lambda: ffcli.load("nosuch"), NoSuchRun, "no run 'nosuch'"),
        (lambda: ffcli.runs(dataset="minst"), BadOption, "did you mean 'mnist'"),
        (lambda: ffcli.runs(since="yesterday"), BadOption, "2025-01-31"),
        (lambda: ffcli.runs(limit=-1), BadOption, "at least 0"),
        (lambda: ffcli.epochs("last", neg="masks"), BadOption, "not both"),
    ]
    for call, kind, message in calls:
        with pytest.raises(kind, match=message) as raised:
            call()
        assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(AttributeError, match="trian"):
        ffcli.trian  # noqa: B018


def test_notebook_representations_are_escaped(home: FF) -> None:
    hostile = "<script>alert(1)</script>"
    run = ffcli.train(seed=1, name=hostile, note=hostile, tag=[hostile], **SMALL)
    for shown in (run._repr_html_(), ffcli.runs()._repr_html_(), ffcli.epochs(run)._repr_html_()):
        assert "<script>" not in shown
    assert run._repr_html_().count("&lt;script&gt;") == 3
    assert "<svg" in run._repr_html_()
    assert f"{run.final_accuracy:.2f} %" in repr(run)


def test_data_frames_have_the_columns_of_the_export(home: FF, monkeypatch: pytest.MonkeyPatch) -> None:
    ffcli.train(seed=1, **SMALL)
    if find_spec("pandas") is None:
        with pytest.raises(MissingPackage, match=r"pip install .ffcli\[pandas\]"):
            ffcli.runs().to_pandas()
        pytest.skip("pandas is not installed")
    header = home("export").stdout.splitlines()[0].split(",")
    epochs = ffcli.epochs().to_pandas()
    assert list(epochs.columns) == header
    assert len(epochs) == len(home("export").stdout.splitlines()) - 1
    runs = ffcli.runs().to_pandas()
    assert set(runs["final_accuracy"]) == {record.final_accuracy for record in ffcli.runs()}
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingPackage):
        ffcli.runs().to_pandas()


def run_code(cells: list[str], name: str) -> dict[str, Any]:
    """Run pieces of code one after the other in one namespace, with the last expression of each as a notebook does."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate(cells):
        tree = ast.parse(cell)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{name}, cell {number}", "exec"), names)
        if isinstance(last, ast.Expr):
            shown = eval(compile(ast.Expression(last.value), f"{name}, cell {number}", "eval"), names)
            getattr(shown, "_repr_html_", lambda: "")()
    return names


def test_the_code_of_the_page_runs(home: FF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFCLI_DB", str(tmp_path / "page.db"))
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    if find_spec("pandas") is None:
        page = re.sub(r"<!-- needs pandas -->\n```python.*?```", "", page, flags=re.DOTALL)
    cells = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert len(cells) >= 6
    assert run_code(cells, "docs/python.md")["labels"].shape == (5,)


def test_the_examples_run(home: FF, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notebook finds every run of the script in the database, so that both together take seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FFCLI_DB", str(tmp_path / "study.db"))
    script = (ROOT / "examples" / "study.py").read_text(encoding="utf-8")
    assert len(script.splitlines()) <= 30
    names = run_code([script], "examples/study.py")
    assert (tmp_path / "study.png").stat().st_size > 1000
    notebook = json.loads((ROOT / "examples" / "study.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    found = run_code(cells, "examples/study.ipynb")
    assert all(run.cached for runs in found["trained"].values() for run in runs)
    assert found["best"].id == names["best"].id
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"]), "the outputs are not stored"
