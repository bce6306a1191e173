"""Hours that are recorded and replayed give the same bits as hours that run normally.

Only a CUDA device has graphs (see `test_gpu.py`). Here `capture` is replaced by a function whose replay runs the
recorded hour again: what is left to test is which hours share a graph and what is copied into its buffers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from random_data import bits, make_config, random_data
from torch import Tensor

from ffcli.engine import graphs, training
from ffcli.engine.graphs import play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.layer import Hour
from ffcli.engine.network import train_hour
from ffcli.engine.training import initial_state

CPU = torch.device("cpu")
LAYERS = 2


def capture_on_cpu(hour: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    losses = torch.empty(LAYERS, 2, dtype=torch.float64)

    def replay() -> None:
        losses.copy_(hour())

    return losses, replay


@pytest.fixture(autouse=True)
def _graphs_on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "capture", capture_on_cpu)


@pytest.mark.parametrize(
    "options",
    [{"pos_phase": 2, "neg_phase": 1, "warmup": 3}, {"pos_phase": None, "neg_phase": None, "unseparated": True}],
    ids=["separated", "shared images"],
)
def test_replayed_epochs_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """The last batch of an epoch is smaller, so there are graphs for two sizes."""
    config, data = make_config(**options), random_data()
    plain, replayed = initial_state(config, CPU), initial_state(config, CPU)
    expected = [(m.loss_positive, m.loss_negative) for m, _ in training.train(config, data, plain)]
    monkeypatch.setattr(training, "train_hour", partial(play_hour, replayed.graphs))
    found = [(m.loss_positive, m.loss_negative) for m, _ in training.train(config, data, replayed)]
    assert any(replayed.graphs.values())
    assert found == expected
    assert bits(replayed) == bits(plain)


def test_different_hours_have_different_graphs() -> None:
    config = make_config(unseparated=True, pos_phase=None, neg_phase=None)
    plain, replayed = initial_state(config, CPU), initial_state(config, CPU)
    random = torch.Generator().manual_seed(0)
    hours = [
        Hour("joint", lr, threshold, updates)
        for lr, threshold, updates in ((0.01, 1.5, 2), (0.02, 1.5, 2), (0.01, 2.5, 2), (0.01, 1.5, 3))
    ]
    for hour, shared, amplitude in 3 * list(product(hours, (True, False), (2.0, 3.0))):
        images = [torch.randn(8, 12, generator=random, dtype=torch.float64) for _ in range(2)]
        positive = Labelled(images[0], torch.randint(0, 3, (8,), generator=random), amplitude)
        negative = Labelled(images[0 if shared else 1], (positive.labels + 1) % 3, amplitude)
        expected = train_hour(plain.network, hour, positive, negative)
        found = play_hour(replayed.graphs, replayed.network, hour, positive, negative)
        assert torch.equal(found, expected)
    assert len(replayed.graphs) == 16
    assert all(replayed.graphs.values())
    assert bits(replayed) == bits(plain)


@pytest.mark.parametrize("options", [{"cure": "gradient-memory"}, {"cure": "replay:4"}, {"updates_per_batch": 1001}])
def test_hours_with_a_cure_or_very_many_updates_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    config = make_config(epochs=1, hidden=(3,), **options)
    plain, replayed = initial_state(config, CPU), initial_state(config, CPU)
    training.train_epoch(config, random_data(), plain, 1)
    monkeypatch.setattr(training, "train_hour", partial(play_hour, replayed.graphs))
    training.train_epoch(config, random_data(), replayed, 1)
    assert not replayed.graphs
    assert bits(replayed) == bits(plain)
