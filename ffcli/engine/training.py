"""Training as a pure iterator: (config, data, state) -> the metrics of each epoch, with the state it ended in.

No file, database or terminal is touched here. Every random stream is derived from (seed, stream, epoch), so a state
needs no generators: an epoch's shuffle and negatives are the same whether the run came here in one go or not, and
how often it is evaluated changes nothing.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcli.config import RunConfig
from ffcli.engine import cures
from ffcli.engine.graphs import Graphs, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.network import (
    Network,
    begin_phase,
    evaluate,
    initial_network,
    label_goodness,
    percent_correct,
    predict,
    train_hour,
)
from ffcli.errors import DamagedState, Diverged
from ffcli.records import EpochMetrics
from ffcli.schedule import Phase, phase_of, phases

Arrays = dict[str, NDArray[Any]]
Losses = tuple[float | None, ...]

WRONG_LABEL_SEED = 20231018
"""The fixed wrong labels of the test images: the same for every run."""


class Negatives(Protocol):
    """(images, labels) of the positive batch -> (images, labels) of the negative one."""

    def __call__(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


class TrainingData(Protocol):
    """Images (N, features) normalised and labels (N,) int64, on one device."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def test_images(self) -> Tensor: ...
    @property
    def test_labels(self) -> Tensor: ...
    @property
    def validation_images(self) -> Tensor: ...
    @property
    def validation_labels(self) -> Tensor: ...
    @property
    def amplitude(self) -> float: ...
    @property
    def negatives(self) -> Negatives: ...
    @property
    def full_batches(self) -> bool: ...


@dataclass(slots=True)
class TrainingState:
    """A network and where it stands; `train` changes it in place. `hour` may be read while an epoch is under way."""

    network: Network
    epoch: int = 0
    hour: int = 0
    graphs: Graphs = field(default_factory=dict)
    """Of the network's hours, on a CUDA device."""


Observer = Callable[[TrainingState], None]
"""Looks at the state after an hour, and leaves it as it is."""


def train(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    *,
    eval_every: int = 1,
    observe: Observer | None = None,
) -> Iterator[tuple[EpochMetrics, TrainingState]]:
    """Train from where `state` stands up to `config.epochs`; yields epoch 0 (untrained) too where it starts there.

    Epochs that `eval_every` does not divide are not evaluated, but the last one always is.
    Raises Diverged, naming epoch and layer, where an epoch met a number that is not finite.
    """
    if state.epoch == 0:
        yield _measure(config, data, state, losses=(None, None), started=time.perf_counter()), state
    for epoch in range(state.epoch + 1, config.epochs + 1):
        started = time.perf_counter()
        losses = train_epoch(config, data, state, epoch, observe=observe)
        due = epoch % eval_every == 0 or epoch == config.epochs
        metrics = _measure(config, data, state, losses=losses, started=started, evaluated=due)
        yield metrics, state


def train_epoch(
    config: RunConfig, data: TrainingData, state: TrainingState, epoch: int, *, observe: Observer | None = None
) -> Losses:
    """Train every batch once. Returns the mean losses by kind, positive first; None for a kind that did not occur."""
    device = data.images.device
    shuffling = stream(config.seed, "shuffle", epoch, device)
    drawing = stream(config.seed, "negatives", epoch, device)
    order = torch.randperm(len(data.images), generator=shuffling, device=device)
    one_hour = partial(play_hour, state.graphs) if device.type == "cuda" else train_hour
    losses: list[Tensor] = []
    hours: Counter[Phase] = Counter()
    for batch in torch.split(order, config.batch_size):
        if len(batch) < config.batch_size and data.full_batches:
            break
        phase = phase_of(config.schedule, state.hour)
        if state.hour and phase != phase_of(config.schedule, state.hour - 1):
            begin_phase(state.network)
        awake = Labelled(data.images.index_select(0, batch), data.labels.index_select(0, batch), data.amplitude)
        asleep = None
        if phase != "positive":
            asleep = Labelled(*data.negatives(awake.images, awake.labels, generator=drawing), data.amplitude)
        losses.append(
            one_hour(
                state.network,
                awake if phase != "negative" else None,
                asleep,
                phase=phase,
                lr=config.learning_rate(phase, state.hour),
                threshold=config.threshold,
                updates=config.updates_per_batch,
            )
        )
        hours[phase] += 1
        state.hour += 1
        if observe:
            observe(state)
    state.epoch = epoch
    total = torch.stack(losses).sum(0)
    _check_finite(total, state)
    awake_hours, asleep_hours = hours["positive"] + hours["joint"], hours["negative"] + hours["joint"]
    by_kind = total.mean(0).tolist()
    return tuple(loss / n if n else None for loss, n in zip(by_kind, (awake_hours, asleep_hours), strict=True))


