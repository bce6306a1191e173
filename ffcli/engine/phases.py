"""Which phase an hour is: the network is awake (positive) for P hours, then asleep (negative) for N."""

from __future__ import annotations

from ffcli.config import RunConfig, Schedule
from ffcli.records import Phase


def phase_of(schedule: Schedule, hour: int) -> Phase:
    """Phase of `hour`, counted from 0 across epochs; `joint` where phases are not separated."""
    if not schedule.separated:
        return "joint"
    return "positive" if hour % (schedule.positive + schedule.negative) < schedule.positive else "negative"


def phases(schedule: Schedule) -> tuple[Phase, ...]:
    """The phases that occur; a layer keeps one Adam state for each."""
    return ("positive", "negative") if schedule.separated else ("joint",)


def learning_rate(config: RunConfig, phase: Phase, hour: int) -> float:
    """The rate of `hour`, counted from 0: that of its phase, less during the warm-up."""
    rate = {"positive": config.lr_positive, "negative": config.lr_negative, "joint": config.lr}[phase]
    return rate * min(1.0, (hour + 1) / config.warmup) if config.warmup else rate
