"""Cures give the gradients of plain autograd, and continue from a saved state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from random_data import CLASSES, make_config, random_data
from torch import Tensor

from ffcli.engine.autograd import AutogradLayer, AutogradNetwork
from ffcli.engine.goodness import EPSILON
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Hour
from ffcli.engine.network import begin_phase, initial_network, train_hour
from ffcli.engine.objectives import OBJECTIVES
from ffcli.engine.training import initial_state, restored_state, state_arrays, train
from ffcli.schedule import Schedule, phase_of
from ffcli.settings import Cure

CPU = torch.device("cpu")
THRESHOLD, RATE = 1.5, 0.02
CURES = [Cure.model_validate("gradient-memory"), Cure.model_validate("replay:4")]


@dataclass
class PlainMemory:
    """The definitions of `ffcli.engine.cures` in plain autograd: keeps every gradient instead of a sum."""

    gradients: list[list[Tensor]] = field(default_factory=list)
    inputs: Tensor | None = None
    other_gradients: list[list[Tensor]] | None = None
    other_inputs: Tensor | None = None

    def begin_phase(self) -> None:
        self.other_gradients, self.gradients = self.gradients, []
        self.other_inputs, self.inputs = self.inputs, self.other_inputs

    def learn(self, layer: AutogradLayer, v: Tensor, sign: float, phase: Any, cure: Cure) -> Tensor:
        x = (v / (v.norm(dim=1, keepdim=True) + EPSILON)).detach()
        for _ in range(layer.updates):
            own = gradient(layer, x, sign)
            self.gradients.append(own)
            latest = x[: cure.samples]
            self.inputs = latest if self.inputs is None else torch.cat([latest, self.inputs[len(latest) :]])
            if self.other_gradients is None or self.other_inputs is None:
                continue
            if cure.samples:
                other = gradient(layer, self.other_inputs, -sign)
            else:
                other = [torch.stack(same).mean(0) for same in zip(*self.other_gradients, strict=True)]
            for parameter, g, c in zip(layer.parameters(), own, other, strict=True):
                parameter.grad = (g + c) / 2
            layer.optimisers[phase].step()
        with torch.no_grad():
            return torch.relu(layer.linear(x))


def gradient(layer: AutogradLayer, x: Tensor, sign: float) -> list[Tensor]:
    loss = layer.loss(torch.relu(layer.linear(x)), torch.full((len(x),), sign, dtype=x.dtype))
    return list(torch.autograd.grad(loss, list(layer.parameters())))


@pytest.mark.parametrize("cure", CURES, ids=str)
@given(
    rows=st.lists(st.integers(1, 9), min_size=10, max_size=10),
    widths=st.lists(st.integers(4, 8), min_size=2, max_size=4),
    schedule=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    updates=st.integers(1, 2),
    objective=st.sampled_from(sorted(OBJECTIVES)),
    seed=st.integers(0, 2**31),
)
@settings(deadline=None, max_examples=25)
def test_cured_hours_equal_autograd(
    cure: Cure, rows: list[int], widths: list[int], schedule: tuple[int, int], updates: int, objective: str, seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    phases = Schedule(positive=schedule[0], negative=schedule[1])
    network = initial_network(
        widths[0], widths[1:], ("positive", "negative"), classes=CLASSES, dtype=torch.float64, device=CPU,
        generator=random, cure=cure, objective=OBJECTIVES[objective],
    )  # fmt: skip
    plain = AutogradNetwork(
        widths, {"positive": RATE, "negative": RATE}, threshold=THRESHOLD, updates=updates,
        objective=OBJECTIVES[objective],
    ).double()  # fmt: skip
    plain.load((layer.weight, layer.bias) for layer in network.layers)
    memories = [PlainMemory() for _ in network.layers]
    at_first = [layer.parameters.clone() for layer in network.layers]
    for hour in range(10):
        phase = phase_of(phases, hour)
        if hour and phase != phase_of(phases, hour - 1):
            begin_phase(network)
            for memory in memories:
                memory.begin_phase()
        images = torch.randn(rows[hour], widths[0], generator=random, dtype=torch.float64)
        data = Labelled(images, torch.randint(0, CLASSES, (rows[hour],), generator=random), 2.5)
        train_hour(network, Hour(phase, RATE, THRESHOLD, updates), data, data)

        v = overlay(data, classes=CLASSES, out=torch.empty_like(images))
        for memory, module in zip(memories, plain.layers, strict=True):
            assert isinstance(module, AutogradLayer)
            v = memory.learn(module, v, 1.0 if phase == "positive" else -1.0, phase, cure)

        for layer, module, start in zip(network.layers, plain.layers, at_first, strict=True):
            flat = torch.cat([p.detach().flatten() for p in module.parameters()])
            torch.testing.assert_close(layer.parameters, flat, rtol=1e-6, atol=1e-9)
            assert hour >= phases.positive or torch.equal(layer.parameters, start)


@pytest.mark.parametrize("cure", CURES, ids=str)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_resumed_cured_run_gives_the_same_bits(cure: Cure, stop: int, precision: str) -> None:
    config = make_config(pos_phase=3, neg_phase=2, epochs=5, hidden=(6, 5), precision=precision, cure=cure)
    data = random_data(torch.float32)
    uninterrupted = initial_state(config, CPU)
    list(train(config, data, uninterrupted))

    state = initial_state(config, CPU)
    list(train(config.model_copy(update={"epochs": stop}), data, state))
    arrays = {name: array.copy() for name, array in state_arrays(state).items()}
    state = restored_state(config, arrays, CPU)
    list(train(config, data, state))

    resumed = state_arrays(state)
    for name, array in state_arrays(uninterrupted).items():
        assert (array == resumed[name]).all(), name
