"""From what a user gave, as flags or in a TOML file, to `TrainOptions` and back; `resolve` turns these, together with
the data they will run on, into a `RunConfig`, in which nothing is left open.

Every wrong value becomes one line that names where it was given, what it is and what it should be.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from ffcli.config import (
    BETA1,
    BETA2,
    NO_CURE,
    PRESETS,
    Beta,
    Cure,
    DataRef,
    Device,
    Frozen,
    Precision,
    Preset,
    RunConfig,
    preset_label,
    usual_scaling,
)
from ffcli.errors import BadOption
from ffcli.schedule import UNSEPARATED, LrScaling, Schedule, positive_lr
from ffcli.text import unknown

Wanted = Literal["auto", "full", "sample"]
AskedCount = Annotated[int, Field(ge=1, le=10**9)]
AskedHours = Annotated[int, Field(ge=0, le=10**9)]
AskedRate = Annotated[float, Field(ge=1e-12, allow_inf_nan=False)]  # no phase scales it to 0

AUTO: Final = "auto"
DISPLACEMENT = {"none": 0.16, "gradient-memory": 0.16, "replay": 0.64}
"""How far `auto` lets Adam move a weight in one phase, by cure: rate x updates x hours. Measured, see docs/cures.md."""

WARMUP = 256
"""Hours of warm-up where `auto` chooses the rate: without any, the first phases kill units that no later one
revives."""


class TrainOptions(Frozen):
    """What a user may ask of a run; None takes the preset's value. The TOML that `ff show RUN --toml` prints."""

    dataset: str = "mnist"
    data: Wanted = "auto"
    """`auto` takes the full set where it can be had, else the sample that ships with ffcli."""
    neg: str = "label"
    pos_phase: AskedCount | None = None
    neg_phase: AskedCount | None = None
    unseparated: bool = False
    preset: str = "fast"
    epochs: AskedCount | None = None
    lr: AskedRate | Literal["auto"] | None = None
    """`auto`: the preset's, or less where a phase is long; taken for None too where there is a cure."""
    lr_scaling: LrScaling | None = None
    """None: `ratio`, or `none` where there is a cure: each of its updates knows both halves of the loss."""
    updates_per_batch: AskedCount | None = None
    batch_size: AskedCount = 512
    threshold: float = Field(default=1.5, allow_inf_nan=False)
    hidden: tuple[AskedCount, ...] = Field(default=(500, 500, 500), min_length=1)
    mask_blur: int = Field(default=5, ge=0, le=12)
    seed: int = Field(default=0, ge=0, lt=2**63)
    holdout: int = Field(default=0, ge=0)
    precision: Precision = "float32"
    cure: Cure = NO_CURE
    warmup: AskedHours | None = None
    """None: 0, or `WARMUP` where the rate is automatic."""
    beta1: Beta = BETA1
    beta2: Beta = BETA2

    @property
    def automatic(self) -> bool:
        """Whether `auto` chooses the rate."""
        return self.lr == AUTO or (self.lr is None and bool(self.cure))

    @property
    def scaling(self) -> LrScaling:
        return self.lr_scaling or usual_scaling(self.cure)

    @model_validator(mode="after")
    def _phases_or_none(self) -> TrainOptions:
        if self.unseparated and (self.pos_phase or self.neg_phase):
            raise ValueError("unseparated hours have no phases: leave out the phase lengths, or --unseparated")
        if self.unseparated and self.cure:
            raise ValueError("unseparated hours see both kinds of data: leave out --cure, or --unseparated")
        return self

    @property
    def schedule(self) -> Schedule:
        if self.unseparated:
            return UNSEPARATED
        return Schedule(positive=self.pos_phase or 1, negative=self.neg_phase or 1)


