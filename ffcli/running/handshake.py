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
from ffcli.machine import bf16_instructions, has_driver

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


def site() -> Site:
    """Return the site of this process."""
    versions = {"ffcli": __version__, "algorithm version": str(ALGORITHM_VERSION)}
    for package in COMPARED:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return Site(PROCESS, os.getpid(), gethostname(), versions, bf16_instructions(), has_driver())


def refusal(configs: Iterable[RunConfig]) -> Callable[[Site], str | None]:
    """Return a function that says why a worker cannot train these runs; it returns None if it can.

    Versions are compared with those of this process. Whether the processor has instructions for bfloat16 products
    changes their bits; runs that use them are trained only on workers like the first one.
    """
    here, configs = site(), list(configs)
    first: list[Site] = []

    def reason(worker: Site) -> str | None:
        for name, ours in here.versions.items():
            if (theirs := worker.versions.get(name, "missing")) != ours:
                return f"it has {name} {theirs}, the sweep {ours}"
        if any(config.device == "cuda" for config in configs) and not worker.cuda:
            return "it has no NVIDIA driver, and the runs need a CUDA device"
        if any(config.precision == "bf16" and config.device == "cpu" for config in configs):
            first.append(worker)
            if worker.bf16 != first[0].bf16:
                return (
                    f"it has {worker.bf16 or 'no'} instructions for bfloat16 products, {first[0].host} has"
                    f" {first[0].bf16 or 'none'}"
                )
        return None

    return reason
