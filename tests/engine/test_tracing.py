"""Tracing leaves a run unchanged, measures what plain autograd finds, and continues from a saved state."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import pytest
import torch
from random_data import BATCH, CLASSES, Data, make_config, random_data
from torch import Tensor
from torch.nn.functional import softplus

from ffcli.config import RunConfig
from ffcli.data.negatives import wrong_labels
from ffcli.engine.goodness import EPSILON
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.tracing import drain, make_tracer, observe, tracer_arrays
from ffcli.engine.training import TrainingState, initial_state, restored_state, state_arrays, stream, train
from ffcli.records import HourTrace
from ffcli.schedule import phase_hours, phase_number, phase_of

CPU = torch.device("cpu")


@pytest.fixture
def data() -> Data:
    return random_data()


def run(config: RunConfig, data: Data, state: TrainingState, phases: Collection[int]) -> list[HourTrace]:
    """Train to the end and return the trace."""
    tracer = make_tracer(config, data, state, phases)
    for _ in train(config, data, state, observe=partial(observe, tracer)):
        pass
    return drain(tracer)


@pytest.mark.parametrize(
    ("precision", "cure"),
    [("float64", "none"), ("bf16", "none"), ("float32", "gradient-memory"), ("float32", "replay:4")],
)
def test_tracing_does_not_change_a_run(data: Data, precision: str, cure: str) -> None:
    if precision != "float64":
        data = random_data(torch.float32)
    config = make_config(precision=precision, cure=cure, lr=0.05)
    plain, traced = initial_state(config, CPU), initial_state(config, CPU)
    for _ in train(config, data, plain):
        pass
    trace = run(config, data, traced, {1, 2, 4})
    expected, found = state_arrays(plain), state_arrays(traced)
    assert expected.keys() == found.keys()
    assert all((expected[name] == found[name]).all() for name in expected)
    assert [(row.hour, row.layer) for row in trace] == [
        (hour, layer) for hour in (1, 2, 3, 4, 5, 6, 7, 8, 14, 15, 16) for layer in (1, 2)
    ]
    assert [row.phase for row in trace[::2]] == [1] * 5 + [2] * 3 + [4] * 3


def test_trace_equals_autograd(data: Data) -> None:
    config = make_config(lr=0.05)
    state, found = initial_state(config, CPU), []
    tracer = make_tracer(config, data, state, {2, 3})
    began: list[Tensor] = []

    def compare_with_autograd(now: TrainingState) -> None:
        observe(tracer, now)
        if 5 < now.hour <= 13:
            found.extend(by_autograd(config, data, now, began))
        if now.hour in (5, 8):  # the hour before phase 2 or 3
            began[:] = [layer.parameters.clone() for layer in now.network.layers]

    for _ in train(config, data, state, observe=compare_with_autograd):
        pass
    trace = drain(tracer)
    assert len(trace) == len(found) == 16
    names = ("goodness_positive", "goodness_negative", "drift", "cosine", "dead_units")
    for row, expected in zip(trace, found, strict=True):
        assert tuple(getattr(row, name) for name in names) == pytest.approx(expected, rel=1e-9)
    assert len({row.cosine for row in trace}) == 16


def by_autograd(config: RunConfig, data: Data, state: TrainingState, began: list[Tensor]) -> list[tuple[float, ...]]:
    """Return the values of a trace for each layer, computed by plain torch."""
    images, labels = data.images[:BATCH], data.labels[:BATCH]
    wrong = wrong_labels(labels, CLASSES, generator=stream(config.seed, "trace", 0, CPU))
    kinds = [
        overlay(Labelled(images, shown, 2.5), classes=CLASSES, out=torch.empty_like(images))
        for shown in (labels, wrong)
    ]
    found = []
    for layer, before in zip(state.network.layers, began, strict=True):
        goodness: list[float] = []
        gradients: list[Tensor] = []
        for kind, sign in enumerate((1, -1)):
            weight, bias = (p.clone().requires_grad_() for p in (layer.weight, layer.bias))
            v = kinds[kind]
            h = torch.relu(v / (v.norm(dim=1, keepdim=True) + EPSILON) @ weight.t() + bias)
            g = h.pow(2).mean(1)
            both = torch.autograd.grad(softplus(sign * (config.threshold - g)).mean(), (weight, bias))
            gradients.append(torch.cat([gradient.flatten() for gradient in both]))
            goodness.append(float(g.mean().detach()))
            kinds[kind] = h.detach()
        dead = float((kinds[0].sum(0) == 0).double().mean())
        drift = float((layer.parameters - before).norm())
        positive, negative = gradients
        cosine = float(torch.cosine_similarity(positive, negative, dim=0, eps=1e-300))
        found.append((*goodness, drift, cosine, dead))
    return found


def test_resumed_run_traces_only_phases_traced_from_their_start(data: Data) -> None:
    """Phase 2 begins in the first epoch and ends in the second."""
    config = make_config(lr=0.05)
    whole = run(config, data, initial_state(config, CPU), {2, 3})

    first = make_config(lr=0.05, epochs=1)
    state = initial_state(first, CPU)
    tracer = make_tracer(first, data, state, {2, 3})
    for _ in train(first, data, state, observe=partial(observe, tracer)):
        pass
    parts, saved = drain(tracer), state_arrays(state) | tracer_arrays(tracer)
    saved = {name: array.copy() for name, array in saved.items()}
    assert [row.hour for row in parts[::2]] == [6, 7]

    for known, rest in ((saved, whole[4:]), (state_arrays(state), whole[6:])):
        again = restored_state(config, saved, CPU)
        tracer = make_tracer(config, data, again, {2, 3}, known)
        for _ in train(config, data, again, observe=partial(observe, tracer)):
            pass
        assert drain(tracer) == rest


def test_dead_layer_has_no_cosine(data: Data) -> None:
    config = make_config(epochs=1)
    state = initial_state(config, CPU)
    state.network.layers[1].parameters.fill_(-1)
    dead = [row for row in run(config, data, state, {1}) if row.layer == 2]
    assert {(row.cosine, row.goodness_positive, row.drift, row.dead_units) for row in dead} == {(None, 0, 0, 1)}


def test_phases_are_counted_from_1() -> None:
    schedule = make_config().schedule
    for hour in range(50):
        number = phase_number(schedule, hour)
        assert hour in phase_hours(schedule, number)
        assert phase_of(schedule, hour) == ("positive" if number % 2 else "negative")
    assert [phase_hours(schedule, n) for n in (1, 2, 3)] == [range(5), range(5, 8), range(8, 13)]
