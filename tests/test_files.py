"""Files are replaced as a whole or not at all."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ffcli.errors import StorageFull
from ffcli.files import replacing

WRITER = """
import os, signal, sys
from pathlib import Path
from ffcli.files import replacing

with replacing(Path(sys.argv[1])) as part:
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.txt"
    with replacing(path) as part:
        part.write_text("old")
    return path


def test_file_is_replaced(file: Path) -> None:
    with replacing(file) as part:
        part.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(file.parent.iterdir()) == [file]


def test_error_leaves_the_old_content_and_no_other_file(file: Path) -> None:
    with pytest.raises(UnicodeEncodeError), replacing(file) as part:
        part.write_text("half, then \N{BLACK SUN WITH RAYS}", encoding="ascii")
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_killed_writer_leaves_the_old_content(file: Path) -> None:
    assert subprocess.run([sys.executable, "-c", WRITER, file], check=False).returncode == -signal.SIGKILL
    assert file.read_text() == "old"


def test_full_disk_raises_storage_full(file: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageFull, match=f"no space left to write {file}"), replacing(file) as part:
            part.write_bytes(bytes(2000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]
