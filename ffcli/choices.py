"""Names out of a fixed few that records, reports and the command line share. Loads nothing: `ff --help` lists them."""

from __future__ import annotations

from typing import Literal

Status = Literal["running", "completed", "interrupted", "failed", "stale", "superseded"]

Metric = Literal["final", "best", "last5"]
"""Accuracy at the last epoch, the best one, or the mean of the last five."""

DataKind = Literal["full", "sample"]
"""`full` also holds the user's own `.npz` files."""
