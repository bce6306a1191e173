"""Tests that need a CUDA device: its results, recorded hours, and that training does not wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from random_data import BATCH, CLASSES, Data, bits, make_config, random_arrays, random_data
from torch import Tensor

from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES
from ffcli.data.tensors import training_tensors
from ffcli.engine import optimisers, training
from ffcli.engine.graphs import Graphs, play_hour
from ffcli.engine.labels import Labelled
from ffcli.engine.layer import Hour
from ffcli.engine.network import begin_phase, evaluate, initial_network, train_hour
from ffcli.engine.training import TrainingState, initial_state, restored_state, state_arrays, train, train_epoch
from ffcli.machine import set_numerics
from ffcli.planning import resolve
from ffcli.running.session import load_data
from ffcli.schedule import Phase
from ffcli.settings import Cure, Settings

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() == 0, reason="no CUDA device")]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def _sync_debug_mode() -> Iterator[None]:
    """Reset what a test sets: in mode `error`, every operation that waits for the device raises."""
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("phases", [("positive", "negative"), ("joint",)])
def test_gpu_and_cpu_agree(phases: tuple[Phase, ...]) -> None:
    found = []
    for device in (CPU, CUDA):
        network = initial_network(
            12, [9, 6], phases, classes=CLASSES, dtype=torch.float64, device=device,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        positive, negative = _batch(device)
        for phase in phases * 3:
            train_hour(network, Hour(phase, 0.01, 1.5, 3), positive, negative)
        result = evaluate(network, positive, negative.labels)
        found.append([layer.parameters.cpu() for layer in network.layers] + [result.goodness_true.cpu()])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.parametrize(
    "options",
    [
        {"pos_phase": 2, "neg_phase": 1, "warmup": 3, "precision": "float32"},
        {"pos_phase": None, "neg_phase": None, "unseparated": True, "updates_per_batch": 5, "precision": "float32"},
        {"precision": "bf16"},
        {"precision": "tf32"},
        {"precision": "float64"},
        {"cure": "gradient-memory", "precision": "float32"},
    ],
    ids=["separated", "shared images", "bf16", "tf32", "float64", "cured"],
)
def test_recorded_hours_give_the_same_bits_in_new_and_resumed_runs(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], device: str
) -> None:
    place = torch.device(device)
    if place.index >= torch.cuda.device_count():
        pytest.skip(f"no {device}")
    config, shorter = (make_config(device="cuda", epochs=epochs, **options) for epochs in (4, 2))
    set_numerics(tf32=config.precision == "tf32")
    on_cpu = random_data(torch.float64 if config.precision == "float64" else torch.float32)
    data = Data(on_cpu.images.to(place), on_cpu.labels.to(place))

    recorded = initial_state(config, place)
    losses = [(m.loss_positive, m.loss_negative) for m, _ in train(config, data, recorded)]
    assert any(recorded.graphs.values()) == (not config.cure)

    first = initial_state(config, place)
    for _ in train(shorter, data, first):
        pass
    resumed = restored_state(config, state_arrays(first), place)
    for _ in train(config, data, resumed):
        pass

    def without_graphs(graphs: Graphs, *given: Any) -> Tensor:
        return train_hour(*given)

    monkeypatch.setattr(training, "play_hour", without_graphs)
    plain = initial_state(config, place)
    assert losses == [(m.loss_positive, m.loss_negative) for m, _ in train(config, data, plain)]
    assert bits(recorded) == bits(resumed) == bits(plain)


@pytest.mark.parametrize("size", [3, 1000, 250_500, 392_500])
def test_adam_in_pieces_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    found = []
    for pieces in (1, optimisers.PIECES):
        monkeypatch.setattr(optimisers, "PIECES", pieces)
        random = torch.Generator(CUDA).manual_seed(0)
        parameters = torch.randn(size, device=CUDA, generator=random)
        state = optimisers.adam_state(parameters)
        for _ in range(3):
            gradient = torch.randn(size, device=CUDA, generator=random)
            optimisers._adam_kernel(parameters, gradient, state, 0.01, optimisers.Hyperparameters(0.348678, 0.990045))
        found.append([parameters, *state.values()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.usefixtures("_sync_debug_mode")
@pytest.mark.parametrize("cure", ["none", "gradient-memory", "replay:4"])
@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kinds", ["separated", "shared images", "other images"])
def test_hours_and_evaluations_do_not_wait_for_the_gpu(kinds: str, products: torch.dtype, cure: str) -> None:
    if kinds != "separated" and cure != "none":
        pytest.skip("cures need separated phases")
    phases: tuple[Phase, ...] = ("positive", "negative") if kinds == "separated" else ("joint",)
    network = initial_network(
        12, [9, 6], phases, classes=CLASSES, dtype=torch.float32, device=CUDA,
        generator=torch.Generator().manual_seed(0), products=products, cure=Cure.model_validate(cure),
    )  # fmt: skip
    positive, negative = _batch(CUDA, torch.float32)
    if kinds == "other images":
        negative = negative._replace(images=negative.images.clone())
    graphs: Graphs = {}

    def hours() -> None:
        for phase in phases:
            hour = Hour(phase, 0.01, 1.5, 3)
            train_hour(network, hour, positive, negative)
            play_hour(graphs, network, hour, positive, negative)
            begin_phase(network)
        evaluate(network, positive, negative.labels)

    for _ in range(2):  # recording waits once
        hours()
    torch.cuda.set_sync_debug_mode("error")
    hours()


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.usefixtures("_sync_debug_mode")
@pytest.mark.parametrize("negatives", sorted(STRATEGIES))
def test_epochs_wait_for_the_gpu_only_at_their_end(negatives: str) -> None:
    config = make_config(neg=negatives, precision="float32", pos_phase=1, neg_phase=1)
    state, hours = initial_state(config, CUDA), 8

    def forbid_waiting(state: TrainingState) -> None:
        """From the hour after both phases were recorded to the last one, including batches and negatives."""
        torch.cuda.set_sync_debug_mode("error" if 4 <= state.hour < hours else "default")

    train_epoch(config, training_tensors(random_arrays(hours * BATCH), config, CUDA), state, 1, observe=forbid_waiting)
    assert state.hour == hours


def test_only_tf32_runs_round_products(data_folder: Path) -> None:
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("this device has no TF32")
    ref = datasets.locate("mnist", wanted="sample", folder=data_folder, notify=print)
    a = torch.randn(512, 512, generator=torch.Generator().manual_seed(0)).to(CUDA)
    products = []
    for precision in ("float32", "tf32", "float32"):
        config = resolve(Settings(precision=precision), ref, device="cuda")
        load_data(config, device="cuda", threads=1, data_folder=data_folder)
        products.append(a @ a)
    assert torch.equal(products[0], products[2])
    assert not torch.equal(products[0], products[1])


def _batch(device: torch.device, dtype: torch.dtype = torch.float64) -> tuple[Labelled, Labelled]:
    data = random_data(dtype)
    positive = Labelled(data.images[:BATCH].to(device), data.labels[:BATCH].to(device), data.amplitude)
    return positive, positive._replace(labels=(positive.labels + 1) % CLASSES)