def resolve(options: TrainOptions, data: DataRef, *, device: Device = "cpu", uses_masks: bool) -> RunConfig:
    """Close everything that `options` leaves open.

    Raises BadOption where the options do not fit the data: more classes than features, fewer images than a batch.
    """
    preset = PRESETS.get(options.preset.partition("@")[0])
    if preset is None or options.preset not in (preset.name, preset.label):
        raise BadOption(unknown("preset", options.preset, PRESETS))
    updates = options.updates_per_batch or preset.updates_per_batch
    lr = _rate(options, preset, updates)
    if options.precision == "tf32" and device == "cpu":
        raise BadOption("--precision tf32 is a CUDA device's: on the CPU there are float32, float64 and bf16")
    if (options.cure.samples or 0) > options.batch_size:
        raise BadOption(f"--cure {options.cure} keeps more than a batch: give at most replay:{options.batch_size}")
    config = RunConfig(
        data=data,
        negatives=options.neg,
        schedule=options.schedule,
        preset=preset_label(lr, updates, options.beta1, options.beta2),
        epochs=options.epochs or preset.epochs,
        updates_per_batch=updates,
        lr=lr,
        lr_positive=positive_lr(lr, options.schedule, options.scaling),
        lr_negative=lr,
        lr_scaling=options.scaling,
        batch_size=options.batch_size,
        threshold=options.threshold,
        hidden=options.hidden,
        mask_blur=options.mask_blur if uses_masks else None,
        holdout=options.holdout,
        seed=options.seed,
        precision=options.precision,
        device=device,
        cure=options.cure,
        warmup=(WARMUP if options.automatic else 0) if options.warmup is None else options.warmup,
        beta1=options.beta1,
        beta2=options.beta2,
    )
    if data.classes > data.features:
        raise BadOption(
            f"{data.name} has {data.classes} classes but only {data.features} features:"
            " a label needs one feature a class"
        )
    if data.train < config.batch_size:
        raise BadOption(
            f"--batch-size {config.batch_size} is more than the {data.train} training images of {data.label}"
        )
    if config.batches < 1:
        raise BadOption(
            f"--holdout {config.holdout} leaves no batch of {config.batch_size} of the {data.train} training images of"
            f" {data.label}: give at most {data.train - config.batch_size}"
        )
    return config


def automatic_rate(most: float, schedule: Schedule, updates: int, cure: Cure) -> float:
    """`most`, or less where one phase would move a weight further than the cure bears."""
    longest = max(schedule.positive, schedule.negative)
    return min(most, DISPLACEMENT[cure.name] / (longest * updates)) if longest else most


def _rate(options: TrainOptions, preset: Preset, updates: int) -> float:
    if isinstance(options.lr, float):
        return options.lr
    return automatic_rate(preset.lr, options.schedule, updates, options.cure) if options.automatic else preset.lr


_FORMS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as [500, 500, 500]",
    "too": "a list such as [500, 500, 500]",
}
"""What a value should be, by the first word of pydantic's name for the error."""


def parse_options(values: Mapping[str, Any], where: str | None = None) -> TrainOptions:
    """Validate what a user gave: as flags, or in the file that `where` names (`--config run.toml`; '' for no file).

    Raises BadOption with one line naming each wrong value.
    """
    try:
        return TrainOptions.model_validate(values)
    except ValidationError as error:
        first = {e["loc"][:1]: e for e in reversed(error.errors())}
        lines = (_explain(e, flags=where is None) for e in reversed(first.values()))
        raise BadOption((f"{where}: " if where else "") + "; ".join(lines)) from error


def _explain(error: Any, *, flags: bool) -> str:
    if not error["loc"]:
        return correction(error)
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return unknown("option", name, TrainOptions.model_fields)
    return f"{'--' + name.replace('_', '-') if flags else name} {correction(error)}"


def correction(error: Any) -> str:
    """One of pydantic's errors in words: `should be a number, not 'abc'`."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    form = _FORMS.get(error["type"].partition("_")[0])
    should = f"should be {form}" if form else error["msg"].replace("Input should", "should")
    if error["loc"] and error["loc"][0] == "lr":
        should += f", or {AUTO}"
    return f"{should}, not {error['input']!r}"


def read_toml(option: str, path: Path) -> dict[str, Any]:
    """The content of a file that `option` named. Raises BadOption."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"{option} {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"{option} {path} is no TOML: {error}") from error


def options_of(config: RunConfig) -> TrainOptions:
    """The options that ask for `config` again."""
    return TrainOptions(
        dataset=config.data.path or config.data.name,
        data="auto" if config.data.source == "file" else config.data.source,
        neg=config.negatives,
        pos_phase=config.schedule.positive or None,
        neg_phase=config.schedule.negative or None,
        unseparated=not config.schedule.separated,
        preset=config.preset if config.preset != "custom" else "fast",
        lr_scaling=config.lr_scaling,
        mask_blur=config.mask_blur if config.mask_blur is not None else 5,
        **{
            name: getattr(config, name)
            for name in (
                "epochs", "lr", "updates_per_batch", "batch_size", "threshold", "hidden", "seed", "holdout",
                "precision", "cure", "warmup", "beta1", "beta2",
            )
        },
    )  # fmt: skip
