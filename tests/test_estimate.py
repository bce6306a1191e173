"""Estimates of the time that a run needs."""

from __future__ import annotations

from typing import Any

import pytest

from ffcli.config import DataRef, RunConfig
from ffcli.estimate import ROUGH_RATE, operations_left, seconds_left
from ffcli.planning import resolve
from ffcli.records import Timing
from ffcli.settings import parse

DATA = DataRef(
    name="mnist", source="full", fingerprint="0", features=784, classes=10, train=60_000, test=10_000, largest_class=11
)


def make_config(**options: Any) -> RunConfig:
    return resolve(parse(options), DATA)


def test_speed_is_taken_from_the_runs_most_alike() -> None:
    bf16, slow = make_config(precision="bf16", epochs=100), make_config(epochs=100)
    timings = [Timing(bf16, epochs=100, evaluations=10, seconds=50.0), Timing(slow, 100, 100, seconds=400.0)]
    for config, done, eval_every, expected in (
        (bf16, 0, 10, 50.0),
        (bf16, 50, 10, 25.0),
        (make_config(neg="masks", epochs=100), 0, 1, 400.0),
    ):
        seconds, measured = seconds_left(config, done, timings, eval_every=eval_every)
        assert measured
        assert seconds == pytest.approx(expected)
    assert seconds_left(bf16, 0, timings)[0] > 50.0, "ten times as many evaluations"
    assert seconds_left(bf16, 100, timings) == (0.0, True)


def test_old_runs_of_a_busier_time_do_not_count() -> None:
    config = make_config(epochs=100)
    newest = [Timing(config, 100, 100, seconds=seconds) for seconds in (99.0, 100.0, 100.0, 101.0)]
    assert seconds_left(config, 0, [*newest, *[Timing(config, 100, 100, seconds=1000.0)] * 20])[0] == pytest.approx(100)


def test_speed_is_guessed_where_nothing_was_measured() -> None:
    config = make_config(epochs=1000)
    seconds, measured = seconds_left(config, 0, [])
    assert not measured
    assert seconds == pytest.approx(operations_left(config) / ROUGH_RATE, rel=0.1)
