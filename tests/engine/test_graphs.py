"""An hour that is recorded and played gives the bits of the hour itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from random_data import bits, make_config, random_data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ffcli.engine import training
from ffcli.engine.graphs import Play, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.network import train_hour
from ffcli.engine.training import TrainingState, initial_state

CPU = torch.device("cpu")


class Tape(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A graph on the CPU, as CUDA's: while it records nothing that is there already changes, and what it plays knows
    tensors by their place alone."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self.made: set[int] = set()
        self.found_there: set[int] = set()
        """Memory that was there when recording began."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _memory((args, kwargs))
        self.found_there |= given - self.made
        if func._schema.is_mutable:
            changed = [
                args[i] if i < len(args) else kwargs[argument.name]
                for i, argument in enumerate(func._schema.arguments)
                if argument.alias_info and argument.alias_info.is_write
            ]
            self.operations.append((func, args, kwargs, None))
            return changed[0] if func._schema.returns else None
        result = func(*args, **kwargs)
        if not given & _memory(result):
            self.made |= _memory(result)
            self.operations.append((func, args, kwargs, result))
        return result

    def play(self) -> None:
        for func, args, kwargs, result in self.operations:
            made = func(*args, **kwargs)
            if result is not None:
                for place, value in zip(tree_leaves(result), tree_leaves(made), strict=True):
                    place.copy_(value)


def _memory(values: Any) -> set[int]:
    return {value.untyped_storage().data_ptr() for value in tree_leaves(values) if isinstance(value, Tensor)}


def on_tape(hour: Callable[[], Tensor]) -> tuple[Tensor, Play]:
    with Tape() as tape:
        losses = hour()
    return losses, tape.play


@pytest.mark.parametrize(
    "options",
    [
        {"pos_phase": 2, "neg_phase": 1, "warmup": 3},
        {"pos_phase": None, "neg_phase": None, "unseparated": True, "updates_per_batch": 3},
        {"precision": "bf16", "pos_phase": 1, "neg_phase": 1},
    ],
    ids=["separated", "shared images", "bf16 at one rate"],
)
def test_recorded_hours_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """Batches of two sizes, an evaluation after each epoch, and hours of each kind that come often."""
    config = make_config(**options)
    data = random_data(torch.float64 if config.precision == "float64" else torch.float32)
    plain, recorded = initial_state(config, CPU), initial_state(config, CPU)
    expected = [metrics for metrics, _ in training.train(config, data, plain)]
    monkeypatch.setattr(training, "train_hour", partial(play_hour, recorded.graphs, record=on_tape))
    found = [metrics for metrics, _ in training.train(config, data, recorded)]
    _assert_nothing_else_is_used(recorded)
    assert bits(recorded) == bits(plain)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.loss_positive, ours.loss_negative) == (theirs.loss_positive, theirs.loss_negative)


def test_hours_of_another_kind_are_recorded_apart() -> None:
    """Joint hours whose negatives are the same images or other ones, as masks make them, trained in many ways."""
    config = make_config(unseparated=True, pos_phase=None, neg_phase=None)
    plain, recorded = initial_state(config, CPU), initial_state(config, CPU)
    random = torch.Generator().manual_seed(0)
    ways = [
        {"lr": lr, "threshold": threshold, "updates": updates}
        for lr, threshold, updates in ((0.01, 1.5, 2), (0.02, 1.5, 2), (0.01, 2.5, 2), (0.01, 1.5, 3))
    ]
    for how, same, amplitude in 3 * list(product(ways, (True, False), (2.0, 3.0))):
        images = [torch.randn(8, 12, generator=random, dtype=torch.float64) for _ in range(2)]
        awake = Labelled(images[0], torch.randint(0, 3, (8,), generator=random), amplitude)
        asleep = Labelled(images[0 if same else 1], (awake.labels + 1) % 3, amplitude)
        given: dict[str, Any] = {"phase": "joint", **how}
        expected = train_hour(plain.network, awake, asleep, **given)
        found = play_hour(recorded.graphs, recorded.network, awake, asleep, **given, record=on_tape)
        assert torch.equal(found, expected)
    assert len(recorded.graphs) == 16
    assert bits(recorded) == bits(plain)


@pytest.mark.parametrize("options", [{"cure": "gradient-memory"}, {"cure": "replay:4"}, {"updates_per_batch": 1001}])
def test_hours_with_a_cure_or_very_many_updates_are_not_recorded(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    config = make_config(epochs=1, hidden=(3,), **options)
    plain, recorded = initial_state(config, CPU), initial_state(config, CPU)
    training.train_epoch(config, random_data(), plain, 1)
    monkeypatch.setattr(training, "train_hour", partial(play_hour, recorded.graphs, record=on_tape))
    training.train_epoch(config, random_data(), recorded, 1)
    assert not recorded.graphs
    assert bits(recorded) == bits(plain)


def _assert_nothing_else_is_used(state: TrainingState) -> None:
    """Memory that a graph did not make and that is not the network's may be another's when it is played."""
    graphs = [graph for graph in state.graphs.values() if graph]
    assert len(graphs) >= 2
    layers = [
        (layer.parameters, layer.gradient, [(adam.exp_avg, adam.exp_avg_sq, adam.step) for adam in layer.adam.values()])
        for layer in state.network.layers
    ]
    for graph in graphs:
        tape = graph.play.__self__  # type: ignore[attr-defined]
        assert tape.found_there <= _memory((layers, graph.positive, graph.negative))
