"""What only a CUDA device shows: the mathematics there, recorded hours, and that no hour waits for the host."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from random_data import BATCH, CLASSES, Data, make_config, random_data
from torch import Tensor

from ffcli.engine import training
from ffcli.engine.labels import Labelled
from ffcli.engine.network import evaluate, initial_network, train_hour
from ffcli.engine.training import initial_state, restored_state, state_arrays, train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(torch.cuda.device_count() == 0, reason="no CUDA device")]

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HOW: dict[str, Any] = {"lr": 0.01, "threshold": 1.5, "updates": 3}


@pytest.mark.parametrize("phases", [("positive", "negative"), ("joint",)])
def test_a_gpu_computes_what_the_cpu_does(phases: tuple[Any, ...]) -> None:
    found = []
    for device in (CPU, CUDA):
        network = initial_network(
            12, [9, 6], phases, classes=CLASSES, dtype=torch.float64, device=device,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        awake, asleep = _batch(device)
        for phase in phases * 3:
            train_hour(
                network, awake if phase != "negative" else None, asleep if phase != "positive" else None,
                phase=phase, **HOW,
            )  # fmt: skip
        result = evaluate(network, awake, asleep.labels)
        found.append([layer.parameters.cpu() for layer in network.layers] + [result.goodness_true.cpu()])
    for on_cpu, on_gpu in zip(*found, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"pos_phase": 2, "neg_phase": 1, "warmup": 3, "precision": "float32"},
        {"pos_phase": None, "neg_phase": None, "unseparated": True, "updates_per_batch": 5, "precision": "float32"},
        {"precision": "bf16"},
        {"precision": "float64"},
    ],
    ids=["separated", "shared images", "bf16", "float64"],
)
def test_recorded_hours_give_the_same_bits_also_where_a_run_is_resumed(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    config, shorter = (make_config(device="cuda", epochs=epochs, **options) for epochs in (4, 2))
    data = _on_gpu(random_data(torch.float64 if config.precision == "float64" else torch.float32))

    recorded = initial_state(config, CUDA)
    losses = [(m.loss_positive, m.loss_negative) for m, _ in train(config, data, recorded)]
    assert any(recorded.graphs.values())

    first = initial_state(config, CUDA)
    for _ in train(shorter, data, first):
        pass
    resumed = restored_state(config, state_arrays(first), CUDA)
    for _ in train(config, data, resumed):
        pass

    def as_it_is(graphs: Any, *given: Any, **how: Any) -> Tensor:
        return train_hour(*given, **how)

    monkeypatch.setattr(training, "play_hour", as_it_is)
    plain = initial_state(config, CUDA)
    assert losses == [(m.loss_positive, m.loss_negative) for m, _ in train(config, data, plain)]
    for other in (resumed, plain):
        bits = {name: array.tobytes() for name, array in state_arrays(other).items()}
        assert bits == {name: array.tobytes() for name, array in state_arrays(recorded).items()}


@pytest.mark.parametrize("phases", [("positive", "negative"), ("joint",)])
def test_an_hour_never_waits_for_a_gpu(phases: tuple[Any, ...]) -> None:
    network = initial_network(
        12, [9, 6], phases, classes=CLASSES, dtype=torch.float32, device=CUDA,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    awake, asleep = _batch(CUDA, torch.float32)
    torch.cuda.set_sync_debug_mode("error")  # what waits for the device raises
    try:
        for phase in phases * 2:
            train_hour(
                network, awake if phase != "negative" else None, asleep if phase != "positive" else None,
                phase=phase, **HOW,
            )  # fmt: skip
        evaluate(network, awake, asleep.labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _batch(device: torch.device, dtype: torch.dtype = torch.float64) -> tuple[Labelled, Labelled]:
    data = random_data(dtype)
    awake = Labelled(data.images[:BATCH].to(device), data.labels[:BATCH].to(device), data.amplitude)
    return awake, awake._replace(labels=(awake.labels + 1) % CLASSES)


def _on_gpu(data: Data) -> Data:
    return Data(data.images.to(CUDA), data.labels.to(CUDA))
