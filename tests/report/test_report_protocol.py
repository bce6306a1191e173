"""Which runs share a table, its number of epochs, and the command that adds a run to it."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import shlex
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ffcli.choices import Status
from ffcli.config import PRESETS, DataRef, RunConfig
from ffcli.errors import BadOption
from ffcli.planning import resolve
from ffcli.records import Outcome, RunSummary
from ffcli.report.command import train_command
from ffcli.report.grouping import by_signature
from ffcli.report.protocol import Protocol, default_protocol, describe, select, settings_of, signature
from ffcli.report.tables import with_horizons
from ffcli.schedule import UNSEPARATED, Schedule
from ffcli.settings import Settings, is_flag, names, option, parse

_ids = itertools.count()


def data_ref(name: str = "mnist", source: Any = "full", fingerprint: str | None = None) -> DataRef:
    return DataRef(
        name=name,
        source=source,
        fingerprint=fingerprint or hashlib.sha256(f"{name} {source}".encode()).hexdigest(),
        features=784,
        classes=10,
        train=60_000,
        test=10_000,
        largest_class=11.35,
        path=f"/data/{name}.npz" if source == "file" else None,
    )


def configure(schedule: str = "1:1", *, data: DataRef | None = None, **options: Any) -> RunConfig:
    positive, _, negative = schedule.partition(":")
    phases = {"pos_phase": int(positive), "neg_phase": int(negative)} if negative else {"unseparated": True}
    asked = parse(phases | options)
    return resolve(asked, data or data_ref())


def outcome(
    schedule: str = "1:1",
    accuracy: float = 80.0,
    *,
    data: DataRef | None = None,
    reached: int | None = None,
    horizon: int | None = None,
    status: Status = "completed",
    tags: tuple[str, ...] = (),
    **options: Any,
) -> Outcome:
    """Return the outcome of a run with these options; by default it has reached the requested epochs."""
    config = configure(schedule, data=data, **options)
    done = config.epochs if reached is None else reached
    horizon = horizon or config.epochs
    run = RunSummary(f"r{next(_ids)}", config.key, config, status, tags, epochs_done=done)
    return Outcome(run, horizon, min(done, horizon), accuracy if done >= horizon else None, accuracy, accuracy)


def on_gpu(run: Outcome) -> Outcome:
    """Return the outcome as that of a run on a GPU."""
    config = run.run.config.model_copy(update={"device": "cuda"})
    return replace(run, run=replace(run.run, config=config, key=config.key))


def admits(protocol: Protocol, config: RunConfig) -> bool:
    """Return whether a run with this config belongs in the protocol's tables."""
    return protocol.signature == signature(config) and protocol.fits(config)


def protocols(*outcomes: Outcome) -> list[str]:
    return [protocol.label for protocol, _ in with_horizons(by_signature(o.run for o in outcomes))]


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, "fast@1"),
        ({"lr": 1e-3, "updates_per_batch": 50}, "paper@1"),
        ({"threshold": 2.0, "hidden": (100, 100)}, "fast@1 with threshold 2.0, hidden 100,100"),
        ({"lr": 0.01}, "custom: lr 0.01"),
        ({"lr": 0.01, "updates_per_batch": 5}, "custom: lr 0.01, 5 updates per batch"),
        ({"data": "sample", "mask_blur": 6, "lr_scaling": "none"}, "fast@1 with mask blur 6, lr scaling none"),
    ],
)
def test_label_lists_what_differs_from_the_defaults(fields: dict[str, Any], label: str) -> None:
    assert Protocol(**fields).label == label


def test_runs_with_automatic_rates_share_one_protocol() -> None:
    runs = [outcome(schedule, lr="auto") for schedule in ("unseparated", "1:1", "16:16", "64:64", "16:1")]
    assert protocols(*runs) == ["fast@1 with lr auto"]
    assert {run.run.config.preset for run in runs} == {"fast@1"}
    assert protocols(*runs, outcome()) == ["fast@1", "fast@1 with lr auto"]
    assert protocols(outcome(preset="paper", lr="auto"), outcome("64:64", preset="paper", lr="auto")) == [
        "paper@1 with lr auto"
    ]


