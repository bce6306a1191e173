"""Replay trajectories that were recorded from the published code, to check that the engine is exact on this machine.

Each file holds the initial weights, the overlaid data of every hour, and the results of the published code: loss and
norms of the weights after each hour, the weights at the end, and goodness and predictions of a probe.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Hour
from ffcli.engine.network import Network, goodness_by_layer, label_goodness, make_network, predict, train_hour
from ffcli.errors import FFError
from ffcli.schedule import Phase, Schedule, phase_of, phases

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
RECORDED_PHASE: dict[Phase, int] = {"positive": 1, "negative": -1, "joint": 0}
CLASSES = 10


@dataclass(frozen=True, slots=True)
class Replayed:
    """The largest absolute differences between a replay and its recording."""

    name: str
    dtype: str
    hours: int
    weights_error: float
    """Of the norms of the weights after each hour, and of every weight and bias at the end."""
    loss_error: float
    goodness_error: float
    """Of the goodness of the probe, by layer and under each label."""
    same_choices: bool
    """Whether all phases, overlaid images and predictions are equal."""

    @property
    def tolerance(self) -> float:
        """The largest error that still counts as exact."""
        return TOLERANCE[self.dtype]

    @property
    def exact(self) -> bool:
        """Whether the replay agrees with its recording."""
        errors = (self.weights_error, self.loss_error, self.goodness_error)
        return self.same_choices and all(error <= self.tolerance for error in errors)


def recorded(folder: Path | None = None) -> list[Path]:
    """Return the recorded trajectories in `folder`, or the bundled ones if it is None.

    Raises:
        FFError: if there are none.
    """
    folder = folder or reference_folder()
    found = [path for path in sorted(folder.glob("*.npz")) if "meta" in np.load(path)]
    if not found:
        raise FFError(f"no recorded trajectory in {folder}: the installation of ffcli is incomplete")
    return found


def reference_folder() -> Path:
    """Return the folder of the bundled recordings: in the installed package, or among the tests of a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "reference"
    return inside if inside.is_dir() else package.parent / "tests" / "reference"


def replay(path: Path) -> Replayed:
    """Train from the recorded weights on the recorded data, and compare the results.

    Args:
        path: a file that `recorded` returned.
    """
    with np.load(path) as arrays:
        record: dict[str, Any] = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "meta"}
        meta = json.loads(str(arrays["meta"]))
    schedule = Schedule(positive=meta["positive_hours"], negative=meta["negative_hours"])
    rates: dict[Phase, float] = {kind: meta[f"lr_{kind}"] for kind in RECORDED_PHASE}
    network = _initial_network(record, meta["widths"][1:], schedule)
    weights, losses, same = [], [], []

    for hour in range(meta["hours"]):
        phase = phase_of(schedule, hour)
        positive, negative = _hour_data(record, hour, shared=meta["negatives"] == "wrong-label")
        how = Hour(phase, rates[phase], meta["threshold"], meta["inner_updates"])
        by_kind = train_hour(network, how, positive, negative)
        loss = by_kind.mean() if phase == "joint" else by_kind.sum(1).mean()
        losses.append(_error(loss, record["loss"][hour]))
        weights += [_error(layer.weight.norm(), record[f"norm_w{i}"][hour]) for i, layer in enumerate(network.layers)]
        same += [RECORDED_PHASE[phase] == int(record["phase"][hour])]
        same += [_is_overlaid(data, record[kind][hour]) for data, kind in ((positive, "pos"), (negative, "neg"))]

    for i, layer in enumerate(network.layers):
        weights += [_error(layer.weight, record[f"final_w{i}"]), _error(layer.bias, record[f"final_b{i}"])]
    goodness, same_predictions = _probe(network, record)
    return Replayed(
        name=path.stem,
        dtype=meta["dtype"],
        hours=meta["hours"],
        weights_error=_largest(weights),
        loss_error=_largest(losses),
        goodness_error=_largest(goodness),
        same_choices=same_predictions and all(same),
    )


def _probe(network: Network, record: dict[str, Any]) -> tuple[list[Tensor], bool]:
    """Return the errors of the probe's goodness, and whether all its predictions are equal."""
    probe: Tensor = record["probe"]
    by_layer = goodness_by_layer(network, probe)
    under_labels = label_goodness(network, probe, float(probe.max()))
    errors = [
        _error(by_layer, record["probe_goodness"]),
        _error(by_layer.sum(0), record["probe_total"]),
        _error(under_labels.sum(0).t(), record["probe_label_goodness"]),
    ]
    return errors, torch.equal(predict(network, under_labels), record["probe_prediction"])


def _initial_network(record: dict[str, Any], hidden: list[int], schedule: Schedule) -> Network:
    parameters = [torch.cat([record[f"init_w{i}"].flatten(), record[f"init_b{i}"]]) for i in range(len(hidden))]
    return make_network(parameters, hidden, phases(schedule), classes=CLASSES)


def _hour_data(record: dict[str, Any], hour: int, *, shared: bool) -> tuple[Labelled, Labelled]:
    """Return the positive and the negative data of an hour; `shared`: both are the same images."""
    positive, negative = _labelled(record["pos"][hour]), _labelled(record["neg"][hour])
    return positive, negative._replace(images=positive.images) if shared else negative


def _labelled(overlaid: Tensor) -> Labelled:
    """Read the labels from overlaid images (rows, features)."""
    return Labelled(overlaid, overlaid[:, :CLASSES].argmax(1), float(overlaid[:, :CLASSES].max()))


def _is_overlaid(data: Labelled, expected: Tensor) -> bool:
    return torch.equal(overlay(data, classes=CLASSES, out=torch.empty_like(expected)), expected)


def _error(found: Tensor, expected: Tensor) -> Tensor:
    return (found.double() - expected.double()).abs().max()


def _largest(errors: list[Tensor]) -> float:
    """Return the largest error; NaN if any error is NaN."""
    return float(torch.stack(errors).max())
