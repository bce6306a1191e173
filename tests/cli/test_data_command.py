"""`ff data`: results on stdout, messages on stderr, JSON with stable names."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ff import SMALL
from test_bad_input import save_npz
from typer.testing import CliRunner, Result

from ffcli.cli.data import data_app
from ffcli.data.catalogue import CATALOGUE
from ffcli.data.datasets import locate
from ffcli.errors import BadData, DownloadFailed

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

FIELDS = {"name", "source", "origin", "image_shape", "train", "test", "fingerprint", "bytes", "prepared"}


def ff_data(*arguments: str | Path, **environment: str) -> Result:
    return CliRunner().invoke(data_app, [str(a) for a in arguments], env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder with one prepared file and one prepared sample."""
    path = tmp_path / "tiny.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (8, 5, 5), dtype=np.uint8)
    np.savez(path, train_images=pixels, train_labels=np.arange(8) % 2, test_images=pixels, test_labels=np.arange(8) % 2)
    locate(str(path), folder=tmp_path, notify=lambda line: None)
    locate("mnist", wanted="sample", folder=tmp_path, notify=lambda line: None)
    return tmp_path


def test_list_shows_the_available_datasets(folder: Path) -> None:
    entries: list[dict[str, Any]] = json.loads(ff_data("list", "--json", "--data-dir", folder).stdout)
    assert all(set(entry) == FIELDS for entry in entries)
    found = {(e["name"], e["source"]): (e["train"], e["prepared"]) for e in entries}
    assert found.items() >= {("tiny", "file"): (8, True), ("mnist", "sample"): (10_000, True)}.items()

    result = ff_data("list", FFCLI_DATA_DIR=str(folder))
    assert result.exit_code == 0
    assert re.match(r"not available in full: .*cifar10.*; `ff data fetch` downloads", result.stderr)
    rows = [line.split() for line in result.stdout.splitlines()]
    tiny = next(row for row in rows if row[0] == "tiny")
    fingerprint = next(e["fingerprint"] for e in entries if e["name"] == "tiny")
    assert tiny[1:5] == ["1x5x5", "8", "8", fingerprint[:12]]
    assert "\x1b" not in result.stdout


@pytest.fixture
def complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a small but complete MNIST, without a network."""
    source = tmp_path / "source"
    source.mkdir()
    files = []
    for name, _ in CATALOGUE["mnist"].files:
        array = np.arange(8, dtype=np.uint8) % 2 if "labels" in name else np.ones((8, 28, 28), np.uint8)
        raw = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()
        (source / name).write_bytes(raw)
        files.append((name, hashlib.md5(raw).hexdigest()))
    monkeypatch.setenv("no_proxy", "*")
    small = dataclasses.replace(CATALOGUE["mnist"], files=tuple(files), host="http://127.0.0.1:9", system=None)
    monkeypatch.setitem(CATALOGUE, "mnist", small)
    return source


def test_fetch_downloads_nothing_after_an_import(complete: Path, tmp_path: Path) -> None:
    asked = ff_data("fetch", "mnist", "--data-dir", tmp_path / "data")
    assert isinstance(asked.exception, DownloadFailed)
    imported = ff_data("import", "mnist", complete, "--data-dir", tmp_path / "data")
    fetched = ff_data("fetch", "mnist", "--json", FFCLI_DATA_DIR=str(tmp_path / "data"))
    ref = json.loads(fetched.stdout)
    assert imported.stdout == f"mnist: 8 training and 8 test images, {ref['fingerprint'][:12]}\n"
    assert imported.stderr == f"preparing mnist from {complete}\n"
    assert (ref["name"], ref["source"], ref["train"], ref["classes"], fetched.stderr) == ("mnist", "full", 8, 2, "")


def test_importing_wrong_files_explains_what_is_expected(folder: Path) -> None:
    for name, message in (
        ("mnist", "train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-python.tar.gz"),
        ("mnsit", "'mnist'"),
    ):
        result = ff_data("import", name, folder, "--data-dir", folder)
        assert isinstance(result.exception, BadData)
        assert message in str(result.exception)


def test_show_names_path_and_fingerprint_of_own_data(inside: Inside) -> None:
    path = save_npz(inside.ff.folder / "mnist.npz", side=28)
    inside("train", "--dataset", str(path), "--data", "full", *SMALL[2:], "--epochs", "1", "--quiet")
    (run,) = inside.json("list-runs")
    data = run["config"]["data"]
    assert data["name"] == "mnist.npz"
    shown = inside("show", run["id"], env={"COLUMNS": "300"}).stdout
    assert f"data {path}, fingerprint {data['fingerprint'][:12]}" in shown
    assert shown.startswith("mnist.npz")


def test_help_loads_no_heavy_library() -> None:
    program = (
        "import sys, contextlib, ffcli.cli.main as cli; sys.argv = ['ff', '--help']\n"
        "with contextlib.suppress(SystemExit): cli.main()\n"
        "assert not {'pydantic', 'sqlalchemy', 'numpy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


def test_importing_the_command_loads_no_heavy_library() -> None:
    program = "import sys, ffcli.cli.data; print({'numpy', 'rich', 'pydantic', 'torch'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"
