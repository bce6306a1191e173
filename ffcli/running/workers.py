"""The workers of a sweep: Dask processes, each of which trains one run at a time.

`DaskWorkers` decides which worker trains what, and lets another worker continue a run only from its last saved state.
Dask carries tasks and results and knows which workers exist; it never moves or repeats a part by itself.

A part ends after `save_every` seconds. The next part is submitted before the state of the last one is fetched, so that
the worker does not wait for that. A worker that is lost costs what it trained since its last fetched state: at most
`save_every` seconds, or one epoch if that takes longer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from queue import Empty, PriorityQueue
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from ffcli.config import DataRef, RunConfig
from ffcli.data import datasets
from ffcli.data.prepared import Arrays as Dataset
from ffcli.errors import ClusterLost
from ffcli.records import EpochMetrics
from ffcli.running.handshake import Site, refusal, site
from ffcli.running.messages import (
    BEGAN,
    METRICS,
    Arrays,
    Assignment,
    Began,
    EpochDone,
    Failed,
    Lost,
    NoData,
    Part,
    Result,
    Task,
)
from ffcli.running.worker import stop, train_part

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_SECONDS = 1.0
"""Time between two looks at which workers exist."""

ALONE_SECONDS = 10.0
"""Time without any worker after which the user is told."""

ANSWER_SECONDS = 10.0
"""Time that a new worker has to say who it is, after it has found out."""

TRANSFERS = 4
"""States that are fetched or sent at the same time."""

STATE_PATIENCE = 1.0
"""Seconds that a state waits while there are other messages: it takes long to save, and neither metrics nor idle
workers are to wait for the states of all others. It does not wait forever, because a run ends with a state."""

SAVING_SHARE = 0.5
"""Share of the sweep's time that saving may take: with many workers, parts become longer than `save_every`."""

Message = Began | EpochDone | Part | Failed | Lost

Handler = Callable[[], Iterator[tuple[str, Message]]]
"""Handles something that arrived, and yields its messages."""


class Workers(Protocol):
    """What a sweep needs to train its runs, which it identifies by name."""

    @property
    def free(self) -> int:
        """Return how many more runs can start now."""

    def submit(self, name: str, assignment: Assignment, saved: Arrays | None) -> Site:
        """Start to train a run from a saved state, or from epoch 0; return the worker."""

    def messages(self, seconds: float) -> Iterator[tuple[str, Message]]:
        """Yield what arrived, with the name of its run; wait at most `seconds` for it. May yield nothing."""

    def stop(self) -> None:
        """End all parts with the epoch that they are in, and start no further ones."""

    def release(self, name: str) -> None:
        """Give up a run; its worker is free after the current part."""


@dataclass(slots=True)
class Attempt:
    """A run on a worker."""

    name: str
    assignment: Assignment
    address: str
    saved: Arrays | None
    """The state to begin with, until the worker has it."""
    stretch: str = field(default_factory=lambda: uuid4().hex)
    parts: int = 0
    """Parts that were submitted."""
    part: Future[Result] | None = None
    """The last one."""
    began: bool = False
    epoch: int = -1
    """The last epoch that was reported."""
    waiting: bool = False
    """Whether another worker of the host receives the dataset at present."""
    released: bool = False
    trained: bool = False
    """Whether its last part ended: the worker can train another run while the state of this one is fetched."""


@contextmanager
def dask_workers(
    client: Client, configs: Sequence[RunConfig], data_folder: Path, save_every: float, notice: Callable[[str], None]
) -> Iterator[DaskWorkers]:
    """Yield the workers of a cluster that can train these runs; datasets for them are read in `data_folder`."""
    workers = DaskWorkers(
        client, save_every=save_every, load=lambda ref: datasets.load(ref, data_folder), notice=notice,
        refused=refusal(configs),
    )  # fmt: skip
    try:
        yield workers
    finally:
        workers.close()


