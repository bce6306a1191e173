"""The engine reproduces every recorded trajectory of the published code.

The recordings are read from the folder FFCLI_TRAJECTORIES, by default tests/reference.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ffcli.bench.check import recorded, replay
from ffcli.engine.labels import Labelled, overlay

FOLDER = Path(os.environ.get("FFCLI_TRAJECTORIES") or Path(__file__).parents[1] / "reference")


@pytest.mark.parametrize("path", recorded(FOLDER), ids=lambda path: path.stem)
def test_engine_reproduces_the_recorded_trajectory(path: Path) -> None:
    found = replay(path)
    assert found.hours > 0
    assert found.tolerance == (1e-9 if found.dtype == "float64" else 1e-5)
    assert found.same_choices
    assert found.weights_error <= found.tolerance
    assert found.loss_error <= found.tolerance
    assert found.goodness_error <= found.tolerance
    assert found.exact


def test_overlay_reproduces_the_recorded_file() -> None:
    with np.load(FOLDER / "overlay.npz") as arrays:
        x, y, expected = (torch.from_numpy(arrays[name]) for name in ("x", "y", "overlaid"))
    assert torch.equal(overlay(Labelled(x, y, float(x.max())), classes=10, out=torch.empty_like(x)), expected)
