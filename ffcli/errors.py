"""Every error that a user can meet, with the exit code of the command that meets it.

    FFError                       1   the requested work failed
    ├── BadInput                  2   wrong usage or bad input; the message says what would be right
    │   ├── BadOption             2   an option, a config file, a device that does not exist
    │   ├── BadData               2   a dataset that is missing, damaged or inconsistent
    │   ├── BadDatabase           2   no database, a missing folder, read-only, newer than this program
    │   │   ├── DamagedDatabase   2   SQLite reports that the file is corrupt
    │   │   └── DamagedRun        2   a run's row cannot be read
    │   ├── MissingPackage        2   an optional package is not installed
    │   └── NoSuchRun             2   no run, or more than one, has this id or name
    ├── StoreBusy                 1   another process holds the lock of the database
    ├── StorageFull               1   no space left on the disk
    ├── RunBusy                   1   another process is training this run
    ├── RunStored                 1   another process ended this run after it was looked up: look it up again
    ├── ClaimLost                 1   another process took this run over while this one slept
    ├── DownloadFailed            1   the network or the server did not deliver the data
    ├── DamagedState              1   a saved state differs from what was written
    ├── Diverged                  1   a number became infinite or not a number
    ├── OutOfMemory               1   the run needs more memory than there is
    ├── WorkerLost                1   the worker process of a sweep's run exited
    ├── ClusterLost               1   the scheduler of a sweep does not answer
    └── Interrupted             130   Ctrl-C or SIGTERM; the run is saved and can be continued

Foreign errors (of SQLAlchemy, pydantic, torch, the operating system) become one of these at one boundary each, with
`raise ... from`. Each class names the kind of failure that the database stores for a run that it ended.
"""

from __future__ import annotations

from ffcli.choices import FailureKind


class FFError(Exception):
    """The requested work failed. The message is one line for the user."""

    exit_code = 1
    kind: FailureKind = "error"
    """Stored with a run that failed with this error."""


class BadInput(FFError):
    exit_code = 2
    kind = "bad input"


class BadOption(BadInput):
    pass


class BadData(BadInput):
    pass


class BadDatabase(BadInput):
    pass


class DamagedDatabase(BadDatabase):
    pass


class DamagedRun(BadDatabase):
    """A part of a run's row cannot be read. `run` is its id as `ff delete` accepts it."""

    def __init__(self, run: str, part: str) -> None:
        super().__init__(f"run {run} is damaged: its {part} cannot be read; `ff delete {run}` deletes the run")
        self.run = run


class MissingPackage(BadInput):
    pass


class NoSuchRun(BadInput):
    pass


class StoreBusy(FFError):
    pass


class StorageFull(FFError):
    kind = "disk full"


class RunBusy(FFError):
    pass


class RunStored(FFError):
    pass


class ClaimLost(FFError):
    pass


class DownloadFailed(FFError):
    pass


class DamagedState(FFError):
    pass


class Diverged(FFError):
    """The same config always diverges: such a run is never trained again, unless the user forces it."""

    kind = "diverged"


class OutOfMemory(FFError):
    kind = "out of memory"


class WorkerLost(FFError):
    kind = "worker lost"


class ClusterLost(FFError):
    pass


class Interrupted(FFError):
    exit_code = 130


def kind_of(error: BaseException) -> FailureKind:
    """Return the kind of failure to store for an error."""
    if isinstance(error, MemoryError):
        return OutOfMemory.kind
    return error.kind if isinstance(error, FFError) else "error"


def error_of_kind(kind: FailureKind, message: str) -> FFError:
    """Return an error of this kind: the inverse of `kind_of`, for a failure that another process reports."""
    for error in (BadInput, StorageFull, Diverged, OutOfMemory, WorkerLost):
        if error.kind == kind:
            return error(message)
    return FFError(message)
