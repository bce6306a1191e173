"""The registries of the engine: names and help load without torch, and Adam is the published algorithm."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ffcli.engine import optimisers
from ffcli.engine.cures import CURES
from ffcli.engine.objectives import OBJECTIVES
from ffcli.engine.optimisers import ADAM_EPSILON, OPTIMISERS, Hyperparameters
from ffcli.settings import Cure


def test_registries_load_without_torch() -> None:
    program = (
        "import sys\n"
        "from ffcli.engine.cures import CURES\n"
        "from ffcli.engine.objectives import OBJECTIVES\n"
        "from ffcli.engine.optimisers import OPTIMISERS\n"
        "assert all(entry.help for entries in (CURES, OBJECTIVES, OPTIMISERS) for entry in entries.values())\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_entries_have_their_names_and_one_line_of_help() -> None:
    for registry in (CURES, OBJECTIVES, OPTIMISERS):
        for name, entry in registry.items():
            assert entry.name == name
            assert entry.help == " ".join(entry.help.split())
    for name, cure in CURES.items():
        assert Cure.model_validate(name).samples == cure.default_samples


def removed(*step: Any) -> None:
    raise AttributeError("there is no such kernel")


def changed(parameters: torch.Tensor, *step: Any) -> None:
    parameters.add_(1)


@pytest.mark.parametrize("kernel", [removed, changed])
def test_adam_gives_the_same_bits_if_torch_removes_or_changes_its_kernel(
    monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., None]
) -> None:
    def trained() -> list[torch.Tensor]:
        optimisers._fastest_adam.cache_clear()
        random = torch.Generator().manual_seed(0)
        parameters, adam = torch.randn(500, generator=random), OPTIMISERS["adam"]
        state = adam.initial_state(parameters)
        for _ in range(20):
            adam.step(parameters, torch.randn(500, generator=random), state, 0.01, Hyperparameters(0.7, 0.98))
        return [parameters, *state.values()]

    expected = trained()
    with monkeypatch.context() as patch:
        patch.setattr(optimisers, "_adam_kernel", kernel)
        found = trained()
    optimisers._fastest_adam.cache_clear()
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hyper", [Hyperparameters(), Hyperparameters(0.0, 0.951), Hyperparameters(0.5, 0.9)])
def test_adam_follows_the_published_algorithm(dtype: torch.dtype, hyper: Hyperparameters) -> None:
    random = torch.Generator().manual_seed(0)
    found = torch.randn(50, generator=random, dtype=dtype)
    expected = found.double()
    m, v = torch.zeros_like(expected), torch.zeros_like(expected)
    adam = OPTIMISERS["adam"]
    state = adam.initial_state(found)
    for t in range(1, 30):
        g, lr = torch.randn(50, generator=random, dtype=dtype), 0.1 / t
        adam.step(found, g, state, lr, hyper)
        m = hyper.beta1 * m + (1 - hyper.beta1) * g.double()
        v = hyper.beta2 * v + (1 - hyper.beta2) * g.double().square()
        expected -= lr * m / (1 - hyper.beta1**t) / ((v / (1 - hyper.beta2**t)).sqrt() + ADAM_EPSILON)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert float(state["step"]) == 29
    assert state["exp_avg"].dtype == dtype
