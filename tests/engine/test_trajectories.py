"""The engine reproduces every recorded trajectory of the published code.

Reads the folder that FFCLI_TRAJECTORIES names, else tests/reference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ffcli.config import Schedule
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.network import Network, goodness_by_layer, label_goodness, make_network, predict, train_hour
from ffcli.engine.phases import phase_of, phases

FOLDER = Path(os.environ.get("FFCLI_TRAJECTORIES") or Path(__file__).parents[1] / "reference")
RECORDED = sorted(path for path in FOLDER.glob("*.npz") if "meta" in np.load(path))
SIGNS = {"positive": 1, "negative": -1, "joint": 0}


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(request.param) as arrays:
        record = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "meta"}
        record["meta"] = json.loads(str(arrays["meta"]))
    return record


def test_there_are_trajectories() -> None:
    assert RECORDED, f"no recorded trajectory in {FOLDER}"


def test_engine_reproduces_the_recorded_trajectory(recorded: dict[str, Any]) -> None:
    meta = recorded["meta"]
    assert_near = partial(torch.testing.assert_close, rtol=0, atol=1e-9 if meta["dtype"] == "float64" else 1e-5)
    schedule = Schedule(positive=meta["positive_hours"], negative=meta["negative_hours"])
    rates = {"positive": meta["lr_positive"], "negative": meta["lr_negative"], "joint": meta["lr_joint"]}
    network = _initial_network(recorded, schedule)

    for hour in range(meta["hours"]):
        phase = phase_of(schedule, hour)
        assert SIGNS[phase] == recorded["phase"][hour]
        positive, negative = _hour_data(recorded, hour)
        losses = train_hour(
            network,
            positive if phase != "negative" else None,
            negative if phase != "positive" else None,
            phase=phase,
            lr=rates[phase],
            threshold=meta["threshold"],
            updates=meta["inner_updates"],
        )
        loss = losses.mean() if phase == "joint" else losses.sum(1).mean()
        assert_near(loss.double(), recorded["loss"][hour])
        for i, layer in enumerate(network.layers):
            assert_near(layer.weight.norm().double(), recorded[f"norm_w{i}"][hour])

    for i, layer in enumerate(network.layers):
        assert_near(layer.weight, recorded[f"final_w{i}"])
        assert_near(layer.bias, recorded[f"final_b{i}"])
    _assert_probe(network, recorded, assert_near)


def _assert_probe(network: Network, recorded: dict[str, Any], assert_near: Callable[..., None]) -> None:
    probe: Tensor = recorded["probe"]
    by_layer = goodness_by_layer(network, probe)
    assert_near(by_layer, recorded["probe_goodness"])
    assert_near(by_layer.sum(0), recorded["probe_total"])
    under_labels = label_goodness(network, probe, float(probe.max()))
    assert_near(under_labels.sum(0).t(), recorded["probe_label_goodness"])
    assert predict(under_labels).tolist() == recorded["probe_prediction"].tolist()


def _initial_network(recorded: dict[str, Any], schedule: Schedule) -> Network:
    hidden = recorded["meta"]["widths"][1:]
    parameters = [torch.cat([recorded[f"init_w{i}"].flatten(), recorded[f"init_b{i}"]]) for i in range(len(hidden))]
    return make_network(parameters, hidden, phases(schedule), classes=10)


def _hour_data(recorded: dict[str, Any], hour: int) -> tuple[Labelled, Labelled]:
    """The hour's data taken apart into images, labels and amplitude; wrong-label data share their images."""
    positive, negative = _labelled(recorded["pos"][hour]), _labelled(recorded["neg"][hour])
    if recorded["meta"]["negatives"] == "wrong-label":
        negative = negative._replace(images=positive.images)
    for data, overlaid in ((positive, recorded["pos"][hour]), (negative, recorded["neg"][hour])):
        assert torch.equal(overlay(data, classes=10, out=torch.empty_like(overlaid)), overlaid)
    return positive, negative


def _labelled(overlaid: Tensor) -> Labelled:
    return Labelled(overlaid, overlaid[:, :10].argmax(1), float(overlaid[:, :10].max()))


def test_overlay_file_exactly() -> None:
    with np.load(FOLDER / "overlay.npz") as arrays:
        x, y, expected = (torch.from_numpy(arrays[name]) for name in ("x", "y", "overlaid"))
    assert torch.equal(overlay(Labelled(x, y, float(x.max())), classes=10, out=torch.empty_like(x)), expected)
