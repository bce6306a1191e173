"""Which workers a sweep can use: those that give the same bits as this machine's versions would."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from socket import gethostname
from uuid import uuid4

from ffcli import __version__
from ffcli.config import ALGORITHM_VERSION, RunConfig
from ffcli.machine import bf16_instructions, gpu_models, has_driver, missing_for_kernels

PROCESS = uuid4().hex
"""Identifies this process: a worker that was replaced may have the address, and even the number, of the old one."""

COMPARED = ("torch", "numpy", "distributed")
"""Packages of which the sweep and its workers need the same version, beside ffcli itself."""


@dataclass(frozen=True, slots=True)
class Site:
    """A process of a sweep: a worker, or the sweep itself."""

    process: str
    pid: int
    host: str
    versions: dict[str, str]
    """Of all that decides the bits of a run or the meaning of a message."""
    bf16: str | None
    """The processor's instructions for bfloat16 products."""
    cuda: bool
    """Whether there is an NVIDIA driver."""
    gpus: str | None
    """The models of the GPUs, as far as the driver tells."""
    missing: str | None
    """What is missing to compile kernels for a GPU."""


def site() -> Site:
    """Return the site of this process."""
    versions = {"ffcli": __version__, "algorithm version": str(ALGORITHM_VERSION)}
    for package in COMPARED:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return Site(
        PROCESS, os.getpid(), gethostname(), versions, bf16_instructions(), has_driver(), gpu_models(),
        missing_for_kernels(),
    )  # fmt: skip


def refusal(configs: Iterable[RunConfig]) -> Callable[[Site], str | None]:
    """Return a function that says why a worker cannot train these runs; it returns None if it can.

    Versions are compared with those of this process. What a processor or a GPU has is compared with that of the first
    worker, if it changes the bits of these runs.
    """
    here, configs = site(), list(configs)
    on_gpu = any(config.device == "cuda" for config in configs)
    compared: dict[str, Callable[[Site], str | None]] = {}
    if any(config.precision == "bf16" and config.device == "cpu" for config in configs):
        compared["instructions for bfloat16 products"] = lambda worker: worker.bf16
    if on_gpu:
        compared["GPU"] = lambda worker: worker.gpus
        compared["missing for the fused kernel"] = lambda worker: worker.missing
    first: list[Site] = []

    def reason(worker: Site) -> str | None:
        for name, ours in here.versions.items():
            if (theirs := worker.versions.get(name, "missing")) != ours:
                return f"it has {name} {theirs}, the sweep {ours}"
        if on_gpu and not worker.cuda:
            return "it has no NVIDIA driver, and the runs need a CUDA device"
        if not first:
            first.append(worker)
        for what, of in compared.items():
            if of(worker) != of(first[0]):
                return f"it has {of(worker) or 'no'} {what}, {first[0].host} has {of(first[0]) or 'none'}"
        return None

    return reason
