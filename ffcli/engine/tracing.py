"""Traces: how the network changes within a phase, measured after each of its hours on one fixed batch (the probe).

The positive probe is the first batch of training images with their true labels; the negative probe is drawn for it
once. Notation for a layer: w are its parameters, w0 those at the beginning of the phase, g+ and g- the gradients of the
loss on the positive and on the negative probe. Each probe passes through the current layers below. A trace measures

    goodness    mean over the positive and over the negative probe
    drift       |w - w0|
    cosine      <g+, g-> / (|g+| |g-|); at -1, an update of one phase undoes one of the other
    dead units  share of units with no activity on any image of the positive probe

Tracing does not change training: it has its own random stream and buffers, so a traced run has the same bits. Its
numbers stay on the device until `drain` reads them.
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
    """The phases to trace, the probe, and what has been measured."""

    schedule: Schedule
    phases: frozenset[int]
    """Numbers of the traced phases, from 1."""
    positive: Rows
    negative: Rows
    _: KW_ONLY
    threshold: float
    began: tuple[Tensor, ...] | None
    """Each layer's flat parameters (P,) at the beginning of the current phase; None if it is not traced."""
    measured: list[tuple[int, Tensor]] = field(default_factory=list)
    """Hours trained so far and values (layers, 5), in the order of the fields of HourTrace."""


def make_tracer(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    phases: Collection[int],
    saved: Mapping[str, NDArray[Any]] | None = None,
) -> Tracer:
    """Return a tracer of a run with separated phases.

    Args:
        config: settings of the run.
        data: the dataset.
        state: the position where tracing starts.
        phases: numbers of the phases to trace, from 1.
        saved: a saved state. If it contains what `tracer_arrays` returned, a phase that has begun is traced further;
            otherwise tracing starts with the next phase.
    """
    images, labels = data.images[: config.batch_size], data.labels[: config.batch_size]
    drawing = stream(config.seed, "trace", 0, images.device)
    positive = Labelled(images, labels, data.amplitude)
    negative = Labelled(*data.negatives(images, labels, generator=drawing), data.amplitude)
    probe = (_first_input(state.network, kind) for kind in (positive, negative))
    tracer = Tracer(config.schedule, frozenset(phases), *probe, threshold=config.threshold, began=None)
    names = [_array_name(number) for number in range(len(state.network.layers))]
    if phase_number(config.schedule, state.hour) in tracer.phases and saved and all(name in saved for name in names):
        tracer.began = tuple(torch.from_numpy(saved[name]).to(images.device, copy=True) for name in names)
    _begin_phase(tracer, state)
    return tracer


def observe(tracer: Tracer, state: TrainingState) -> None:
    """Measure the network after an hour of a traced phase. To be called after each hour of training."""
    if tracer.began is not None:
        tracer.measured.append((state.hour, _measure(tracer, state.network, tracer.began)))
    _begin_phase(tracer, state)


def drain(tracer: Tracer) -> list[HourTrace]:
    """Return what was measured since the last call. Waits for the device."""
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
    """Return the arrays that a saved state needs so that the current phase can be traced further."""
    return {_array_name(number): began.cpu().numpy() for number, began in enumerate(tracer.began or ())}


def _array_name(layer: int) -> str:
    return f"trace.{layer}.began"


def _begin_phase(tracer: Tracer, state: TrainingState) -> None:
    """If the next hour is the first one of a phase, copy the parameters if the phase is traced."""
    number = phase_number(tracer.schedule, state.hour)
    if state.hour == phase_hours(tracer.schedule, number).start:
        chosen = number in tracer.phases
        tracer.began = tuple(layer.parameters.clone() for layer in state.network.layers) if chosen else None


def _first_input(network: Network, data: Labelled) -> Rows:
    v = overlay(data, classes=network.classes, out=torch.empty_like(data.images))
    return Rows(normalise(v, out=v).to(network.products))


def _measure(tracer: Tracer, network: Network, began: tuple[Tensor, ...]) -> Tensor:
    """Return the measured values (layers, 5), float64."""
    positive, negative = tracer.positive, tracer.negative
    found = []
    for layer, before in zip(network.layers, began, strict=True):
        gradient, h = _gradient_and_activity(layer, positive, network.polarity, tracer.threshold)
        negative_gradient, negative_h = _gradient_and_activity(layer, negative, -network.polarity, tracer.threshold)
        values = (
            goodness(h, layer.divisor).mean(),
            goodness(negative_h, layer.divisor).mean(),
            torch.linalg.vector_norm(layer.parameters - before),
            _cosine(gradient.double(), negative_gradient.double()),
            (h == 0).all(0).double().mean(),
        )
        found.append(torch.stack([value.double() for value in values]))
        positive, negative = (Rows(normalise(v, out=v).to(network.products)) for v in (h, negative_h))
    return torch.stack(found)


def _gradient_and_activity(layer: Layer, inputs: Rows, sign: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Return the gradient (P,) of the loss on inputs of one kind, and the activity (rows, units)."""
    rows, units = len(inputs.x), len(layer.bias)
    gradient = torch.empty_like(layer.parameters)
    weight_gradient, bias_gradient = views(gradient, units)
    h, signs = gradient.new_empty(rows, units), gradient.new_full((rows,), sign)
    loss_gradient(
        inputs,
        layer.weight,
        layer.bias,
        signs,
        threshold=threshold,
        divisor=layer.divisor,
        h=h,
        weight_gradient=weight_gradient,
        bias_gradient=bias_gradient,
    )
    return gradient, activity(inputs, layer.weight, layer.bias, out=h)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between two vectors, (); NaN if one of them is 0."""
    return torch.dot(a, b).div_(torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b))
