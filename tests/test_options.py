"""Options resolve to configs, and configs convert back to options."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ffcli.config import WARMUP, DataRef, RunConfig
from ffcli.errors import BadOption
from ffcli.planning import resolve, settings_of
from ffcli.settings import parse
from ffcli.store.database import open_store
from ffcli.store.runs import list_runs

DATA = DataRef(
    name="mnist", source="full", fingerprint="0" * 64, features=784, classes=10, train=60_000, test=10_000,
    largest_class=11.35,
)  # fmt: skip
STUDY = Path(__file__).parent.parent / "results" / "study.db"


def config(**options: Any) -> RunConfig:
    return resolve(parse(options), DATA)


def test_only_non_default_betas_change_the_key() -> None:
    plain = config()
    assert config(beta1=0.9, beta2=0.999).key == plain.key
    scaled = config(beta1="0.172704", beta2=0.983461)
    assert {"beta1", "beta2"} & plain.identity().keys() == set()
    assert scaled.identity() == plain.identity() | {"beta1": 0.172704, "beta2": 0.983461}
    assert scaled.preset == "custom"
    assert resolve(settings_of(scaled), DATA) == scaled
    with pytest.raises(BadOption, match="--beta1"):
        config(beta1=1.0)


@pytest.mark.parametrize(
    ("options", "lr"),
    [
        ({"lr": "auto"}, 0.05),
        ({"lr": "auto", "pos_phase": 16, "neg_phase": 16}, 0.01),
        ({"lr": "auto", "pos_phase": 1, "neg_phase": 128}, 0.00125),
        ({"lr": "auto", "unseparated": True}, 0.05),
        ({"pos_phase": 16, "neg_phase": 16}, 0.05),
        ({"pos_phase": 16, "neg_phase": 16, "cure": "gradient-memory"}, 0.01),
        ({"pos_phase": 16, "neg_phase": 16, "cure": "gradient-memory", "lr": 0.3}, 0.3),
        ({"pos_phase": 16, "neg_phase": 16, "cure": "gradient-memory", "updates_per_batch": 4}, 0.0025),
        ({"pos_phase": 16, "neg_phase": 16, "cure": "replay"}, 0.04),
        ({"pos_phase": 4, "neg_phase": 4, "cure": "replay"}, 0.05),
        ({"pos_phase": 4, "neg_phase": 4, "cure": "replay", "preset": "paper"}, 0.001),
    ],
)
def test_automatic_learning_rate(options: dict[str, Any], lr: float) -> None:
    assert config(**options).lr == pytest.approx(lr)


@pytest.mark.parametrize(
    ("options", "hours"),
    [
        ({}, 0),
        ({"lr": "auto"}, WARMUP),
        ({"cure": "replay"}, WARMUP),
        ({"cure": "replay", "lr": 0.05}, 0),
        ({"cure": "replay", "warmup": 0}, 0),
        ({"warmup": 7}, 7),
    ],
)
def test_automatic_learning_rate_has_a_warmup(options: dict[str, Any], hours: int) -> None:
    resolved = config(**options)
    assert resolved.warmup == hours
    rates = [resolved.learning_rate("negative", hour) for hour in range(hours + 3)]
    assert rates == sorted(rates)
    assert rates[hours:] == [resolved.lr] * 3
    assert not hours or rates[0] == pytest.approx(resolved.lr / hours)


@pytest.mark.parametrize(
    ("options", "lr_positive"),
    [({}, 0.05 / 16), ({"cure": "replay"}, 0.05), ({"cure": "replay", "lr_scaling": "ratio"}, 0.05 / 16)],
)
def test_cured_runs_do_not_scale_the_positive_rate_by_default(options: dict[str, Any], lr_positive: float) -> None:
    asked = config(pos_phase=16, lr=0.05, **options)
    assert (asked.lr_positive, asked.lr_negative) == (lr_positive, 0.05)


@pytest.mark.parametrize("cure", ["none", "gradient-memory", "replay", "replay:7"])
def test_config_converts_to_options_and_back(cure: str) -> None:
    first = config(cure=cure, neg="masks", warmup=5, pos_phase=4, neg_phase=2, seed=3, holdout=100)
    again = settings_of(first).model_dump(mode="json", exclude_none=True)
    assert again["cure"] == ("replay:512" if cure == "replay" else cure)
    assert config(**again) == first


def test_every_cure_has_its_own_key() -> None:
    cures = ("none", "gradient-memory", "replay:511", "replay:512")
    keys = {config(cure=cure, lr=0.01).key for cure in cures}
    assert len(keys) == len(cures)
    assert config(cure="replay", lr=0.01).key == config(cure="replay:512", lr=0.01).key


def test_stored_runs_without_a_cure_keep_their_keys(tmp_path: Path) -> None:
    with open_store(shutil.copy(STUDY, tmp_path)) as store:
        runs = list_runs(store)
    assert len(runs) == 156
    assert all(run.config.key == run.key and not run.config.cure for run in runs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cure": "replay:513"}, "replay:512"),
        ({"cure": "replay:0"}, "--cure should be none, gradient-memory, replay or replay:SAMPLES"),
        ({"cure": "gradient-memory", "unseparated": True}, "--unseparated"),
        ({"cure": "replay:many"}, "replay:SAMPLES"),
    ],
)
def test_invalid_cures_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        config(**options)
