"""What training may not do on any device: wait for it within an epoch, or mix it with another one."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from random_data import BATCH, make_config, random_arrays, seen
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ffcli.config import Cure
from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES, Pool
from ffcli.data.tensors import training_tensors
from ffcli.engine.labels import Labelled
from ffcli.engine.network import begin_phase, evaluate, initial_network, make_network, train_hour
from ffcli.engine.training import initial_state, train_epoch
from ffcli.machine import set_numerics
from ffcli.planning import resolve
from ffcli.running.session import load_data
from ffcli.schedule import Phase
from ffcli.settings import Settings

CPU = torch.device("cpu")
ON_A_CUDA_BUILD = pytest.mark.skipif(
    torch.version.cuda is None, reason="torch's CPU build has no tensors of a CUDA device, not even fake"
)


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that read a device's number on the host, or bring the host's to the device."""

    WAITING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "lift_fresh", "_to_copy")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        converts = name == "_to_copy" and (kwargs or {}).get("device") is None
        if name in self.WAITING and not converts:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def test_the_counter_counts() -> None:
    with Waits() as waits:
        torch.ones(3).sum().item()
        bool(torch.ones(1) > 0)
        torch.tensor([1.0, 2.0])
    assert waits.found == {"_local_scalar_dense": 2, "lift_fresh": 1}


@pytest.mark.parametrize("cure", ["none", "gradient-memory", "replay:4"])
@pytest.mark.parametrize("kinds", ["separated", "wrong labels", "masks"])
def test_an_hour_and_an_evaluation_never_wait(kinds: str, cure: str) -> None:
    if kinds != "separated" and cure != "none":
        return
    phases: tuple[Phase, ...] = ("positive", "negative") if kinds == "separated" else ("joint",)
    network = initial_network(
        12, [7, 6], phases, classes=3, dtype=torch.float32, device=CPU, generator=torch.Generator().manual_seed(0),
        cure=Cure.model_validate(cure),
    )  # fmt: skip
    images, labels = torch.rand(8, 12), torch.arange(8) % 3
    awake = Labelled(images, labels, 2.0)
    asleep = Labelled(torch.rand(8, 12) if kinds == "masks" else images, (labels + 1) % 3, 2.0)
    with Waits() as waits:
        for phase in phases * 2:
            train_hour(network, *seen(phase, awake, asleep), phase=phase, lr=0.01, threshold=1.5, updates=2)
            if kinds == "separated":
                begin_phase(network)
        evaluate(network, awake, asleep.labels)
    assert not waits.found


@pytest.mark.parametrize("negatives", sorted(STRATEGIES))
def test_an_epoch_waits_no_more_often_with_more_hours(negatives: str) -> None:
    """Shuffling and negatives included; its losses are read at its end."""
    config = make_config(neg=negatives)
    waits = []
    for images in (2 * BATCH, 6 * BATCH):
        data, state = training_tensors(random_arrays(images), config, CPU), initial_state(config, CPU)
        with Waits() as counted:
            train_epoch(config, data, state, 1)
        assert state.hour == images // BATCH
        waits.append(counted.found)
    assert waits[0] == waits[1]


@ON_A_CUDA_BUILD
@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("cure", ["none", "gradient-memory", "replay:4"])
def test_nothing_of_the_cpu_enters_an_hour_or_an_evaluation(cure: str, products: torch.dtype) -> None:
    """Tensors that are a CUDA device's by name and have no content: an operation that mixes devices fails."""
    separated: tuple[Phase, ...] = ("positive", "negative")
    phases: tuple[Phase, ...] = separated if cure != "none" else (*separated, "joint")
    with FakeTensorMode():
        parameters = [torch.zeros(size, device="cuda") for size in (12 * 7 + 7, 7 * 6 + 6)]
        network = make_network(parameters, (7, 6), phases, classes=3, products=products, cure=Cure.model_validate(cure))
        images, labels = parameters[0].new_empty(8, 12), torch.zeros(8, dtype=torch.int64, device="cuda")
        awake = Labelled(images, labels, 2.0)
        joined = awake._replace(images=images.clone())
        for phase, asleep in ((phase, asleep) for phase in phases * 2 for asleep in (awake, joined)):
            losses = train_hour(network, *seen(phase, awake, asleep), phase=phase, lr=0.01, threshold=1.5, updates=2)
            assert losses.device.type == "cuda"
            begin_phase(network)
        assert evaluate(network, awake, awake.labels).accuracy.device.type == "cuda"


@ON_A_CUDA_BUILD
def test_nothing_of_the_cpu_enters_masks() -> None:
    with FakeTensorMode():
        images, labels = torch.zeros(8, 12, device="cuda"), torch.zeros(8, dtype=torch.int64, device="cuda")
        blur = torch.zeros(3, 3, device="cuda"), torch.zeros(4, 4, device="cuda")
        pool = Pool(images, 3, (1, 3, 4), blur)
        drawing: Any = None  # a generator of a device needs the device
        joined, wrong = STRATEGIES["masks"].draw(images, labels, pool, drawing)
        assert (joined.device.type, wrong.device.type) == ("cuda", "cuda")


@pytest.mark.filterwarnings("ignore:Please use the new API")
def test_a_run_in_float32_takes_back_what_one_in_tf32_allowed(data_folder: Path) -> None:
    """A worker trains cells of any precision one after the other."""
    products = torch.backends.cuda.matmul
    set_numerics(tf32=True)
    assert products.allow_tf32
    ref = datasets.locate("mnist", wanted="sample", folder=data_folder, notify=print)
    load_data(resolve(Settings(), ref), device="cpu", threads=1, data_folder=data_folder)
    assert not products.allow_tf32


def test_denormal_numbers_are_flushed_by_every_thread() -> None:
    program = (
        "import torch; from ffcli.machine import set_numerics\n"
        "set_numerics(2)\n"
        "small = torch.full((2_000_000,), 1e-20) * 1e-20\n"
        "assert not small.view(torch.int32).any()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
