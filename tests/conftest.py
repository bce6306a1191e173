"""Shared by all tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ffcli.cli.console import err, out
from ffcli.store.database import Store, open_store

sys.path.insert(0, str(Path(__file__).parent))

from ff import FF

# Started as a background job of a shell, the suite ignores Ctrl-C, and so would each program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Small matrices gain nothing from threads, and the suite's processes share the machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def denormal_numbers() -> None:
    """A training in this process flushes them from then on; what draws floats of all sizes needs them."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _fresh_consoles() -> Iterator[None]:
    """A console holds the stream of the test that made it."""
    out.cache_clear()
    err.cache_clear()
    yield
    out.cache_clear()
    err.cache_clear()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sample is prepared once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def ff(tmp_path: Path, data_folder: Path) -> FF:
    return FF(tmp_path, data_folder)


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
    _unmount(disk)


@pytest.fixture
def sealed_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that becomes read-only, even for root, once `tmp_path / "open"` is filled: a read-only bind mount."""
    source, sealed = tmp_path / "open", tmp_path / "sealed"
    source.mkdir()
    sealed.mkdir()
    _mount("--bind", source, sealed)
    try:
        _mount("-o", "remount,ro,bind", sealed)
        yield sealed
    finally:
        _unmount(sealed)


def _mount(*arguments: str | Path) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount: {error}")


def _unmount(folder: Path) -> None:
    """Detach at once, and completely when the last process has closed its files there."""
    subprocess.run(["umount", "--lazy", folder], check=True)