@pytest.mark.parametrize("options", [{"updates_per_batch": 5}, {"preset": "scaled", "updates_per_batch": 3}])
def test_automatic_rates_with_the_updates_of_another_preset_share_one_protocol(options: dict[str, Any]) -> None:
    runs = [outcome(phases, lr="auto", **options) for phases in ("1:1", "16:16", "64:64")]
    assert len(protocols(*runs)) == 1
    assert len({describe(settings_of(run.run.config)) for run in runs}) == 1


def test_every_protocol_setting_separates_tables() -> None:
    same = [
        outcome(),
        outcome(seed=7, neg="masks"),
        on_gpu(outcome()),
        outcome("16:1", data=data_ref("fashion")),
        outcome("unseparated", data=data_ref("own", "file")),
    ]
    assert protocols(*same) == ["fast@1"]
    apart = [
        outcome(data=data_ref(source="sample")),
        outcome(preset="paper"),
        outcome(lr=0.01),
        outcome(updates_per_batch=2),
        outcome(batch_size=256),
        outcome(threshold=2.0),
        outcome(hidden=(10,)),
        outcome(holdout=100),
        outcome(precision="float64"),
        outcome("16:1", lr_scaling="none"),
        outcome(neg="masks", mask_blur=4),
    ]
    for other in apart:
        assert len(protocols(*same, other)) == 2, other.run.config


@pytest.mark.parametrize(
    ("runs", "labels"),
    [
        ([("16:16", "none")], ["fast@1"]),
        ([("unseparated", "notebook"), ("1:1", "none"), ("16:1", "notebook")], ["fast@1"]),
        ([("16:1", "none")], ["fast@1 with lr scaling none"]),
        ([("16:1", "none"), ("4:4", "ratio")], ["fast@1", "fast@1 with lr scaling none"]),
        ([("4:4", "notebook")], ["fast@1 with lr scaling notebook"]),
    ],
)
def test_a_scaling_rule_has_a_table_only_if_no_earlier_rule_fits(
    runs: list[tuple[str, str]], labels: list[str]
) -> None:
    assert protocols(*(outcome(schedule, lr_scaling=rule) for schedule, rule in runs)) == labels


def test_runs_without_masks_belong_to_every_blur() -> None:
    label, plain, blurred = outcome(), outcome(neg="masks"), outcome(neg="masks", mask_blur=6)
    assert protocols(label) == protocols(label, plain) == ["fast@1"]
    assert protocols(label, blurred) == ["fast@1 with mask blur 6"]
    assert protocols(label, plain, blurred) == ["fast@1", "fast@1 with mask blur 6"]
    assert admits(Protocol(mask_blur=6), label.run.config)
    assert not admits(Protocol(mask_blur=6), plain.run.config)


@pytest.mark.parametrize(
    ("asked", "runs", "horizon"),
    [
        (7, [outcome(epochs=20)], 7),
        (None, [outcome(epochs=500), outcome(epochs=3)], 20),
        (None, [outcome(epochs=3), outcome(epochs=20, reached=9)], 9),
        (None, [outcome(epochs=20, reached=0)], 20),
        (None, [outcome(lr=0.01, epochs=50), outcome(lr=0.01, epochs=100, reached=70)], 50),
        (None, [outcome(lr=0.01, epochs=50, reached=30), outcome(lr=0.01, epochs=40, reached=2)], 30),
        (None, [outcome(epochs=3), outcome(status="superseded", epochs=20)], 3),
    ],
)
def test_horizon(asked: int | None, runs: list[Outcome], horizon: int) -> None:
    assert [epochs for _, epochs in with_horizons(by_signature(o.run for o in runs), asked)] == [horizon]


def test_selection() -> None:
    runs = [outcome().run, outcome(preset="paper", tags=("night",)).run, outcome(data=data_ref(source="sample")).run]
    assert select(runs) == runs
    assert select(runs, preset="paper") == select(runs, preset="paper@1") == select(runs, tag="night") == [runs[1]]
    assert select(runs, data="sample") == [runs[2]]
    assert default_protocol("paper", "sample").label == "paper@1"
    with pytest.raises(BadOption, match="did you mean 'paper'"):
        select(runs, preset="papr")


