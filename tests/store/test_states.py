"""State files: saved states read back exactly, and damage is always detected."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffcli.errors import BadDatabase, DamagedState, StorageFull
from ffcli.store import states
from ffcli.store.database import Store

TENSORS: states.Tensors = {
    "layer1.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "layer1.moment": np.linspace(0, 1, 6).reshape(2, 3).T,  # not contiguous
    "generator": np.frombuffer(bytes(range(256)), dtype=np.uint8),
    "step": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 5)),
}


def saved(path: Path) -> Path:
    states.save(path, TENSORS, key="k" * 64, epoch=3)
    return path


def test_saved_state_reads_back(store: Store) -> None:
    path = states.state_path(store, "a" * 32)
    assert path.parent == store.path.with_name("runs.db.states")
    saved(path)
    tensors, epoch = states.load(saved(path), key="k" * 64)
    assert epoch == 3
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in tensors.items():
        assert tensor.dtype == TENSORS[name].dtype
        np.testing.assert_array_equal(tensor, TENSORS[name])
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2**20), bit=st.integers(0, 7))
def test_flipped_bit_is_detected(tmp_path: Path, position: int, bit: int) -> None:
    path = saved(tmp_path / "state.safetensors")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(DamagedState):
        states.load(path, key="k" * 64)


@pytest.mark.parametrize("length", [0, 4, 100, 700, -1])
def test_truncated_file_is_detected(tmp_path: Path, length: int) -> None:
    path = saved(tmp_path / "state.safetensors")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedState, match="cannot be read"):
        states.load(path, key="k" * 64)


def test_missing_state_and_state_of_another_run_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "state.safetensors")
    with pytest.raises(DamagedState, match="another run"):
        states.load(path, key="other")
    with pytest.raises(DamagedState, match="cannot be read"):
        states.load(tmp_path / "none.safetensors", key="other")


def test_damaged_files_are_kept_under_distinct_names(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    aside = {states.set_aside(saved(path)) for _ in range(3)}
    assert len(aside) == 3
    assert set(tmp_path.iterdir()) == aside
    assert all(p.name.endswith(".damaged") for p in aside)


def test_full_disk_keeps_the_old_state(tiny_disk: Path) -> None:
    path = saved(tiny_disk / "state.safetensors")
    with pytest.raises(StorageFull, match="no space left"):
        states.save(path, {"w": np.zeros(2**20)}, key="k" * 64, epoch=4)
    assert [p.name for p in tiny_disk.iterdir()] == [path.name]
    assert states.load(path, key="k" * 64)[1] == 3


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadDatabase):
        saved(tmp_path / "file" / "state.safetensors")
    assert os.listdir(tmp_path) == ["file"]
