"""Phases of hours and the positive rate, for schedules of any lengths."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ffcli.schedule import UNSEPARATED, Schedule, phase_of, phases, positive_lr

lengths = st.integers(1, 200)


@given(positive=lengths, negative=lengths, cycle=st.integers(0, 50))
def test_cycles_begin_with_the_positive_phase(positive: int, negative: int, cycle: int) -> None:
    schedule = Schedule(positive=positive, negative=negative)
    start = cycle * (positive + negative)
    found = [phase_of(schedule, start + hour) for hour in range(positive + negative)]
    assert found == ["positive"] * positive + ["negative"] * negative
    assert phases(schedule) == ("positive", "negative")


def test_unseparated_hours_are_joint() -> None:
    assert {phase_of(UNSEPARATED, hour) for hour in range(5)} == {"joint"} == set(phases(UNSEPARATED))


def test_positive_rate_follows_the_rule_of_the_recorded_runs() -> None:
    assert positive_lr(1e-3, Schedule(positive=4, negative=4), "ratio") == 1e-3
    assert positive_lr(1e-3, Schedule(positive=16, negative=1), "ratio") == 0.0000625
    assert positive_lr(1e-3, Schedule(positive=1, negative=4), "ratio") == 1e-3
    assert positive_lr(1e-3, Schedule(positive=4, negative=4), "notebook") == 2.5e-4
    assert positive_lr(1e-3, Schedule(positive=16, negative=1), "none") == 1e-3
    assert positive_lr(1e-3, UNSEPARATED, "notebook") == 1e-3