class DaskWorkers:
    """The workers of a Dask cluster.

    Args:
        client: connected to the cluster.
        save_every: seconds of a part.
        load: returns the dataset that a worker lacks.
        notice: shows a line to the user.
        refused: returns why a worker cannot be used, given its site, or None.
    """

    def __init__(
        self, client: Client, *, save_every: float, load: Callable[[DataRef], Dataset], notice: Callable[[str], None],
        refused: Callable[[Site], str | None],
    ) -> None:  # fmt: skip
        self._client, self._save_every, self._load = client, save_every, load
        self._notice, self._refused = notice, refused
        self._topic = f"ffcli-{uuid4().hex}"
        self._inbox: PriorityQueue[tuple[float, int, Handler]] = PriorityQueue()
        """What is to be handled in the thread of the sweep, in the order of arrival; results of parts as if they had
        arrived STATE_PATIENCE later."""
        self._order = count()
        self._transfers = ThreadPoolExecutor(TRANSFERS, thread_name_prefix="transfer")
        self._sites: dict[str, Site] = {}
        """Workers that can be used, by address."""
        self._asked: dict[str, Future[Site]] = {}
        """Workers that were asked for their site; a refused worker stays here."""
        self._attempts: dict[str, Attempt] = {}
        """By stretch."""
        self._receivers: dict[tuple[str, str], Attempt] = {}
        """The last attempt that was sent a dataset, by host and fingerprint."""
        self._unfetched: deque[tuple[Attempt, Future[Result]]] = deque()
        """Parts that ended."""
        self._fetched = 0
        """Results that are being fetched or wait in the inbox: only a few, because each has a state."""
        self._looked, self._alone_since = 0.0, time.monotonic()
        self._saving = 0.0
        """Seconds that it takes to record a state."""
        self._stopping = False
        client.subscribe_topic(self._topic, lambda event: self._put(partial(self._event, event[1])))

    @property
    def free(self) -> int:
        return len(self._idle())

    def submit(self, name: str, assignment: Assignment, saved: Arrays | None) -> Site:
        attempt = Attempt(name, assignment, self._idle()[0], saved)
        self._attempts[attempt.stretch] = attempt
        self._submit(attempt)
        return self._sites[attempt.address]

    def messages(self, seconds: float) -> Iterator[tuple[str, Message]]:
        yield from self._look()
        until = time.monotonic() + seconds
        with suppress(Empty):
            *_, handle = self._inbox.get(timeout=seconds)
            yield from handle()
            # With very many workers the inbox is never empty.
            while time.monotonic() < until:
                *_, handle = self._inbox.get_nowait()
                yield from handle()

    def stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            busy = list({attempt.address for attempt in self._attempts.values()})
            self._client.run(stop, self._topic, workers=busy, on_error="ignore")

    def release(self, name: str) -> None:
        for attempt in self._attempts.values():
            attempt.released |= attempt.name == name

    def close(self) -> None:
        """Give up all runs."""
        self._stopping = True
        self._transfers.shutdown(wait=False, cancel_futures=True)

    def _put(self, handle: Handler, *, has_state: bool = False) -> None:
        self._inbox.put((time.monotonic() + (STATE_PATIENCE if has_state else 0.0), next(self._order), handle))

    def _transfer(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call a function in another thread, because it may take long; not after the end of the sweep."""
        with suppress(RuntimeError):
            self._transfers.submit(function, *arguments)

    def _idle(self) -> Sequence[str]:
        """Return the workers that train nothing, and keep at most one state that was not fetched."""
        busy, kept = set[str](), set[str]()
        for attempt in self._attempts.values():
            (busy if not attempt.trained or attempt.address in kept else kept).add(attempt.address)
        return [address for address in self._sites if address not in busy]

    # Which workers exist

    def _look(self) -> Iterator[tuple[str, Message]]:
        """Ask workers that are new who they are, and forget those that are gone."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            present = self._client.nthreads()
        except (OSError, TimeoutError, asyncio.CancelledError):
            present = None
        if self._client.status != "running":
            raise ClusterLost("the scheduler is gone: everything that was saved stays, and the same command continues")
        if present is None:  # it is busy
            return
        for address in (self._sites.keys() | self._asked.keys()) - present.keys():
            yield from self._forget(address, "was lost")
        for address in present.keys() - self._sites.keys() - self._asked.keys():
            self._asked[address] = self._client.submit(site, workers=[address], pure=False)
            self._asked[address].add_done_callback(partial(self._transfer, self._fetch_site, address))
        for attempt in [attempt for attempt in self._attempts.values() if attempt.waiting]:
            if not self._is_receiving(attempt):
                self._submit(attempt)
        self._report_being_alone()

    def _fetch_site(self, address: str, answer: Future[Site]) -> None:
        found: Site | str | None
        try:
            found = answer.result(timeout=ANSWER_SECONDS)
        except TimeoutError:
            found = None
        except (Exception, asyncio.CancelledError) as error:
            found = str(error) or type(error).__name__
        self._put(partial(self._introduce, address, answer, found))

    def _introduce(self, address: str, answer: Future[Site], found: Site | str | None) -> Iterator[tuple[str, Message]]:
        """Use a new worker, unless it is refused or did not say who it is."""
        if self._asked.get(address) is answer:
            if found is None:  # it is busy, as when very many begin together: ask again
                del self._asked[address]
            elif isinstance(found, str):
                self._notice(f"worker {address} is not used: {found}")
            elif reason := self._refused(found):
                self._notice(f"worker {found.pid} on {found.host} is not used: {reason}")
            else:
                self._sites[address] = found
                del self._asked[address]
        yield from ()

    def _forget(self, address: str, how: str) -> Iterator[tuple[str, Message]]:
        """Drop a worker; if there is one at this address, it is asked again who it is."""
        known = self._sites.pop(address, None)
        self._asked.pop(address, None)
        for attempt in [attempt for attempt in self._attempts.values() if attempt.address == address]:
            yield from self._end(attempt, Lost(f"worker {known.pid} on {known.host} {how}" if known else how))

    def _report_being_alone(self) -> None:
        if self._sites:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > ALONE_SECONDS:
            address = self._client.scheduler.address if self._client.scheduler else ""
            self._notice(f"no worker to train with yet: `ff worker {address}` starts some; waiting")
            self._alone_since = float("inf")

    # The parts of an attempt

    def _submit(self, attempt: Attempt, dataset: Dataset | None = None) -> None:
        """Submit the next part."""
        task = Task(
            attempt.assignment, attempt.stretch, self._sites[attempt.address].process, attempt.parts, self._seconds(),
            self._topic,
        )  # fmt: skip
        attempt.parts, attempt.waiting = attempt.parts + 1, False
        saved = attempt.saved if task.number == 0 else None
        if saved is None and dataset is None:
            self._submit_now(attempt, task, None, None)
        else:
            self._transfer(self._submit_now, attempt, task, saved, dataset)

    def _submit_now(self, attempt: Attempt, task: Task, saved: Arrays | None, dataset: Dataset | None) -> None:
        workers = [attempt.address]
        try:
            sent = [
                self._client.scatter([each], workers=workers, direct=True, hash=False)[0] if each is not None else None
                for each in (saved, dataset)
            ]
            part = self._client.submit(train_part, task, *sent, workers=workers, pure=False)
        except Exception as error:
            self._put(partial(self._result, attempt, None, Lost(f"worker {attempt.address}: {error}")))
            return
        attempt.part = part
        part.add_done_callback(lambda part: self._put(partial(self._done, attempt, part)))

    def _done(self, attempt: Attempt, part: Future[Result]) -> Iterator[tuple[str, Message]]:
        """Submit the next part, and then fetch the result of this one."""
        if self._is_current(attempt, part):
            attempt.trained = attempt.began and self._is_last(attempt, attempt.epoch)
            if attempt.began and not attempt.trained:
                self._submit(attempt)
            self._unfetched.append((attempt, part))
            self._fetch_some()
        yield from ()

    def _fetch_some(self) -> None:
        while self._unfetched and self._fetched < TRANSFERS:
            self._fetched += 1
            self._transfer(self._fetch, *self._unfetched.popleft())

    def _fetch(self, attempt: Attempt, part: Future[Result]) -> None:
        try:
            result: Result | Lost = self._client.gather(part, direct=True)
        except (Exception, asyncio.CancelledError) as error:
            result = Lost(f"worker {attempt.address} was lost: {error or type(error).__name__}")
        self._put(partial(self._handle_fetched, attempt, part, result), has_state=True)

    def _handle_fetched(
        self, attempt: Attempt, part: Future[Result], result: Result | Lost
    ) -> Iterator[tuple[str, Message]]:
        self._fetched -= 1
        self._fetch_some()
        yield from self._result(attempt, part, result)

    def _result(
        self, attempt: Attempt, part: Future[Result] | None, result: Result | Lost
    ) -> Iterator[tuple[str, Message]]:
        if attempt.stretch not in self._attempts:
            return
        match result:
            case Part(began, epochs):
                yield from self._report(attempt, began, epochs)
                started = time.monotonic()
                if not attempt.released:
                    yield attempt.name, result
                self._saving += 0.1 * (time.monotonic() - started - self._saving)
                if self._is_last(attempt, result.epoch):
                    del self._attempts[attempt.stretch]
                elif attempt.part is part:
                    self._submit(attempt)
            case NoData(reason):
                yield from self._send_dataset(attempt, reason)
            case Failed():
                yield from self._end(attempt, result)
            case Lost():
                yield from self._forget(attempt.address, "was lost")
            case _:
                # Another process has this address now, or another sweep uses the worker too.
                yield from self._forget(attempt.address, "no longer has the state of the run")

    def _event(self, event: dict[str, Any]) -> Iterator[tuple[str, Message]]:
        if attempt := self._attempts.get(event["stretch"]):
            if "began" in event:
                yield from self._report(attempt, BEGAN.validate_python(event["began"]), ())
            else:
                yield from self._report(attempt, None, [METRICS.validate_python(event["metrics"])])

    def _report(
        self, attempt: Attempt, began: Began | None, epochs: Sequence[EpochMetrics]
    ) -> Iterator[tuple[str, Message]]:
        """Yield what was not reported yet: a part repeats what its events said, if they arrived."""
        if attempt.released:
            return
        if began and not attempt.began:
            attempt.began, attempt.saved = True, None
            yield attempt.name, began
        for metrics in epochs:
            if metrics.epoch > attempt.epoch:
                attempt.epoch = metrics.epoch
                yield attempt.name, EpochDone(metrics)

    def _end(self, attempt: Attempt, message: Failed | Lost) -> Iterator[tuple[str, Message]]:
        del self._attempts[attempt.stretch]
        if not attempt.released:
            yield attempt.name, message

    def _is_current(self, attempt: Attempt, part: Future[Result]) -> bool:
        return attempt.stretch in self._attempts and attempt.part is part

    def _is_last(self, attempt: Attempt, epoch: int) -> bool:
        return epoch >= attempt.assignment.config.epochs or self._stopping or attempt.released

    def _seconds(self) -> float:
        return max(self._save_every, self._saving * len(self._attempts) / SAVING_SHARE)

    # Datasets

    def _send_dataset(self, attempt: Attempt, reason: str) -> Iterator[tuple[str, Message]]:
        """Send the dataset to one worker of a host at a time: the others then read its copy, if it could keep one."""
        attempt.parts = 0
        if self._is_receiving(attempt):
            attempt.waiting = True
            return
        self._receivers[self._place(attempt)] = attempt
        try:
            self._submit(attempt, self._load(attempt.assignment.config.data))
        except Exception as error:
            yield from self._end(attempt, Failed(f"{reason}; {error}", "bad input"))

    def _is_receiving(self, attempt: Attempt) -> bool:
        """Return whether another worker of the host receives the dataset."""
        other = self._receivers.get(self._place(attempt), attempt)
        return other is not attempt and other.stretch in self._attempts and not other.began

    def _place(self, attempt: Attempt) -> tuple[str, str]:
        return self._sites[attempt.address].host, attempt.assignment.config.data.fingerprint
