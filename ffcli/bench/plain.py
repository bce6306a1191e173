"""The same work without the engine: plain autograd, ten overlays, one image at a time. See `ffcli.bench.ours`."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import count

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ffcli.bench.measuring import Contestant
from ffcli.bench.setting import CPU
from ffcli.config import RunConfig
from ffcli.engine.autograd import AutogradNetwork
from ffcli.engine.labels import Labelled, overlay
from ffcli.engine.training import initial_state
from ffcli.schedule import phase_of, phases


def hours(config: RunConfig, awake: Labelled, asleep: Labelled) -> Contestant:
    """One more hour of a run's schedule with each call: overlaid images through nn.Linear, softplus, backward, Adam."""
    network = plain_network(config)
    numbers = count()
    return lambda: train_hour(network, config, next(numbers), awake, asleep)


def train_hour(network: AutogradNetwork, config: RunConfig, number: int, awake: Labelled, asleep: Labelled) -> float:
    """The hour `number` of a run, on the kinds of data that its phase has; the mean loss."""
    phase = phase_of(config.schedule, number)
    kinds = [(awake, 1)] * (phase != "negative") + [(asleep, -1)] * (phase != "positive")
    v = torch.cat([_overlaid(data, config.data.classes) for data, _ in kinds])
    sign = torch.cat([torch.full((len(data.labels),), float(value)) for data, value in kinds])
    return network.learn(v, sign, phase)


def evaluation(config: RunConfig, data: Labelled) -> Contestant:
    """Accuracy: every image under each label through the whole network."""
    network = plain_network(config)
    return lambda: accuracy(network, data, config.data.classes)


def accuracy(network: AutogradNetwork, data: Labelled, classes: int) -> float:
    """In percent: the label under which the layers' goodness is highest, against the true one."""
    totals = []
    for label in range(classes):
        v = _overlaid(data._replace(labels=torch.full_like(data.labels, label)), classes)
        totals.append(network.goodness(v).sum(0))
    return 100 * float((torch.stack(totals).argmax(0) == data.labels).double().mean())


def masks(images: Tensor, batch: Labelled, *, size: Sequence[int], classes: int, blur: int) -> Contestant:
    """Negatives for one batch as the items of a `Dataset`: for each two images, a mask and its blurs."""
    kernel = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]).view(1, 1, 3, 3) / 16

    def item(label: int) -> tuple[Tensor, int]:
        a, b = (images[random.randrange(len(images))].view(1, *size) for _ in range(2))
        mask = torch.randint(0, 2, (1, 1, *size)).float()
        for _ in range(blur):
            mask = conv2d(mask, kernel, padding=1)
        chosen = (mask[0] < 0.5).float()
        return (a * chosen + b * (1 - chosen)).flatten(), (label + random.randrange(1, classes)) % classes

    def negatives() -> tuple[Tensor, Tensor]:
        joined, labels = zip(*(item(int(label)) for label in batch.labels), strict=True)
        return torch.stack(joined), torch.tensor(labels)

    return negatives


def first_update(config: RunConfig, items: Iterable[tuple[Tensor, int]]) -> Contestant:
    """From the items of a `Dataset`, one after the other, to the end of the first update on a shuffled batch."""

    def start() -> None:
        pixels, digits = zip(*items, strict=True)
        images, labels = torch.stack(pixels), torch.tensor(digits)
        batch = torch.randperm(len(labels))[: config.batch_size]
        awake = Labelled(images[batch], labels[batch], float(images[batch].max()))
        hours(config, awake, awake)()

    return start


def plain_network(config: RunConfig) -> AutogradNetwork:
    """With the weights that the engine starts from."""
    rates = {phase: config.learning_rate(phase, 0) for phase in phases(config.schedule)}
    network = AutogradNetwork(
        (config.data.features, *config.hidden), rates, threshold=config.threshold, updates=config.updates_per_batch
    )
    network.load((layer.weight, layer.bias) for layer in initial_state(config, CPU).network.layers)
    return network


def _overlaid(data: Labelled, classes: int) -> Tensor:
    return overlay(data, classes=classes, out=torch.empty_like(data.images))
