"""Training: an iterator over epochs that yields what was measured and the state after each.

Nothing here reads or writes files, databases or the terminal. Every random stream is derived from (seed, purpose,
epoch), so a saved state contains no random state: an epoch uses the same batches and negatives whether or not the run
was interrupted before, and however often it is evaluated.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ffcli.config import RunConfig
from ffcli.engine import cures
from ffcli.engine.graphs import Graphs, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.layer import Hour
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
from ffcli.engine.objectives import OBJECTIVES
from ffcli.engine.optimisers import OPTIMISERS, Hyperparameters
from ffcli.errors import DamagedState, Diverged
from ffcli.records import EpochMetrics
from ffcli.schedule import Phase, phase_of, phases

Arrays = dict[str, NDArray[Any]]
Losses = tuple[float | None, float | None]
"""Mean loss of an epoch on positive and on negative data; None for data that no hour used."""

WRONG_LABEL_SEED = 20231018
"""Seed of the wrong labels that test images are evaluated with; the same for every run."""


class Negatives(Protocol):
    """Makes negative data: images (B, features) and labels (B,) of a positive batch -> those of a negative batch."""

    def __call__(self, images: Tensor, labels: Tensor, *, generator: torch.Generator) -> tuple[Tensor, Tensor]: ...


class TrainingData(Protocol):
    """A dataset on one device. Images are normalised (N, features), labels are int64 (N,)."""

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
    """A network and its position in training. Training changes it in place."""

    network: Network
    epoch: int = 0
    """Epochs that are complete."""
    hour: int = 0
    """Hours that are complete, over all epochs; up to date during an epoch, too."""
    graphs: Graphs = field(default_factory=dict)
    """Recorded hours, on a CUDA device."""


Observer = Callable[[TrainingState], None]
"""Called with the state after each hour; must not change it."""


def train(
    config: RunConfig,
    data: TrainingData,
    state: TrainingState,
    *,
    eval_every: int = 1,
    observe: Observer | None = None,
) -> Iterator[tuple[EpochMetrics, TrainingState]]:
    """Train from the position of `state` to the end of epoch `config.epochs`.

    Args:
        config: settings of the run.
        data: the dataset.
        state: changed in place.
        eval_every: evaluate only the epochs that this number divides, and the last one.
        observe: called after each hour.

    Yields:
        Metrics and state after each epoch; first those of the untrained network (epoch 0) if training starts there.

    Raises:
        Diverged: if a loss or a parameter is not finite at the end of an epoch.
    """
    if state.epoch == 0:
        yield _measure(config, data, state, losses=(None, None), started=time.perf_counter(), evaluated=True), state
    for epoch in range(state.epoch + 1, config.epochs + 1):
        started = time.perf_counter()
        losses = train_epoch(config, data, state, epoch, observe=observe)
        evaluated = epoch % eval_every == 0 or epoch == config.epochs
        yield _measure(config, data, state, losses=losses, started=started, evaluated=evaluated), state


def train_epoch(
    config: RunConfig, data: TrainingData, state: TrainingState, epoch: int, *, observe: Observer | None = None
) -> Losses:
    """Train on each batch of an epoch once. Arguments are those of `train`; returns the mean losses.

    The host waits for the device only at the end of the epoch.
    """
    drawing = stream(config.seed, "negatives", epoch, data.images.device)
    run_hour = partial(play_hour, state.graphs) if data.images.device.type == "cuda" else train_hour
    losses: list[Tensor] = []
    hours: Counter[Phase] = Counter()
    for positive in _batches(config, data, epoch):
        hour = hour_settings(config, state.hour)
        negative = None
        if hour.phase != "positive":
            negative = Labelled(*data.negatives(positive.images, positive.labels, generator=drawing), data.amplitude)
        if state.hour and hour.phase != phase_of(config.schedule, state.hour - 1):
            begin_phase(state.network)
        losses.append(run_hour(state.network, hour, positive, negative))
        hours[hour.phase] += 1
        state.hour += 1
        if observe:
            observe(state)
    state.epoch = epoch
    total = torch.stack(losses).sum(0)
    _check_finite(total, state)
    return _mean_losses(total, hours)


def hour_settings(config: RunConfig, number: int) -> Hour:
    """Return how the hour with this number (counted from 0 over all epochs) trains."""
    phase = phase_of(config.schedule, number)
    return Hour(phase, config.learning_rate(phase, number), config.threshold, config.updates_per_batch)


def initial_state(config: RunConfig, device: torch.device) -> TrainingState:
    """Return the state before the first epoch, with random parameters from the run's seed."""
    network = initial_network(
        config.data.features,
        config.hidden,
        phases(config.schedule),
        classes=config.data.classes,
        dtype=torch.float64 if config.precision == "float64" else torch.float32,
        device=device,
        generator=stream(config.seed, "init", 0, torch.device("cpu")),
        products=torch.bfloat16 if config.precision == "bf16" else None,
        objective=OBJECTIVES[config.objective],
        optimiser=OPTIMISERS[config.optimiser],
        hyper=Hyperparameters(**{field.name: getattr(config, field.name) for field in fields(Hyperparameters)}),
        cure=config.cure,
    )
    return TrainingState(network)


def state_arrays(state: TrainingState) -> Arrays:
    """Return everything that is needed to continue a run, by name.

    These are the position, and for each layer the parameters (weights row by row, then biases), the optimiser states,
    and what the cure keeps. On the CPU, arrays share memory with the state.
    """
    return {name: tensor.cpu().numpy() for name, tensor in _state_tensors(state).items()}


