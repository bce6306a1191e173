"""Colours of table entries: the role of an entry decides its style on a terminal.

A cell of the paper's tables gets its role from `distance_role` (distance to the paper) and from
`ffcli.report.cells.value_role` (measured, best, unfinished).
"""

from __future__ import annotations

from typing import Literal

from ffcli.choices import Status

Role = (
    Literal[
        "", "heading", "caption", "command", "dim", "measured", "best", "unfinished", "absent", "paper", "spread",
        "near", "apart", "far", "good", "bad",
    ]
    | Status
)  # fmt: skip

STYLES: dict[Role, str] = {
    "": "",
    "heading": "bold",
    "caption": "italic",
    "command": "cyan",
    "dim": "dim",
    # an accuracy: mean over runs, the highest of its column, no run long enough yet, no run at all
    "measured": "bold",
    "best": "bold",
    "unfinished": "cyan",
    "absent": "dim",
    "paper": "dim",
    "spread": "dim",
    # the distance from the paper's figure: see `distance_role`. To be far is neither good nor bad, so no traffic light
    "near": "cyan",
    "apart": "bright_blue",
    "far": "magenta",
    # a verdict
    "good": "green",
    "bad": "red",
    # the status of a run
    "running": "cyan",
    "completed": "green",
    "interrupted": "yellow",
    "stale": "yellow",
    "failed": "red",
    "superseded": "dim",
}
"""Rich's style for each role."""

NEAR, FAR = 3, 10
"""A difference of at most `NEAR` points from the paper is near, one of more than `FAR` points is far."""


def distance_role(points: float) -> Role:
    """Return the role of a difference of `points` percentage points from the paper's figure."""
    distance = abs(points)
    return "near" if distance <= NEAR else "apart" if distance <= FAR else "far"


def verdict_role(good: bool | None) -> Role:
    """Return the role of a verdict; None means that there was no verdict."""
    return "dim" if good is None else "good" if good else "bad"
