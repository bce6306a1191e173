"""An hour that is recorded and played gives the bits of the hour itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from random_data import make_config, random_data
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ffcli.engine import training
from ffcli.engine.graphs import Play, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.network import train_hour
from ffcli.engine.training import TrainingState, initial_state, state_arrays

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
        {"precision": "bf16"},
    ],
    ids=["separated", "shared images", "bf16"],
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
    _assert_same_bits(recorded, plain)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.loss_positive, ours.loss_negative) == (theirs.loss_positive, theirs.loss_negative)


def test_images_of_two_kinds_are_recorded_apart() -> None:
    """Joint hours whose negatives are other images, as masks make them."""
    config = make_config(unseparated=True, pos_phase=None, neg_phase=None)
    plain, recorded = initial_state(config, CPU), initial_state(config, CPU)
    how = {"phase": "joint", "lr": 0.01, "threshold": 1.5, "updates": 2}
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        awake, asleep = (
            Labelled(torch.randn(8, 12, generator=random, dtype=torch.float64), torch.arange(8) % 3, 2.0)
            for _ in range(2)
        )
        expected = train_hour(plain.network, awake, asleep, **how)  # type: ignore[arg-type]
        found = play_hour(recorded.graphs, recorded.network, awake, asleep, **how, record=on_tape)  # type: ignore[arg-type]
        assert torch.equal(found, expected)
    _assert_same_bits(recorded, plain)


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


def _assert_same_bits(a: TrainingState, b: TrainingState) -> None:
    ours, theirs = state_arrays(a), state_arrays(b)
    assert {name: array.tobytes() for name, array in ours.items()} == {
        n: array.tobytes() for n, array in theirs.items()
    }
