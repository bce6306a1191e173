"""Fixtures and settings of all tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from ffcli.cli.console import err, out
from ffcli.store.database import Store, open_store

sys.path.insert(0, str(Path(__file__).parent))

from ff import FF

# A background job of a shell ignores Ctrl-C, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Threads do not speed up small matrices, and the processes of the suite share the machine.
torch.set_num_threads(1)

# No test depends on the speed of the machine.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def denormal_numbers() -> None:
    """Enable denormal numbers again: training flushes them to zero in the whole process."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True)
def _fresh_consoles() -> Iterator[None]:
    """Create new consoles for each test: a console keeps the stream of the test that created it."""
    out.cache_clear()
    err.cache_clear()
    yield
    out.cache_clear()
    err.cache_clear()


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which the sample is prepared only once."""
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
    """A file system of 1 MB; skips the test if this user may not mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", disk)
    yield disk
    _unmount(disk)


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A read-only view, even for root, of the folder `tmp_path / "open"`; skips the test if this user may not mount."""
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
    """Detach the file system even if a process still has files open there."""
    subprocess.run(["umount", "--lazy", folder], check=True)
