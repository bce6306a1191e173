"""What `ff doctor` examines: versions, processor, device, data, database, disk."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ffcli import __version__, machine
from ffcli.data import datasets, prepared
from ffcli.data.catalogue import CATALOGUE
from ffcli.data.sources import import_torchvision
from ffcli.errors import FFError
from ffcli.store import maintenance
from ffcli.store.location import locate
from ffcli.store.sqlite import is_writable, sqlite_version

State = Literal["ok", "note", "slow", "missing", "broken"]

REQUIRED = ("torch", "numpy", "scipy", "sqlalchemy", "alembic", "pydantic", "safetensors", "matplotlib", "pillow")
OPTIONAL = {
    "torchvision": ("download", "downloads of datasets"),
    "pandas": ("pandas", "to_pandas()"),
    "tensorboard": ("tensorboard", "ff export --to tensorboard"),
    "mlflow-skinny": ("mlflow", "ff export --to mlflow"),
}
"""Packages with the extra of ffcli that installs them, and what needs them."""

REINSTALL = "pip install --force-reinstall torch"
INSTALL = {"Triton": "pip install triton", "a C compiler": "apt install gcc"}

LITTLE, TOO_LITTLE = 2 << 30, 100 << 20
"""Free bytes on a disk below which it is nearly full, and full: a sweep keeps states of up to 2 GB."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    part: str
    name: str
    value: str
    state: State = "ok"
    """`slow` and `missing` restrict what ffcli can do, `broken` prevents its work."""
    fix: str | None = None
    """A command, or what else to do."""


def examine(db: str | None, data_dir: Path | None) -> Iterator[Finding]:
    """Yield the findings, part by part. Changes nothing."""
    yield from _versions()
    try:
        facts = machine.capabilities()
    except Exception as error:  # a wrong binary raises many kinds
        reason = " ".join(str(error).split())[:200]
        yield Finding("processor", "torch", f"cannot be imported: {reason}", "broken", REINSTALL)
    else:
        yield from _processor(facts)
        yield from _device()
    yield from _data(data_dir)
    yield from _database(db)


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "ffcli", __version__)
    yield Finding("versions", "Python", platform.python_version())
    yield Finding("versions", "SQLite", sqlite_version())
    for package in REQUIRED:
        found = _version(package)
        yield Finding(
            "versions", package, found or "not installed", *(() if found else ("broken", "pip install ffcli"))
        )
    for package, (extra, use) in OPTIONAL.items():
        install = f'pip install "ffcli[{extra}]"'
        found = _version(package) or (_version("mlflow") if package == "mlflow-skinny" else None)
        if found is None:
            yield Finding("versions", package, f"not installed: needed by {use}", "missing", install)
        elif package == "torchvision" and (problem := _torchvision_problem()):
            yield Finding("versions", package, f"{found} does not fit this torch: {problem}", "missing", install)
        else:
            yield Finding("versions", package, found)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torchvision_problem() -> str | None:
    """Return why torchvision, which is built for one version of torch, cannot be imported."""
    try:
        import_torchvision()
    except Exception as error:  # a wrong binary raises many kinds
        return " ".join(str(error).split())[:100]
    return None


