"""Which phase an hour is: the network is awake (positive) for P hours, then asleep (negative) for N."""

from __future__ import annotations

from ffcli.config import RunConfig, Schedule
from ffcli.records import Phase


def phase_of(schedule: Schedule, hour: int) -> Phase:
    """Phase of `hour`, counted from 0 across epochs; `joint` where phases are not separated."""
    if not schedule.separated:
        return "joint"
    return "positive" if hour % (schedule.positive + schedule.negative) < schedule.positive else "negative"


def phase_number(schedule: Schedule, hour: int) -> int:
    """Which phase of a separated run `hour` (from 0) is in. Phases count from 1: the odd ones are awake."""
    cycle, within = divmod(hour, schedule.positive + schedule.negative)
    return 2 * cycle + (1 if within < schedule.positive else 2)


def phase_hours(schedule: Schedule, number: int) -> range:
    """The hours (from 0) of phase `number` (from 1) of a separated run."""
    cycles, asleep = divmod(number - 1, 2)
    start = cycles * (schedule.positive + schedule.negative) + asleep * schedule.positive
    return range(start, start + (schedule.negative if asleep else schedule.positive))


def phases(schedule: Schedule) -> tuple[Phase, ...]:
    """The phases that occur; a layer keeps one Adam state for each."""
    return ("positive", "negative") if schedule.separated else ("joint",)


def learning_rate(config: RunConfig, phase: Phase, hour: int) -> float:
    """The rate of `hour`, counted from 0: that of its phase, less during the warm-up."""
    rate = {"positive": config.lr_positive, "negative": config.lr_negative, "joint": config.lr}[phase]
    return rate * min(1.0, (hour + 1) / config.warmup) if config.warmup else rate
