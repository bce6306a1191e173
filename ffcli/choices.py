"""Fixed sets of names that records, reports and the command line share. Imports nothing: `ff --help` lists them."""

from __future__ import annotations

from typing import Literal

Status = Literal["running", "completed", "interrupted", "failed", "stale", "superseded"]

FailureKind = Literal["diverged", "out of memory", "worker lost", "disk full", "bad input", "error"]
"""Why a run failed; `error` is every other reason."""

DataChoice = Literal["auto", "full", "sample"]
"""Which form of a dataset to use; `auto` prefers the full one."""

KeepState = Literal["auto", "always", "never"]
"""Whether the state of a completed run is kept: `auto` keeps those of the latest runs within a limit of disk space."""

NEWEST = "last"
"""Names the run that started last wherever a run is expected. No run can have this name."""

Metric = Literal["final", "best", "last5"]
"""Accuracy at the last epoch, the best one, or the mean of the last five."""

DataKind = Literal["full", "sample"]
"""`full` also holds the user's own `.npz` files."""
