"""The trace of a phase: after each of its hours, what has become of the network, on one fixed batch (the probe).

The probe is the first batch of training images under their true labels, and negatives drawn for it once. Of each layer
with parameters w, as they were when the phase began w0, and with the gradients g+ = dL+/dw of the positive probe's loss
and g- = dL-/dw of the negative one's (each kind through the layers below as they are now):

    goodness    of both kinds, mean over the probe
    drift       |w - w0|
    cosine      <g+, g-> / (|g+| |g-|)            -1: what one phase learns is what the other unlearns
    dead units  share of units with no activity on the positive probe

A trace only looks: it has its own random stream and buffers, so that a traced run has the bits of an untraced one. Its
numbers stay on the device until `taken` reads them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcli.config import RunConfig
from ffcli.engine.goodness import Rows, activity, goodness, loss_gradient, normalise
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.layer import Layer
from ffcli.engine.network import Network
from ffcli.engine.parameters import views
from ffcli.engine.training import Arrays, TrainingData, TrainingState, stream
from ffcli.records import HourTrace
from ffcli.schedule import Schedule, phase_hours, phase_number


@dataclass(slots=True)
class Tracer:
    """What is traced, and where it stands."""

    schedule: Schedule
    phases: frozenset[int]
    """Counted from 1."""
    positive: Rows
    negative: Rows
    _: KW_ONLY
    threshold: float
    began: tuple[Tensor, ...] | None
    """Each layer's flat parameters when the phase under way began; None where that is not traced."""
    measured: list[tuple[int, Tensor]] = field(default_factory=list)
    """Hours trained, and (layers, 5) in the order of HourTrace."""


def make_tracer(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    phases: Collection[int],
    saved: Mapping[str, NDArray[Any]] | None = None,
) -> Tracer:
    """A tracer of these phases of a separated run, from where `state` stands.

    A phase that is under way is traced on only where `saved` knows its beginning (see `tracer_arrays`).
    """
    images, labels = data.images[: config.batch_size], data.labels[: config.batch_size]
    drawing = stream(config.seed, "trace", 0, images.device)
    positive = Labelled(images, labels, data.amplitude)
    negative = Labelled(*data.negatives(images, labels, generator=drawing), data.amplitude)
    probe = (_first_input(state.network, kind) for kind in (positive, negative))
    tracer = Tracer(config.schedule, frozenset(phases), *probe, threshold=config.threshold, began=None)
    names = [_began(number) for number in range(len(state.network.layers))]
    if phase_number(config.schedule, state.hour) in tracer.phases and saved and all(name in saved for name in names):
        tracer.began = tuple(torch.from_numpy(saved[name]).to(images.device, copy=True) for name in names)
    _begin_phase(tracer, state)
    return tracer


def observe(tracer: Tracer, state: TrainingState) -> None:
    """After an hour of training: measure it where it is of a traced phase, and see whether one comes next."""
    if tracer.began is not None:
        tracer.measured.append((state.hour, _measure(tracer, state.network, tracer.began)))
    _begin_phase(tracer, state)


def taken(tracer: Tracer) -> list[HourTrace]:
    """What was measured since the last call; waits for the device."""
    if not tracer.measured:
        return []
    hours = [hour for hour, _ in tracer.measured]
    values = torch.stack([found for _, found in tracer.measured]).tolist()
    tracer.measured.clear()
    return [
        HourTrace(hour, phase_number(tracer.schedule, hour - 1), layer, *(v if math.isfinite(v) else None for v in row))
        for hour, layers in zip(hours, values, strict=True)
        for layer, row in enumerate(layers, start=1)
    ]


def tracer_arrays(tracer: Tracer) -> Arrays:
    """What a saved state needs beside the run's own arrays for the phase under way to be traced on."""
    return {_began(number): began.cpu().numpy() for number, began in enumerate(tracer.began or ())}


def _began(layer: int) -> str:
    return f"trace.{layer}.began"


def _begin_phase(tracer: Tracer, state: TrainingState) -> None:
    number = phase_number(tracer.schedule, state.hour)
    if state.hour == phase_hours(tracer.schedule, number).start:
        chosen = number in tracer.phases
        tracer.began = tuple(layer.parameters.clone() for layer in state.network.layers) if chosen else None


def _first_input(network: Network, data: Labelled) -> Rows:
    v = overlay(data, classes=network.classes, out=torch.empty_like(data.images))
    return Rows(normalise(v, out=v).to(network.products))


def _measure(tracer: Tracer, network: Network, began: tuple[Tensor, ...]) -> Tensor:
    """(layers, 5), float64."""
    positive, negative = tracer.positive, tracer.negative
    found = []
    for layer, before in zip(network.layers, began, strict=True):
        gradient, h = _look(layer, positive, 1, tracer.threshold)
        other_gradient, other_h = _look(layer, negative, -1, tracer.threshold)
        values = (
            goodness(h).mean(),
            goodness(other_h).mean(),
            torch.linalg.vector_norm(layer.parameters - before),
            _cosine(gradient.double(), other_gradient.double()),
            (h == 0).all(0).double().mean(),
        )
        found.append(torch.stack([value.double() for value in values]))
        positive, negative = (Rows(normalise(v, out=v).to(network.products)) for v in (h, other_h))
    return torch.stack(found)


def _look(layer: Layer, inputs: Rows, sign: int, threshold: float) -> tuple[Tensor, Tensor]:
    """The flat gradient of one kind's loss, and the activity (rows, units)."""
    rows, units = len(inputs.x), len(layer.bias)
    gradient = torch.empty_like(layer.parameters)
    h, signs = gradient.new_empty(rows, units), gradient.new_full((rows,), sign)
    loss_gradient(inputs, layer.weight, layer.bias, signs, threshold, h, *views(gradient, units))
    return gradient, activity(inputs, layer.weight, layer.bias, out=h)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Not a number where one of them is 0."""
    return torch.dot(a, b).div_(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