def initial_state(config: RunConfig, device: torch.device) -> TrainingState:
    """A fresh network, drawn from the config's seed."""
    network = initial_network(
        config.data.features,
        config.hidden,
        phases(config.schedule),
        classes=config.data.classes,
        dtype=torch.float64 if config.precision == "float64" else torch.float32,
        device=device,
        generator=stream(config.seed, "init", 0, torch.device("cpu")),
        products=torch.bfloat16 if config.precision == "bf16" else None,
        cure=config.cure,
        betas=(config.beta1, config.beta2),
    )
    return TrainingState(network)


def state_arrays(state: TrainingState) -> Arrays:
    """All that continues a run: parameters (weights row by row, then biases), Adam moments and steps, what a cure
    keeps, position."""
    return _arrays(_state_tensors(state))


def _state_tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {"position": torch.tensor([state.epoch, state.hour])}
    for number, layer in enumerate(state.network.layers):
        tensors[f"layers.{number}.parameters"] = layer.parameters
        for phase, adam in layer.adam.items():
            tensors[f"layers.{number}.{phase}.exp_avg"] = adam.exp_avg
            tensors[f"layers.{number}.{phase}.exp_avg_sq"] = adam.exp_avg_sq
            tensors[f"layers.{number}.{phase}.step"] = adam.step
        if memory := layer.memory:
            tensors[f"layers.{number}.memory.filling"] = memory.filling
            tensors[f"layers.{number}.memory.kept"] = memory.kept
            tensors[f"layers.{number}.memory.progress"] = cures.progress(memory)
    return tensors


def restored_state(config: RunConfig, arrays: Arrays, device: torch.device) -> TrainingState:
    """The state that `state_arrays` took apart. Raises DamagedState where names, shapes or types do not fit."""
    state = initial_state(config, device)
    wanted = _state_tensors(state)
    for name, tensor in wanted.items():
        saved = arrays.get(name)
        if saved is None or saved.shape != tuple(tensor.shape) or torch.from_numpy(saved).dtype != tensor.dtype:
            raise DamagedState(f"the saved state does not fit the run: '{name}' is missing or of another shape")
        tensor.copy_(torch.from_numpy(saved))
    state.epoch, state.hour = (int(n) for n in wanted["position"])
    for number, layer in enumerate(state.network.layers):
        if memory := layer.memory:
            cures.resume(memory, wanted[f"layers.{number}.memory.progress"])
    return state


def stream(seed: int, name: str, epoch: int, device: torch.device) -> torch.Generator:
    """The random stream of one purpose in one epoch."""
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def _arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _measure(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    *,
    losses: Losses,
    started: float,
    evaluated: bool = True,
) -> EpochMetrics:
    accuracy = validation = awake = asleep = dead = None
    if evaluated:
        test = Labelled(data.test_images, data.test_labels, data.amplitude)
        found = evaluate(state.network, test, _fixed_wrong_labels(data.test_labels, config.data.classes))
        accuracy = float(found.accuracy)
        awake, asleep = (tuple(g.tolist()) for g in (found.goodness_true, found.goodness_wrong))
        dead = tuple(float(share) for share in found.dead_units)
        if len(data.validation_labels):
            guessed = predict(label_goodness(state.network, data.validation_images, data.amplitude))
            validation = float(percent_correct(guessed, data.validation_labels))
    return EpochMetrics(
        epoch=state.epoch,
        hour=state.hour,
        phase=phase_of(config.schedule, state.hour - 1) if state.hour else None,
        accuracy=accuracy,
        validation_accuracy=validation,
        loss_positive=losses[0],
        loss_negative=losses[1],
        goodness_positive=awake,
        goodness_negative=asleep,
        dead_units=dead,
        seconds=time.perf_counter() - started,
    )


def _fixed_wrong_labels(labels: Tensor, classes: int) -> Tensor:
    generator = torch.Generator().manual_seed(WRONG_LABEL_SEED)
    shift = torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)
    return (labels + shift) % classes


def _check_finite(losses: Tensor, state: TrainingState) -> None:
    """The only wait for the device in an epoch: `losses` (layers, kinds) carry whatever was not finite."""
    parameters = torch.stack([layer.parameters.sum() for layer in state.network.layers])
    bad = ~(losses.sum(1) + parameters).isfinite()
    if bool(bad.any()):
        layer = int(bad.to(torch.uint8).argmax()) + 1
        raise Diverged(
            f"diverged in epoch {state.epoch}, layer {layer}: a number is not finite any more; a lower --lr may help"
        )
