"""How a process computes: TF32 is off unless a run asks for it, and denormal numbers are flushed to zero."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ffcli.data import datasets
from ffcli.machine import set_numerics
from ffcli.planning import resolve
from ffcli.running.session import load_data
from ffcli.settings import Settings


@pytest.mark.filterwarnings("ignore")  # newer versions of torch deprecate reading this attribute
def test_float32_run_turns_tf32_off(data_folder: Path) -> None:
    """A worker trains cells of any precision, one after the other."""
    products = torch.backends.cuda.matmul
    set_numerics(tf32=True)
    assert products.allow_tf32
    ref = datasets.locate("mnist", wanted="sample", folder=data_folder, notify=print)
    load_data(resolve(Settings(), ref), device="cpu", threads=1, data_folder=data_folder)
    assert not products.allow_tf32


def test_every_thread_flushes_denormal_numbers() -> None:
    program = (
        "import torch; from ffcli.machine import set_numerics\n"
        "set_numerics(2)\n"
        "small = torch.full((2_000_000,), 1e-20) * 1e-20\n"
        "assert not small.view(torch.int32).any()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
