"""Hours as CUDA graphs: all kernels of an hour are started by one call.

An hour of three layers is about 60 small operations with one update and 1,400 with 50. Started one by one, they
take the host longer than the device. A CUDA graph records the operations and the addresses they use once, and replays
them as often as needed: the same operations in the same order, so the results have the same bits.

A graph replays fixed addresses, so inputs are first copied into static buffers. Parameters and optimiser states are
changed in place anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ffcli.engine.labels import Labelled
from ffcli.engine.layer import Hour
from ffcli.engine.network import Network, train_hour, used_data

MAX_UPDATES = 1000
"""Longer hours are not recorded, because a graph holds every operation of each update."""


class GraphKey(NamedTuple):
    """Two hours of a network run the same operations if and only if their keys are equal."""

    hour: Hour
    amplitude: float
    rows: tuple[int, ...]
    """Rows of the positive and of the negative data, as far as they are used."""
    shared_images: bool
    """Whether positive and negative data are the same images."""


@dataclass(frozen=True, slots=True)
class RecordedHour:
    """A graph and its static buffers."""

    positive: Labelled | None
    negative: Labelled | None
    losses: Tensor
    replay: Callable[[], None]


Graphs = dict[GraphKey, RecordedHour | None]
"""The recorded hours of one network; None for a key that has occurred once, without being recorded."""


def play_hour(
    graphs: Graphs, network: Network, hour: Hour, positive: Labelled | None, negative: Labelled | None
) -> Tensor:
    """Do what `train_hour` does, with the same bits, but replay a graph if the same operations occur again.

    The first hour of a key runs normally, which chooses and loads the kernels; that cannot be recorded. The second one
    is recorded. So hours of a warm-up, which all have different rates, are never recorded. Neither are those of a
    network with a cure, because its counters are on the host, where a graph does not update them.

    Args:
        graphs: recorded hours of the network; changed in place.
        network: as in `train_hour`.
        hour: as in `train_hour`.
        positive: as in `train_hour`.
        negative: as in `train_hour`.
    """
    if hour.updates > MAX_UPDATES or any(layer.memory for layer in network.layers):
        return train_hour(network, hour, positive, negative)
    positive, negative = used_data(hour.phase, positive, negative)
    key = _key(hour, positive, negative)
    if key not in graphs:
        graphs[key] = None
        return train_hour(network, hour, positive, negative)
    recorded = graphs[key] = graphs[key] or _record(network, hour, positive, negative)
    _copy(positive, recorded.positive)
    _copy(negative, recorded.negative)
    recorded.replay()
    return recorded.losses.clone()


def capture(hour: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
    """Record the operations of `hour` on the current CUDA device without running them. Waits for the device.

    Returns:
        The tensor that each replay writes the losses to, and the function that replays the graph.
    """
    graph = torch.cuda.CUDAGraph()
    # torch's default stream for recording belongs to the first device that recorded, so each graph gets its own.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        losses = hour()
    return losses, graph.replay


def _key(hour: Hour, positive: Labelled | None, negative: Labelled | None) -> GraphKey:
    used = [data for data in (positive, negative) if data]
    shared = bool(positive and negative and positive.images is negative.images)
    return GraphKey(hour, used[0].amplitude, tuple(len(data.labels) for data in used), shared)


def _record(network: Network, hour: Hour, positive: Labelled | None, negative: Labelled | None) -> RecordedHour:
    buffers: dict[int, Tensor] = {}  # by the id of the tensor that is copied there, because images may be shared

    def buffers_like(data: Labelled | None) -> Labelled | None:
        if data is None:
            return None
        images, labels = (buffers.setdefault(id(t), torch.empty_like(t)) for t in (data.images, data.labels))
        return Labelled(images, labels, data.amplitude)

    static_positive, static_negative = buffers_like(positive), buffers_like(negative)
    # The graph gets its own scratch buffers: those of the network are replaced by larger ones if a batch needs them.
    own = replace(network, scratch={})
    with torch.cuda.device_of(network.layers[0].parameters):  # type: ignore[no-untyped-call]
        losses, replay = capture(lambda: train_hour(own, hour, static_positive, static_negative))
    return RecordedHour(static_positive, static_negative, losses, replay)


def _copy(data: Labelled | None, buffer: Labelled | None) -> None:
    if data and buffer:
        buffer.images.copy_(data.images)
        buffer.labels.copy_(data.labels)
