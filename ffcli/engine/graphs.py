"""Hours as CUDA graphs: the host starts all the kernels of an hour with one call.

An hour of three layers is 123 small operations with one update and 3,357 with 50, and started one by one they
keep the host busier than the device. A graph is recorded once, with the places in the device's memory that each
operation reads and writes, and played as often as wanted: the same operations in the same order, so the same numbers.
What an hour is given is therefore copied to places that stay; parameters and moments are changed in place as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ffcli.engine.labels import Labelled
from ffcli.engine.network import Network, train_hour
from ffcli.records import Phase

Play = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Play]]
"""Records what a function does on the device without doing it: where its result will be, and what does it."""


class Kind(NamedTuple):
    """What makes two hours of a network the same operations."""

    phase: Phase
    lr: float
    threshold: float
    updates: int
    rows: tuple[int, ...]
    """Positive ones first; of one kind, or of both."""
    shared: bool
    """Whether positive and negative data are the same images."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An hour on the device, and the places it works with."""

    positive: Labelled | None
    negative: Labelled | None
    network: Network
    """Its scratch belongs to this hour: nobody else may enlarge it or give it back."""
    losses: Tensor
    play: Play


Graphs = dict[Kind, Recorded | None]
"""The hours of one network; None for a kind that was trained once and not recorded yet."""


def cuda_graph(hour: Callable[[], Tensor]) -> tuple[Tensor, Play]:
    """Record an hour of a CUDA device; waits for the device, once."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        losses = hour()
    return losses, graph.replay


def play_hour(
    graphs: Graphs,
    network: Network,
    positive: Labelled | None,
    negative: Labelled | None,
    *,
    phase: Phase,
    lr: float,
    threshold: float,
    updates: int,
    record: Record = cuda_graph,
) -> Tensor:
    """`train_hour`, to the same bits, from a graph where this kind of hour comes again.

    The first of a kind is trained as it is: that chooses and loads the kernels, which cannot be recorded; the second is
    recorded. So the hours of a warm-up, each at a rate of its own, are not. Not for a network with a cure: its memory
    counts on the host, and a graph would not.
    """
    hour = partial(train_hour, phase=phase, lr=lr, threshold=threshold, updates=updates)
    given = [data for data in (positive, negative) if data]
    shared = len({id(data.images) for data in given}) < len(given)
    kind = Kind(phase, lr, threshold, updates, tuple(len(data.labels) for data in given), shared)
    if kind not in graphs:
        graphs[kind] = None
        return hour(network, positive, negative)
    recorded = graphs[kind] = graphs[kind] or _recorded(hour, network, positive, negative, record)
    _bring(positive, recorded.positive)
    _bring(negative, recorded.negative)
    recorded.play()
    return recorded.losses.clone()


def _recorded(
    hour: Callable[[Network, Labelled | None, Labelled | None], Tensor],
    network: Network,
    positive: Labelled | None,
    negative: Labelled | None,
    record: Record,
) -> Recorded:
    own = replace(network, scratch={})
    places: dict[int, Tensor] = {}  # by the tensor that is brought there: images may be shared

    def place(data: Labelled | None) -> Labelled | None:
        if data is None:
            return None
        images, labels = (places.setdefault(id(t), torch.empty_like(t)) for t in (data.images, data.labels))
        return Labelled(images, labels, data.amplitude)

    awake, asleep = place(positive), place(negative)
    losses, play = record(lambda: hour(own, awake, asleep))
    return Recorded(awake, asleep, own, losses, play)


def _bring(data: Labelled | None, place: Labelled | None) -> None:
    if data and place:
        place.images.copy_(data.images)
        place.labels.copy_(data.labels)