def restored_state(config: RunConfig, arrays: Arrays, device: torch.device) -> TrainingState:
    """Return the state that `state_arrays` was called with.

    Raises:
        DamagedState: if an array is missing or has another shape or type than the run needs.
    """
    state = initial_state(config, device)
    tensors = _state_tensors(state)
    for name, tensor in tensors.items():
        saved = arrays.get(name)
        if saved is None or saved.shape != tuple(tensor.shape) or torch.from_numpy(saved).dtype != tensor.dtype:
            raise DamagedState(f"the saved state does not fit the run: '{name}' is missing or of another shape")
        tensor.copy_(torch.from_numpy(saved))
    state.epoch, state.hour = tensors["position"].tolist()
    for number, layer in enumerate(state.network.layers):
        if memory := layer.memory:
            cures.restore_progress(memory, tensors[f"layers.{number}.memory.progress"].tolist())
    return state


def trained_network(config: RunConfig, weights: Mapping[str, NDArray[Any]], device: torch.device) -> Network:
    """Return the network of a finished run.

    Args:
        config: the run.
        weights: weights (units, inputs) and biases (units,) of each layer, named as in `torch.nn.Linear`.
        device: where to compute.
    """
    network = initial_state(config, device).network
    for number, layer in enumerate(network.layers):
        for name, tensor in (("weight", layer.weight), ("bias", layer.bias)):
            tensor.copy_(torch.from_numpy(weights[f"layers.{number}.{name}"]))
    return network


def first_batch(config: RunConfig, data: TrainingData) -> Labelled:
    """Return the first batch of the run's first epoch."""
    return next(_batches(config, data, 1))


def stream(seed: int, purpose: str, epoch: int, device: torch.device) -> torch.Generator:
    """Return the random stream of one purpose in one epoch."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def _batches(config: RunConfig, data: TrainingData, epoch: int) -> Iterator[Labelled]:
    """Yield the shuffled batches of an epoch. The last one may be smaller, or is left out if `full_batches`."""
    device = data.images.device
    order = torch.randperm(len(data.images), generator=stream(config.seed, "shuffle", epoch, device), device=device)
    for batch in torch.split(order, config.batch_size):
        if len(batch) == config.batch_size or not data.full_batches:
            yield Labelled(data.images.index_select(0, batch), data.labels.index_select(0, batch), data.amplitude)


def _check_finite(losses: Tensor, state: TrainingState) -> None:
    """Raise Diverged if the summed losses (layers, 2) or the parameters of a layer are not finite."""
    parameters = torch.stack([layer.parameters.sum() for layer in state.network.layers])
    bad = ~(losses.sum(1) + parameters).isfinite()
    if bool(bad.any()):
        layer = int(bad.to(torch.uint8).argmax()) + 1
        raise Diverged(
            f"diverged in epoch {state.epoch}, layer {layer}: a number is not finite any more; a lower --lr may help"
        )


def _mean_losses(total: Tensor, hours: Counter[Phase]) -> Losses:
    """Return the losses by kind of data, given the losses summed over the hours (layers, 2)."""
    positive, negative = total.mean(0).tolist()
    positive_hours, negative_hours = (hours[phase] + hours["joint"] for phase in ("positive", "negative"))
    return positive / positive_hours if positive_hours else None, negative / negative_hours if negative_hours else None


def _measure(
    config: RunConfig, data: TrainingData, state: TrainingState, *, losses: Losses, started: float, evaluated: bool
) -> EpochMetrics:
    """Return the metrics of the epoch that just ended, with those of an evaluation if `evaluated`."""
    return EpochMetrics(
        epoch=state.epoch,
        hour=state.hour,
        phase=phase_of(config.schedule, state.hour - 1) if state.hour else None,
        loss_positive=losses[0],
        loss_negative=losses[1],
        **(_evaluated(config, data, state.network) if evaluated else NOT_EVALUATED),
        seconds=time.perf_counter() - started,
    )


NOT_EVALUATED: dict[str, Any] = dict.fromkeys(
    ("accuracy", "validation_accuracy", "goodness_positive", "goodness_negative", "dead_units")
)


def _evaluated(config: RunConfig, data: TrainingData, network: Network) -> dict[str, Any]:
    """Return the metrics that evaluating the test and the validation images gives."""
    test = Labelled(data.test_images, data.test_labels, data.amplitude)
    found = evaluate(network, test, _wrong_labels(data.test_labels, config.data.classes))
    validation = None
    if len(data.validation_labels):
        predicted = predict(network, label_goodness(network, data.validation_images, data.amplitude))
        validation = float(percent_correct(predicted, data.validation_labels))
    return {
        "accuracy": float(found.accuracy),
        "validation_accuracy": validation,
        "goodness_positive": tuple(found.goodness_true.tolist()),
        "goodness_negative": tuple(found.goodness_wrong.tolist()),
        "dead_units": tuple(float(share) for share in found.dead_units),
    }


def _wrong_labels(labels: Tensor, classes: int) -> Tensor:
    """Return a fixed wrong label for each test image (N,)."""
    generator = torch.Generator().manual_seed(WRONG_LABEL_SEED)
    shift = torch.randint(1, classes, labels.shape, generator=generator).to(labels.device)
    return (labels + shift) % classes


def _state_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Return the tensors of a saved state by name. All but the position and the progress are those of the network."""
    tensors = {"position": torch.tensor([state.epoch, state.hour])}
    for number, layer in enumerate(state.network.layers):
        tensors[f"layers.{number}.parameters"] = layer.parameters
        for phase, optimiser_state in layer.states.items():
            tensors |= {f"layers.{number}.{phase}.{name}": tensor for name, tensor in optimiser_state.items()}
        if memory := layer.memory:
            tensors[f"layers.{number}.memory.filling"] = memory.filling
            tensors[f"layers.{number}.memory.kept"] = memory.kept
            tensors[f"layers.{number}.memory.progress"] = torch.tensor(cures.progress(memory))
    return tensors
