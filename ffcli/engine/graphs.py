"""Hours as CUDA graphs: the host starts all the kernels of an hour with one call.

An hour of three layers is about a hundred small operations with one update, and 3,300 with 50; started one by one they
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
from ffcli.schedule import Phase

Play = Callable[[], None]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Play]]
"""Records what a function does on the current device without doing it: where its result will be, and what does it."""

MOST_UPDATES = 1000
"""An hour of more is not recorded: a graph holds every operation of each update."""


class Kind(NamedTuple):
    """What makes two hours of a network the same operations."""

    phase: Phase
    lr: float
    threshold: float
    updates: int
    amplitude: float
    rows: tuple[int, ...]
    """Positive ones first; of one kind, or of both."""
    shared: bool
    """Whether positive and negative data are the same images."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An hour on the device, and the places that it reads its data from and leaves its losses at."""

    positive: Labelled | None
    negative: Labelled | None
    losses: Tensor
    play: Play


Graphs = dict[Kind, Recorded | None]
"""The hours of one network; None for a kind that was trained once and not recorded yet."""


def cuda_graph(hour: Callable[[], Tensor]) -> tuple[Tensor, Play]:
    """Record an hour of the current CUDA device; waits for it, once."""
    graph = torch.cuda.CUDAGraph()
    # A stream of its own: torch's default one for recording is of the first device that recorded.
    with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # type: ignore[no-untyped-call]
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
    recorded. So the hours of a warm-up, each at a rate of its own, are not, and those of a cured network never are: its
    memory counts on the host, which a graph does not.
    """
    hour = partial(train_hour, phase=phase, lr=lr, threshold=threshold, updates=updates)
    if updates > MOST_UPDATES or any(layer.memory for layer in network.layers):
        return hour(network, positive, negative)
    given = [data for data in (positive, negative) if data]
    rows = tuple(len(data.labels) for data in given)
    shared = bool(positive and negative and positive.images is negative.images)
    kind = Kind(phase, lr, threshold, updates, given[0].amplitude, rows, shared)
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
    places: dict[int, Tensor] = {}  # by the tensor that is brought there: images may be shared

    def place(data: Labelled | None) -> Labelled | None:
        if data is None:
            return None
        images, labels = (places.setdefault(id(t), torch.empty_like(t)) for t in (data.images, data.labels))
        return Labelled(images, labels, data.amplitude)

    awake, asleep = place(positive), place(negative)
    # Scratch that is made while recording is the graph's own; that of other hours may be given back before it plays.
    own = replace(network, scratch={})
    with torch.cuda.device_of(network.layers[0].parameters):  # type: ignore[no-untyped-call]
        losses, play = record(lambda: hour(own, awake, asleep))
    return Recorded(awake, asleep, losses, play)


def _bring(data: Labelled | None, place: Labelled | None) -> None:
    if data and place:
        place.images.copy_(data.images)
        place.labels.copy_(data.labels)
