"""The wheel contains everything that the program needs, and the installed program runs from any folder."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ff import SMALL

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("ffcli-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Callable[..., Any]:
    """Install the wheel into an empty folder and return a function that runs its `ff` from another folder."""
    site, home = wheel.parent / "site", wheel.parent / "home"
    home.mkdir()
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target", str(site)]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True, stdin=subprocess.DEVNULL)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FFCLI_")}
    environment = kept | {
        "PYTHONPATH": str(site), "XDG_DATA_HOME": str(home), "HOME": str(home),
        "FFCLI_DATA": "sample", "FFCLI_DEVICE": "cpu", "FFCLI_THREADS": "1",
    }  # fmt: skip

    def ff(*arguments: str) -> Any:
        command = [sys.executable, str(site / "bin" / "ff"), *arguments, "--json"]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return ff


def test_wheel_contains_all_files_and_only_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.message_from_bytes(
            archive.read(next(name for name in names if name.endswith(".dist-info/METADATA")))
        )
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "ffcli").rglob("*") if path.is_file()}
    migrations = {f"ffcli/{path.relative_to(ROOT)}" for path in (ROOT / "migrations").rglob("*.py")}
    recorded = {f"ffcli/reference/{path.name}" for path in (ROOT / "tests" / "reference").iterdir()}
    expected = {name for name in sources | migrations | recorded if "__pycache__" not in name}
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {"ffcli/migrations/env.py", "ffcli/published.toml", "ffcli/data/sample/mnist.npz"} <= names
    assert any(name.startswith("ffcli/migrations/versions/0001") for name in names)
    # Only lower bounds, so that installing keeps an installed torch.
    required = [line.partition(";")[0] for line in metadata.get_all("Requires-Dist") or []]
    assert any(line.startswith("torch>=") for line in required)
    assert [line for line in required if "==" in line or "<" in line] == []


def test_installed_program_is_exact(installed: Callable[..., Any]) -> None:
    found = installed("bench", "--check")
    assert found["exact"]
    assert len(found["trajectories"]) == 7


def test_installed_program_trains_and_reports(installed: Callable[..., Any], wheel: Path) -> None:
    home = wheel.parent / "home"
    trained = installed("train", *SMALL, "--epochs", "1")
    assert (trained["status"], trained["config"]["data"]["source"]) == ("completed", "sample")
    assert trained["provenance"][0]["revision"] is None
    health = installed("db", "check")
    assert (health["path"], health["runs"]) == (str(home / "ffcli" / "ffcli.db"), 1)
    assert health["revision"] == health["head"]
    (sample,) = (table for table in installed("report", "--table", "1", "--all") if table["data"] == "sample")
    assert {cell["published"] for row in sample["rows"] for cell in row["cells"]} >= {97.7, 88.7}
