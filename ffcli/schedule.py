"""The phase schedule: which kind of data each hour (batch) trains on, and the learning rate of the positive phase.

A schedule P:N repeats P positive hours ("awake" in the paper) and N negative hours ("asleep"). Hours count from 0
across epochs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Phase = Literal["positive", "negative", "joint"]
"""Which data an hour trains on; `joint` is an hour without separated phases, which uses both kinds."""

LrScaling = Literal["ratio", "notebook", "none"]


class Schedule(BaseModel):
    """Lengths of the positive and the negative phase in hours.

    0 and 0 means unseparated: there are no phases, and every hour uses both kinds of data.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    positive: int = Field(ge=0)
    negative: int = Field(ge=0)

    @model_validator(mode="after")
    def _both_or_neither(self) -> Schedule:
        if (self.positive == 0) != (self.negative == 0):
            raise ValueError("a phase needs at least 1 hour: give both lengths, or neither (unseparated)")
        return self

    @property
    def separated(self) -> bool:
        return self.positive > 0

    def __str__(self) -> str:
        return f"{self.positive}:{self.negative}" if self.separated else "unseparated"


UNSEPARATED = Schedule(positive=0, negative=0)


def phases(schedule: Schedule) -> tuple[Phase, ...]:
    """Return the phases that occur; a layer keeps one Adam state for each."""
    return ("positive", "negative") if schedule.separated else ("joint",)


def phase_of(schedule: Schedule, hour: int) -> Phase:
    """Return the phase of `hour`."""
    if not schedule.separated:
        return "joint"
    return "positive" if hour % (schedule.positive + schedule.negative) < schedule.positive else "negative"


def phase_number(schedule: Schedule, hour: int) -> int:
    """Return the number of the phase that `hour` of a separated run belongs to.

    Phases count from 1, so odd numbers are positive phases.
    """
    cycle, within = divmod(hour, schedule.positive + schedule.negative)
    return 2 * cycle + (1 if within < schedule.positive else 2)


def phase_hours(schedule: Schedule, number: int) -> range:
    """Return the hours of phase `number` (counted from 1) of a separated run."""
    cycles, is_negative = divmod(number - 1, 2)
    start = cycles * (schedule.positive + schedule.negative) + is_negative * schedule.positive
    return range(start, start + (schedule.negative if is_negative else schedule.positive))


def positive_lr(lr: float, schedule: Schedule, scaling: LrScaling) -> float:
    """Return the learning rate of the positive phase.

    Args:
        lr: the rate of the negative phase.
        schedule: phase lengths P and N.
        scaling: `ratio` gives lr N/P if P > N and lr otherwise, so balanced phases are unscaled and P:1 gives lr/P.
            `notebook` gives lr/P, as in the study's last notebook. `none` gives lr. Unseparated hours are never scaled.
    """
    positive, negative = schedule.positive, schedule.negative
    if not schedule.separated or scaling == "none":
        return lr
    if scaling == "notebook":
        return lr / positive
    return lr * negative / positive if positive > negative else lr
