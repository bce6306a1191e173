"""Run `ff` as a user does: in a process of its own, with a database of its own, on the sample that ships with ffcli."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ffcli.records import RunRecord
from ffcli.store.database import open_store
from ffcli.store.runs import list_runs


@dataclass(frozen=True)
class FF:
    """`ff` with its own database and data folder."""

    folder: Path
    data: Path

    @property
    def db(self) -> Path:
        return self.folder / "ff.db"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FFCLI_")}
        return kept | {
            "FFCLI_DB": str(self.db),
            "FFCLI_DATA_DIR": str(self.data),
            "FFCLI_DATA": "sample",
            "FFCLI_THREADS": "1",
            "FFCLI_DEVICE": "cpu",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "100",
        }

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command; the exit code must be `code`, and there must be no traceback."""
        done = subprocess.run(
            self.command(*arguments), env=self.environment | environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == code, f"exit {done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)

    def runs(self) -> list[RunRecord]:
        """Return the stored runs."""
        with open_store(self.db, create=False) as store:
            return list_runs(store)

    @contextmanager
    def started(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """Start a command in the background with pipes; it is killed at the end if it still runs."""
        pipe = subprocess.PIPE
        with subprocess.Popen(
            self.command(*arguments), env=self.environment | environment, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    @staticmethod
    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "ffcli", *arguments]


SMALL = ("--dataset", "mnist", "--hidden", "30,20")
"""Options of a small network, which trains an epoch of the sample in a tenth of a second."""
