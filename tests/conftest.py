"""Shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from ff import FF  # noqa: E402

# Small matrices gain nothing from threads, and the suite's processes share the machine.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sample is prepared once for all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def ff(tmp_path: Path, data_folder: Path) -> FF:
    return FF(tmp_path, data_folder)
