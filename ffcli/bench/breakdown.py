"""Where one separated hour goes: by layer, and by kind of step.

torch's profiler records the hour operation by operation, with the shapes of its operands. A product belongs to the
layer and direction that its place says: layer i makes 2 U products, forward and backward by turns, and unless it is
the last one more, its output for the next layer. A layer begins with its first product (the first layer with the hour),
so making the next layer's input counts for the layer that hands it on. `elementwise` is every other operation of
torch, `the rest` what lies between operations: Python, and the profiler itself, which makes the hour a little longer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, get_args

from torch.autograd.profiler import profile, record_function

from ffcli.bench import ours
from ffcli.bench.measuring import Contestant, threads
from ffcli.bench.setting import Setting
from ffcli.benchmark import Part, Step
from ffcli.config import RunConfig

LEFT_OPERAND = {"aten::mm": 0, "aten::addmm": 1}
"""Matrix products, with the place of their left operand; the right one follows."""

HOUR = "hour"


def breakdown(setting: Setting) -> tuple[Step, ...]:
    """Seconds and shares of one hour, layer by layer, step by step."""
    config = setting.config()
    with threads(setting.threads):
        events = _recorded(ours.hours(config, setting.awake, setting.wrong))
    hour = next(event for event in events if event.name == HOUR)
    products = [
        (_operation(event), *what) for event, what in zip(_products(config, events), _plan(config), strict=True)
    ]
    directions = {event.id: direction for event, _, direction in products}
    begins = {layer: event.time_range.start for event, layer, _ in reversed(products)}

    whole = hour.time_range.elapsed_us()
    edges = [hour.time_range.start, *(begins[layer] for layer in sorted(begins)[1:]), hour.time_range.end]
    steps = []
    for layer, (start, end) in enumerate(pairwise(edges), start=1):
        spent: Counter[Part] = Counter()
        for event in hour.cpu_children:
            if start <= event.time_range.start < end:
                spent[directions.get(event.id) or _kind(event)] += event.time_range.elapsed_us()
        spent["the rest"] = end - start - spent.total()
        steps += [Step(layer, part, spent[part] / 1e6, spent[part] / whole) for part in get_args(Part)]
    return tuple(steps)


def _recorded(train: Contestant) -> list[Any]:
    """The events of one hour, in the order in which they began, after an hour that is not recorded."""
    # The profiler's library otherwise tells stderr that it starts, and that there is no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    train()
    with profile(record_shapes=True) as recorded, record_function(HOUR):
        train()
    return sorted(recorded.function_events or [], key=lambda event: float(event.time_range.start))


def _plan(config: RunConfig) -> Iterator[tuple[int, Part]]:
    """Layer and direction of each product of an hour, in order."""
    for layer in range(1, len(config.hidden) + 1):
        for _ in range(config.updates_per_batch):
            yield layer, "products forward"
            yield layer, "products backward"
        if layer < len(config.hidden):
            yield layer, "products forward"


def _products(config: RunConfig, events: list[Any]) -> list[Any]:
    """The events that multiply a whole batch with a layer's weights."""
    widths = (config.data.features, *config.hidden)
    sizes = {config.batch_size * inputs * units for inputs, units in pairwise(widths)}
    return [event for event in events if event.name in LEFT_OPERAND and _multiplications(event) in sizes]


def _multiplications(event: Any) -> int:
    left = LEFT_OPERAND[event.name]
    (rows, inner), (_, columns) = event.input_shapes[left : left + 2]
    return int(rows * inner * columns)


def _operation(event: Any) -> Any:
    """The operation of the hour that `event` is, or is a part of."""
    while event.cpu_parent.name != HOUR:
        event = event.cpu_parent
    return event


def _kind(event: Any) -> Part:
    return "Adam" if "adam" in event.name else "elementwise"
