"""The matrix products of an hour or of an evaluation alone: the time that no arrangement of the rest can save.

Operands have the shapes, layouts and type that the engine gives them; what their values are costs nothing.
"""

from __future__ import annotations

from itertools import pairwise

import torch

from ffcli.bench.measuring import Contestant
from ffcli.config import RunConfig
from ffcli.engine.network import CHUNK


def of_hour(config: RunConfig, *, shared_images: bool = False) -> Contestant:
    """Each layer's forward and weight-gradient products, once an update, and its output for the next layer.

    `shared_images`: both halves of an unseparated hour are the same images, so layer 1 multiplies half as many rows.
    """
    rows = config.batch_size * (1 if config.schedule.separated else 2)
    like = _operands(config)
    layers = [
        (like.new_ones(rows, inputs), like.new_ones(units, inputs), like.new_ones(rows, units))
        for inputs, units in pairwise((config.data.features, *config.hidden))
    ]
    if shared_images:
        layers[0] = (layers[0][0][: config.batch_size], layers[0][1], layers[0][2][: config.batch_size])
    gradients = [torch.empty_like(weight) for _, weight, _ in layers]

    def hour() -> None:
        for number, ((x, weight, h), gradient) in enumerate(zip(layers, gradients, strict=True)):
            for _ in range(config.updates_per_batch):
                torch.mm(x, weight.t(), out=h)
                torch.mm(h.t(), x, out=gradient)
            if number + 1 < len(layers):
                torch.mm(x, weight.t(), out=h)

    return hour


def of_evaluation(config: RunConfig, images: int) -> Contestant:
    """Layer 1's product once, each deeper one under every label."""
    like = _operands(config)
    first, *deeper = (
        like.new_ones(units, inputs) for inputs, units in pairwise((config.data.features, *config.hidden))
    )
    rows = min(images, CHUNK)
    x = like.new_ones(rows, config.data.features)
    outputs = [like.new_empty(rows, units) for units in config.hidden]

    def evaluate() -> None:
        for _ in range(-(-images // rows)):
            torch.mm(x, first.t(), out=outputs[0])
            for _ in range(config.data.classes):
                for weight, inputs, output in zip(deeper, outputs, outputs[1:], strict=False):
                    torch.mm(inputs, weight.t(), out=output)

    return evaluate


def _operands(config: RunConfig) -> torch.Tensor:
    return torch.empty(0, dtype=torch.bfloat16 if config.precision == "bf16" else torch.float32)