def _processor(facts: machine.Capabilities) -> Iterator[Finding]:
    part = "processor"
    yield Finding(part, "name", machine.processor())
    cores = machine.cores()
    if facts.threads > cores:
        yield Finding(part, "threads", f"{facts.threads} on {cores} cores", "slow", f"export OMP_NUM_THREADS={cores}")
    else:
        yield Finding(part, "threads", f"{facts.threads} on {cores} cores")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = load > cores + 1
    yield Finding(
        part, "load", f"{load:.1f} in the last minute",
        *(("slow", "wait for the other programs, or stop them") if busy else ()),
    )  # fmt: skip
    has = machine.instruction_sets()
    uses = f"torch uses {facts.instructions}; the processor has {', '.join(has) or 'none of AVX2, AVX-512, AMX'}"
    if facts.instructions == "DEFAULT" and "AVX2" in has:
        yield Finding(part, "instructions", uses, "slow", "unset ATEN_CPU_CAPABILITY")
    else:
        yield Finding(part, "instructions", uses)
    if bf16 := machine.bf16_instructions():
        yield Finding(part, "bfloat16", f"{bf16}: --precision bf16 is faster than float32")
    else:
        yield Finding(part, "bfloat16", "no instructions for it: --precision bf16 does not save time", "note")
    if not facts.mkldnn:
        yield Finding(part, "oneDNN", "this torch has none", "slow", REINSTALL)
    total, free = facts.memory
    yield Finding(part, "memory", f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free")


def _device() -> Iterator[Finding]:
    part = "device"
    if names := machine.cuda_names():
        yield Finding(part, "CUDA", ", ".join(names))
        if missing := machine.missing_for_kernels():
            value = f"hours take half as long again without the fused kernel, which needs {missing}"
            yield Finding(part, "kernel", value, "slow", INSTALL[missing])
    elif machine.has_driver():
        yield Finding(part, "CUDA", "there is an NVIDIA driver, but this torch finds no device", "slow", REINSTALL)
    else:
        yield Finding(part, "CPU", "no CUDA device: runs use the CPU")


def _data(data_dir: Path | None) -> Iterator[Finding]:
    part = "data"
    try:
        folder = datasets.data_folder(data_dir, create=False)
        entries = datasets.inventory(folder)
    except (FFError, OSError) as error:
        yield Finding(part, "folder", str(error), "broken")
        return
    if os.access(_existing(folder), os.W_OK):
        yield Finding(part, "folder", str(folder))
    elif not folder.is_dir():
        yield _unwritable(part, "folder", folder)
    else:
        yield Finding(part, "folder", f"{folder} is read-only: its datasets can be used, none can be added", "note")
    for damaged in prepared.copies(folder):
        if isinstance(damaged, Path):
            yield Finding(part, damaged.name, "damaged: it is prepared again when it is used", "note")
    for name, spec in CATALOGUE.items():
        sources = {entry.source: entry for entry in entries if entry.name == name}
        if full := sources.get("full"):
            yield Finding(part, name, f"{full.train:,} training and {full.test:,} test images, from {full.origin}")
        else:
            rest = "only the sample" if spec.has_sample else "not here"
            yield Finding(part, name, rest, "missing", f"ff data fetch {name}")
    for entry in entries:
        if entry.source == "file":
            yield Finding(part, entry.name, f"{entry.train:,} training and {entry.test:,} test images, {entry.origin}")
    yield _space(part, folder)


def _database(db: str | None) -> Iterator[Finding]:
    part = "database"
    try:
        path = locate(db).path
        if not path.exists():
            folder = path.parent
            writable = os.access(_existing(folder), os.W_OK)
            yield Finding(part, "path", str(folder)) if writable else _unwritable(part, "path", folder)
            yield Finding(part, "schema", "there is no database yet: the first run creates it")
            return
        health = maintenance.check(db)
    except (FFError, OSError) as error:
        yield Finding(part, "check", str(error), "broken")
        return
    if is_writable(path):
        yield Finding(part, "path", str(path))
    else:
        yield Finding(
            part, "path", f"{path} is read-only: no run can be stored", "broken", f"chmod u+w {shlex.quote(str(path))}"
        )
    if health.revision == health.head:
        yield Finding(part, "schema", f"revision {health.revision}")
    else:
        yield Finding(part, "schema", f"revision {health.revision}, not {health.head}", "note", "ff db upgrade")
    if health.problems:
        count = len(health.problems)
        more = f" (and {count - 1} more)" if count > 1 else ""
        yield Finding(part, "check", f"{health.problems[0]}{more}", "broken", "ff db check")
    else:
        yield Finding(part, "check", "sound")
    yield Finding(part, "size", f"{health.runs:,} runs, {health.epochs:,} epochs, {health.bytes / 1e6:.1f} MB")
    yield _space(part, path.parent)


def _unwritable(part: str, name: str, folder: Path) -> Finding:
    fix = f"chmod u+w {shlex.quote(str(_existing(folder)))}"
    return Finding(part, name, f"{folder} cannot be written", "broken", fix)


def _space(part: str, folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    value = f"{free / 1e9:.1f} GB free"
    if free < LITTLE:
        return Finding(part, "disk", value, "broken" if free < TOO_LITTLE else "slow", "ff prune")
    return Finding(part, "disk", value)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.absolute().parents) if place.is_dir())
