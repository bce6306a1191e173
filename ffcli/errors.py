"""Every error that a user can meet, each with the exit code of the command that meets it.

    FFError                       1   what was asked failed
    ├── BadInput                  2   wrong use or bad input: the message says what would be right
    │   ├── BadOption             2   an option, a config file, a device that is not there
    │   ├── BadData               2   a data set that is missing, damaged or not what it says
    │   ├── BadDatabase           2   no database, a missing folder, read-only, newer than this program
    │   │   ├── DamagedDatabase   2   a file whose content is no longer what SQLite wrote
    │   │   └── DamagedRun        2   a run's row that cannot be read
    │   └── NoSuchRun             2   no run, or more than one, under that id
    ├── StoreBusy                 1   the database is locked by another process
    ├── StorageFull               1   no space left where something had to be written
    ├── RunBusy                   1   another process is training this very run
    ├── ClaimLost                 1   this process slept and another one took its run over
    ├── DownloadFailed            1   the network or the server did not give the data
    ├── DamagedState              1   a saved state does not read back as it was written
    ├── Diverged                  1   a number was not finite any more
    └── Interrupted             130   Ctrl-C or SIGTERM; the run is marked and continues when asked again

Foreign errors (SQLAlchemy's, OSError, pydantic's) become one of these at one boundary each, with `raise ... from`.
"""

from __future__ import annotations


class FFError(Exception):
    """What was asked failed. The message is one line for the user."""

    exit_code = 1


class BadInput(FFError):
    exit_code = 2


class BadOption(BadInput):
    pass


class BadData(BadInput):
    pass


class BadDatabase(BadInput):
    pass


class DamagedDatabase(BadDatabase):
    pass


class DamagedRun(BadDatabase):
    pass


class NoSuchRun(BadInput):
    pass


class StoreBusy(FFError):
    pass


class StorageFull(FFError):
    pass


class RunBusy(FFError):
    pass


class ClaimLost(FFError):
    pass


class DownloadFailed(FFError):
    pass


class DamagedState(FFError):
    pass


class Diverged(FFError):
    """Its message begins with "diverged", by which a stored failure is known as one that would come again."""


class Interrupted(FFError):
    exit_code = 130
