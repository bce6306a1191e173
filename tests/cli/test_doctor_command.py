"""`ff doctor`: it names what is broken with the command that fixes it, and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import torch
from ff import SMALL
from test_bad_input import save_npz

from ffcli import __version__, machine

if TYPE_CHECKING:
    from pathlib import Path

    from inside import Inside

pytest_plugins = ["inside"]


def findings(
    inside: Inside, *arguments: str, code: int = 0, **environment: str
) -> dict[tuple[str, str], dict[str, Any]]:
    shown = json.loads(inside("doctor", "--json", *arguments, code=code, env=environment).stdout)
    assert shown["ok"] == (code == 0)
    return {(finding["part"], finding["name"]): finding for finding in shown["findings"]}


def test_a_sound_machine_has_nothing_broken(inside: Inside) -> None:
    path = save_npz(inside.ff.folder / "own.npz", side=28)
    found = findings(inside)
    assert found["database", "schema"]["value"] == "there is no database yet: the first run creates it"
    assert not inside.ff.db.exists()
    inside("train", "--dataset", str(path), "--data", "full", *SMALL[2:], "--epochs", "1", "--quiet")
    found = findings(inside)
    assert found["versions", "ffcli"]["value"] == __version__
    assert found["versions", "torch"]["value"] == torch.__version__.partition("+")[0]
    assert found["database", "check"] == {
        "part": "database", "name": "check", "value": "sound", "state": "ok", "fix": None
    }  # fmt: skip
    assert str(path) in found["data", "own"]["value"]
    assert found["data", "cifar10"]["fix"] == "ff data fetch cifar10"
    text = inside("doctor").stdout
    assert "ff data fetch cifar10" in text
    assert "\x1b" not in text


def test_damage_is_named_and_the_exit_code_is_1(inside: Inside) -> None:
    inside("train", *SMALL, "--epochs", "1", "--quiet")
    with closing(sqlite3.connect(inside.ff.db)) as connection, connection:
        connection.execute("UPDATE run SET config = '{'")
    check = findings(inside, code=1)["database", "check"]
    assert (check["state"], check["fix"]) == ("broken", "ff db check")
    with closing(sqlite3.connect(inside.ff.db)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "newer than this program" in findings(inside, code=1)["database", "check"]["value"]


def test_gpu_without_a_compiler_is_slow(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cuda_names", lambda: ["NVIDIA H200"])
    monkeypatch.setattr(machine, "find_spec", lambda name: name)
    assert ("device", "kernel") not in findings(inside, CC="gcc")
    kernel = findings(inside, CC="", PATH=str(inside.ff.folder))["device", "kernel"]
    assert (kernel["state"], kernel["fix"]) == ("slow", "apt install gcc")


def test_data_folder_that_is_read_only_is_not_broken(inside: Inside, read_only_folder: Path) -> None:
    folder = findings(inside, "--data-dir", str(read_only_folder))["data", "folder"]
    assert (folder["state"], folder["fix"]) == ("note", None)


def test_default_data_folder_that_cannot_be_created_is_broken(inside: Inside, read_only_folder: Path) -> None:
    found = findings(inside, code=1, FFCLI_DATA_DIR="", XDG_DATA_HOME=str(read_only_folder / "none"))
    assert found["data", "folder"]["state"] == "broken"


def test_folders_that_do_not_exist_are_broken(inside: Inside) -> None:
    missing = str(inside.ff.folder / "none")
    assert "no such folder" in findings(inside, "--data-dir", missing, code=1)["data", "folder"]["value"]


def test_torch_that_cannot_be_imported_is_reported(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    found = findings(inside, code=1)["processor", "torch"]
    assert (found["state"], found["fix"]) == ("broken", "pip install --force-reinstall torch")
