"""The seam between a sweep and what trains its cells: `submit` a task, and take messages as they come.

`ProcessWorkers` is one engine behind it: processes on this machine. Workers only train; they see no database.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Protocol

from ffcli.running.messages import Message, Task, pack, unpack


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker of a task died; what it had not handed back is gone."""

    reason: str


class Workers(Protocol):
    """What a sweep needs of an engine. Tasks are told apart by a name of the sweep's choosing."""

    @property
    def free(self) -> int:
        """How many more tasks would start at once."""

    def submit(self, name: str, task: Task) -> str:
        """Start a task; returns what to call the worker that has it."""

    def as_they_come(self, seconds: float) -> Iterator[tuple[str, Message | Lost]]:
        """What arrives within `seconds`, and at least nothing."""

    def finished(self, name: str) -> None:
        """The task came to its end: its worker is free for another."""

    def stop(self, name: str) -> None:
        """Drop a task; its worker may go with it."""

    def close(self) -> None: ...


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    tasks: Connection
    answers: Connection
    device: str
    task: str | None = None

    def end(self) -> None:
        self.tasks.close()
        self.answers.close()
        self.process.kill()
        self.process.wait()


class ProcessWorkers:
    """A process for each of `devices`, started as it is needed; one that dies or is stopped is replaced."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = list(devices)
        self._workers: list[_Worker] = []

    @property
    def free(self) -> int:
        return len(self._devices) - sum(worker.task is not None for worker in self._workers)

    def submit(self, name: str, task: Task) -> str:
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None:
            idle = _start(self._next_device())
            self._workers.append(idle)
        idle.task = name
        try:
            idle.tasks.send_bytes(pack(replace(task, device=idle.device)))
        except OSError:
            # It died while it was idle: its answers end, and the task is reported as lost.
            idle.process.kill()
        return f"{idle.process.pid}"

    def as_they_come(self, seconds: float) -> Iterator[tuple[str, Message | Lost]]:
        by_connection = {worker.answers: worker for worker in self._workers}
        if not by_connection:
            return
        for ready in wait(list(by_connection), timeout=seconds):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            if worker not in self._workers:
                continue
            try:
                message: Message | Lost = unpack(ready.recv_bytes())
            except (EOFError, OSError):
                message = Lost(_farewell(worker.process))
                self._drop(worker)
            if worker.task is not None:
                yield worker.task, message

    def finished(self, name: str) -> None:
        for worker in self._workers:
            if worker.task == name:
                worker.task = None

    def stop(self, name: str) -> None:
        for worker in [w for w in self._workers if w.task == name]:
            self._drop(worker)

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker)

    def _next_device(self) -> str:
        taken = [worker.device for worker in self._workers]
        return next(device for device in self._devices if taken.count(device) < self._devices.count(device))

    def _drop(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end()


def _start(device: str) -> _Worker:
    task_read, task_write = os.pipe()
    answer_read, answer_write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "ffcli.running.worker", str(task_read), str(answer_write)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(task_read, answer_write),
    )
    os.close(task_read)
    os.close(answer_write)
    return _Worker(process, Connection(task_write, readable=False), Connection(answer_read, writable=False), device)


def _farewell(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    code = process.wait()
    return (
        f"worker {process.pid} was killed by signal {-code}" if code < 0 else f"worker {process.pid} exited with {code}"
    )
