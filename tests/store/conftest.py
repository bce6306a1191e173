from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ffcli.store.database import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "runs.db") as store:
        yield store


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB; skipped where this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture
def sealed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that becomes read-only, even for root, once `tmp_path / "open"` is filled: a read-only bind mount."""
    source, sealed = tmp_path / "open", tmp_path / "sealed"
    source.mkdir()
    sealed.mkdir()
    _mount("--bind", source, sealed)
    subprocess.run(["mount", "-o", "remount,ro,bind", sealed], check=True)
    yield sealed
    subprocess.run(["umount", sealed], check=True)


def _mount(*arguments: str | Path) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount: {error}")
