"""Estimates of the time that a run needs."""

from __future__ import annotations

import pytest
from store.store_helpers import make_config

from ffcli.estimate import ROUGH_RATE, operations_left, seconds_left
from ffcli.records import Timing


def test_speed_is_taken_from_the_runs_most_alike() -> None:
    bf16, slow = make_config(precision="bf16", epochs=100), make_config(epochs=100)
    timings = [Timing(bf16, epochs=100, evaluations=10, seconds=50.0), Timing(slow, 100, 100, seconds=400.0)]
    assert seconds_left(bf16, 0, timings, eval_every=10) == (pytest.approx(50.0), True)
    assert seconds_left(bf16, 50, timings, eval_every=10) == (pytest.approx(25.0), True)
    assert seconds_left(bf16, 0, timings)[0] > 50.0, "ten times as many evaluations"
    assert seconds_left(make_config(neg="masks", epochs=100), 0, timings) == (pytest.approx(400.0), True)
    assert seconds_left(bf16, 100, timings) == (0.0, True)


def test_speed_is_guessed_where_nothing_was_measured() -> None:
    config = make_config(epochs=1000)
    seconds, measured = seconds_left(config, 0, [])
    assert not measured
    assert seconds == pytest.approx(operations_left(config) / ROUGH_RATE, rel=0.1)