@pytest.mark.parametrize(
    ("fields", "cell", "command"),
    [
        ({}, ("fashion", "masks", "16:1"), "--data full --neg masks --pos-phase 16"),
        ({"data": "sample"}, ("mnist", "label", "2:2"), "--data sample --neg label --pos-phase 2 --balanced"),
        (
            {"lr": 1e-3, "updates_per_batch": 50},
            ("mnist", "label", "0:0"),
            "--data full --neg label --unseparated --preset paper",
        ),
        ({"has_automatic_lr": True}, ("mnist", "label", "16:1"), "--data full --neg label --pos-phase 16 --lr auto"),
        (
            {"has_automatic_lr": True, "lr": 1e-3, "updates_per_batch": 10},
            ("mnist", "label", "1:1"),
            "--data full --neg label --pos-phase 1 --preset paper --updates-per-batch 10 --lr auto",
        ),
        (
            {"lr": 0.01, "hidden": (9, 9)},
            ("/data/a b.npz", "label", "4:2"),
            "--neg label --pos-phase 4 --neg-phase 2 --lr 0.01 --hidden 9,9",
        ),
    ],
)
def test_commands_are_short(fields: dict[str, Any], cell: tuple[str, str, str], command: str) -> None:
    dataset, negatives, phases = cell
    positive, negative = map(int, phases.split(":"))
    schedule = Schedule(positive=positive, negative=negative)
    expected = f"ff train --dataset {shlex.quote(dataset)} {command}"
    assert train_command(Protocol(**fields), dataset, negatives, schedule) == expected


@settings(deadline=None)
@given(
    protocol=st.builds(
        Protocol,
        data=st.sampled_from(["full", "sample"]),
        lr=st.sampled_from([0.05, 1e-3, 1e-5]),
        updates_per_batch=st.sampled_from([1, 50, 3]),
        lr_scaling=st.sampled_from(["ratio", "none", "notebook"]),
        batch_size=st.sampled_from([512, 64]),
        threshold=st.sampled_from([1.5, -2.25]),
        hidden=st.sampled_from([(500, 500, 500), (7,)]),
        mask_blur=st.integers(0, 12),
        holdout=st.sampled_from([0, 1000]),
        precision=st.sampled_from(["float32", "float64"]),
    ),
    negatives=st.sampled_from(["label", "masks"]),
    schedule=st.just(UNSEPARATED) | st.builds(Schedule, positive=st.integers(1, 64), negative=st.integers(1, 64)),
    epochs=st.none() | st.sampled_from([1, 20, 500]),
)
def test_suggested_command_trains_a_run_of_its_table(
    protocol: Protocol, negatives: str, schedule: Schedule, epochs: int | None
) -> None:
    options = _parse(train_command(protocol, "fashion", negatives, schedule, epochs))
    source = "full" if options.data == "auto" else options.data
    config = resolve(options, data_ref(options.dataset, source))
    assert admits(protocol, config)
    assert (config.schedule, config.negatives, config.data.name) == (schedule, negatives, "fashion")
    preset = PRESETS[options.preset]
    assert config.epochs == (epochs or preset.epochs)


def _parse(command: str) -> Settings:
    """Parse the options of an `ff train` command line."""
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("ff", "train")
    parser = argparse.ArgumentParser()
    for name in names():
        parser.add_argument(option(name), action="store_true" if is_flag(name) else "store")
    return parse({name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None})


@pytest.mark.parametrize(
    ("options", "description"),
    [
        ({"cure": "gradient-memory", "lr": "auto"}, "fast@1 with gradient-memory, lr auto"),
        ({"cure": "replay", "lr": "auto", "threshold": 2.0}, "fast@1 with threshold 2.0, replay:512, lr auto"),
        ({"lr": "auto"}, "fast@1 with lr auto"),
        ({"lr": 0.01, "warmup": 100}, "custom: lr 0.01, warm-up of 100 hours"),
        ({"lr": 0.02, "warmup": 256}, "custom: lr 0.02, warm-up of 256 hours"),
    ],
)
def test_description_of_automatic_rates(options: dict[str, Any], description: str) -> None:
    assert describe(settings_of(configure("16:16", **options))) == description
