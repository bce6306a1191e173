"""What this machine is, as far as it bears on the figures."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from ffcli.benchmark import Machine
from ffcli.provenance import provenance

BF16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}


def this_machine(*, on: int | None = None) -> Machine:
    """`on`: the threads measured with; None for torch's own number of them."""
    where = provenance(torch.device("cpu"), from_epoch=0)
    return Machine(
        host=where.host,
        processor=where.device,
        cores=cores(),
        threads=on or where.threads,
        bf16=bf16_instructions(),
        torch=where.torch,
        python=where.python,
        ffcli=where.ffcli,
        revision=where.revision,
    )


def cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bf16_instructions() -> str | None:
    """The processor's instructions for bfloat16 products, as the system names them; None where it has none."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return None
    return next((name for flag, name in BF16_FLAGS.items() if flag in flags), None)
