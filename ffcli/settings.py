"""The settings of a run. Each setting is defined once, in one of the classes below.

A definition has a name, a type with its limits, a default, and a `Setting` that describes it. Derived from
it are the options of `ff train` and `ff sweep` with their help and completion, the keys of TOML and grid files, the
fields of `RunConfig`, the run key, the protocol of a report and its label, the columns of JSON and exports, and the
reference in docs/commands.md.

To add a setting, add a field to `ProtocolSettings` and use `config.<name>` in the engine. It is absent from the run key
at its default value, so the keys of stored runs stay valid.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache, partial
from pkgutil import resolve_name
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    model_serializer,
    model_validator,
)

from ffcli.choices import NEWEST, DataChoice, KeepState
from ffcli.errors import BadOption
from ffcli.schedule import UNSEPARATED, LrScaling, Schedule
from ffcli.text import CONTROL, shown, unknown

DATA, TRAINING, RUNNING = "Data and phases", "Training", "Running and storing"
"""Panels of the help, in this order."""

AUTO: Final = "auto"
BETA1, BETA2 = 0.9, 0.999
"""Adam's usual decay rates."""


class Key(Enum):
    """Whether a value is part of the key that identifies a run."""

    ALWAYS = "always"
    UNLESS_DEFAULT = "unless it has its default value"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Setting:
    """The description of a setting: everything beside its name, type and default."""

    help: str
    panel: str
    default: str = ""
    """The default as the help shows it, if it depends on other settings."""
    label: str | None = None
    """A format string that names a value in reports and lists."""
    key: Key = Key.UNLESS_DEFAULT
    choices: str = ""
    """`module:MAPPING` whose keys are the allowed values; for a `Literal` type they come from the type."""
    open_ended: bool = False
    """Whether values other than the choices are allowed, such as paths."""
    kind: str = ""
    """What a value is called in the help; by default from the type."""
    env: str | None = None
    """Environment variable that sets it."""
    in_sweep: Literal["list", "one", "no"] = "list"
    """Whether `ff sweep` takes a list of values, one value, or does not have it."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


Count = Annotated[int, Field(ge=1, le=10**9)]
Rate = Annotated[float, Field(ge=1e-12, allow_inf_nan=False)]
Flag = Annotated[bool, Strict()]
Beta = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["float32", "float64", "bf16", "tf32"]
"""`bf16`: matrix products in bfloat16; parameters, moments, goodness and loss in float32. `tf32`: matrix products of
float32 numbers with 11 significant bits, on CUDA devices of compute capability 8.0 or later."""


class Cure(Frozen):
    """A method that keeps information across phases (see `ffcli.engine.cures`).

    Written as `none`, `gradient-memory`, `replay` or `replay:512`.
    """

    name: str = "none"
    samples: int | None = Field(default=None, ge=1)
    """Inputs that the cure keeps of each phase in each layer; None if it keeps none."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, Cure | dict):
            return value
        from ffcli.engine.cures import CURES

        name, colon, samples = str(value).partition(":")
        default = CURES[name].default_samples if name in CURES else None
        if name not in CURES or (colon and (default is None or not re.fullmatch("0*[1-9][0-9]*", samples))):
            forms = [*CURES, *(f"{cure.name}:SAMPLES" for cure in CURES.values() if cure.default_samples)]
            raise ValueError(f"should be {', '.join(forms[:-1])} or {forms[-1]}, not {value!r}")
        return {"name": name, "samples": samples or default}

    @model_validator(mode="after")
    def _known(self) -> Cure:
        from ffcli.engine.cures import CURES

        if self.name not in CURES or (self.samples is None) != (CURES[self.name].default_samples is None):
            raise ValueError(f"should be one of {', '.join(CURES)}, with samples only if it keeps them")
        return self

    @model_serializer
    def __str__(self) -> str:
        return self.name if self.samples is None else f"{self.name}:{self.samples}"

    def __bool__(self) -> bool:
        return self.name != "none"

    def __lt__(self, other: Cure) -> bool:
        """Order by name, for sorted lists in messages."""
        return str(self) < str(other)


NO_CURE = Cure()


def _sizes(value: Any) -> Any:
    """`500,500,500` becomes ("500", "500", "500"), which pydantic validates."""
    return tuple(value.split(",")) if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    """A single text becomes a tuple of one."""
    return (value,) if isinstance(value, str) else value


def _label(text: str, most: int) -> str:
    if CONTROL.search(text):
        raise ValueError(f"should be one line of text without control characters, not {shown(text)}")
    if not text.strip():
        raise ValueError("should not be empty")
    if len(text) > most:
        raise ValueError(f"should have at most {most:,} characters, not {len(text):,}")
    return text


def _unique(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


def _free_name(name: str) -> str:
    if name == NEWEST:
        raise ValueError(f"{NEWEST} means the run that started last: give another name")
    return name


Label = Annotated[str, AfterValidator(partial(_label, most=200))]
Name = Annotated[Label, AfterValidator(_free_name)]
Note = Annotated[str, AfterValidator(partial(_label, most=2000))]


class PresetSettings(Frozen):
    """Settings whose default is the preset's."""

    updates_per_batch: Annotated[
        Count,
        Setting(
            "Optimiser steps that a layer takes on each batch.", TRAINING, key=Key.ALWAYS, label="{} updates per batch"
        ),
    ]
    lr: Annotated[
        Rate,
        Setting(
            "Learning rate, or auto: less for long phases.", TRAINING, "the preset's; auto with a cure",
            key=Key.ALWAYS, label="lr {}", kind="number|auto", open_ended=True,
        ),
    ]  # fmt: skip
    beta1: Annotated[Beta, Setting("Decay rate of Adam's first moment.", TRAINING, label="beta1 {}")] = BETA1
    beta2: Annotated[Beta, Setting("Decay rate of Adam's second moment.", TRAINING, label="beta2 {}")] = BETA2


class ProtocolSettings(Frozen):
    """Settings that a resolved run has as they were given. With the preset's they form the protocol."""

    batch_size: Annotated[
        Count, Setting("Images per hour (batch).", TRAINING, key=Key.ALWAYS, label="batches of {}")
    ] = 512
    objective: Annotated[
        str,
        Setting(
            "Definition of a layer's goodness.",
            TRAINING,
            label="objective {}",
            choices="ffcli.engine.objectives:OBJECTIVES",
        ),
    ] = "mean"
    optimiser: Annotated[
        str,
        Setting(
            "Optimiser of each layer.", TRAINING, label="optimiser {}", choices="ffcli.engine.optimisers:OPTIMISERS"
        ),
    ] = "adam"
    weight_decay: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Setting("Decoupled weight decay, as in AdamW.", TRAINING, label="weight decay {}"),
    ] = 0.0
    threshold: Annotated[
        float,
        Field(allow_inf_nan=False),
        Setting("Goodness that separates positive from negative data.", TRAINING, key=Key.ALWAYS, label="threshold {}"),
    ] = 1.5
    hidden: Annotated[
        tuple[Count, ...],
        BeforeValidator(_sizes),
        Field(min_length=1),
        Setting("Units of each layer.", TRAINING, key=Key.ALWAYS, label="hidden {}", kind="sizes"),
    ] = (500, 500, 500)
    holdout: Annotated[
        int,
        Field(ge=0),
        Setting(
            "Training images held out to choose the best epoch.", TRAINING, key=Key.ALWAYS, label="{} images held out"
        ),
    ] = 0
    precision: Annotated[
        Precision,
        Setting("Number format of matrix products; tf32 needs a GPU.", TRAINING, key=Key.ALWAYS, label="{}"),
    ] = "float32"
    cure: Annotated[
        Cure,
        Setting(
            "Method that keeps information across phases; replay:SAMPLES sets its size.",
            TRAINING, label="{}", choices="ffcli.engine.cures:CURES", open_ended=True,
        ),
    ] = NO_CURE  # fmt: skip


class Settings(ProtocolSettings):
    """What a user asks for with the options of `ff train`, or in a TOML file. None takes the default that depends on
    the preset or on other settings."""

    dataset: Annotated[
        str,
        Setting(
            "Dataset, or the path of an .npz file or a folder of pictures.", DATA, key=Key.NEVER, env="FFCLI_DATASET",
            choices="ffcli.data.catalogue:CATALOGUE", open_ended=True,
        ),
    ] = "mnist"  # fmt: skip
    neg: Annotated[str, Setting("Negative data.", DATA, key=Key.NEVER, choices="ffcli.data.negatives:STRATEGIES")] = (
        "label"
    )
    pos_phase: Annotated[Count | None, Setting("Length of the positive phase in hours.", DATA, "1", key=Key.NEVER)] = (
        None
    )
    neg_phase: Annotated[Count | None, Setting("Length of the negative phase in hours.", DATA, "1", key=Key.NEVER)] = (
        None
    )
    balanced: Annotated[
        Flag, Setting("Make the negative phase as long as the positive phase.", DATA, key=Key.NEVER, in_sweep="one")
    ] = False
    unseparated: Annotated[Flag, Setting("No phases: both kinds of data in every hour.", DATA, key=Key.NEVER)] = False
    data: Annotated[
        DataChoice,
        Setting(
            "Full dataset, or the sample that ships with ffcli; auto prefers full.", DATA, key=Key.NEVER,
            env="FFCLI_DATA", in_sweep="one",
        ),
    ] = "auto"  # fmt: skip
    mask_blur: Annotated[
        int, Field(ge=0, le=12), Setting("Times that a mask is blurred.", DATA, label="mask blur {}")
    ] = 5
    preset: Annotated[
        str,
        Setting(
            "Learning rate, updates, betas and epochs under one name.", TRAINING, key=Key.NEVER,
            choices="ffcli.config:PRESETS",
        ),
    ] = "fast"  # fmt: skip
    epochs: Annotated[Count | None, Setting("Epochs.", TRAINING, "the preset's", key=Key.NEVER)] = None
    lr: Rate | Literal["auto"] | None = None
    updates_per_batch: Count | None = None
    lr_scaling: Annotated[
        LrScaling | None,
        Setting(
            "Rule for the learning rate of the positive phase.", TRAINING, "ratio; none with a cure",
            key=Key.NEVER, label="lr scaling {}",
        ),
    ] = None  # fmt: skip
    warmup: Annotated[
        int | None,
        Field(ge=0, le=10**9),
        Setting(
            "Hours in which the learning rate rises.", TRAINING, "0; 256 with --lr auto", label="warm-up of {} hours"
        ),
    ] = None
    beta1: Beta | None = None
    beta2: Beta | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63), Setting("Seed of all random choices.", TRAINING, key=Key.ALWAYS)] = 0
    eval_every: Annotated[
        Count, Setting("Number of epochs between evaluations.", TRAINING, key=Key.NEVER, in_sweep="one")
    ] = 1
    device: Annotated[
        str,
        Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$"),
        Setting(
            "Device; cuda:N chooses a GPU.", RUNNING, key=Key.ALWAYS, env="FFCLI_DEVICE", in_sweep="one",
            choices="ffcli.settings:DEVICES", open_ended=True, label="device {}",
        ),
    ] = "auto"  # fmt: skip
    threads: Annotated[
        Annotated[int, Field(ge=1, le=1024)] | None,
        Setting(
            "Threads per process.", RUNNING, "torch's; 1 in a sweep", key=Key.NEVER, env="FFCLI_THREADS", in_sweep="one"
        ),
    ] = None
    name: Annotated[
        Name | None,
        Setting("Name of the run; RUN in other commands can be this name.", RUNNING, key=Key.NEVER, in_sweep="no"),
    ] = None
    tag: Annotated[
        tuple[Label, ...],
        BeforeValidator(_texts),
        AfterValidator(_unique),
        Setting("Tag; may be repeated.", RUNNING, key=Key.NEVER, in_sweep="one", kind="text"),
    ] = ()
    note: Annotated[Note | None, Setting("Note, in one line.", RUNNING, key=Key.NEVER, in_sweep="one")] = None
    trace: Annotated[
        str | None,
        Setting("Phases to record hour by hour, such as 1-4,37.", RUNNING, key=Key.NEVER, in_sweep="no", kind="ranges"),
    ] = None
    keep_state: Annotated[
        KeepState,
        Setting(
            "Keep the full state, so that more epochs continue; auto: those of the latest runs.", RUNNING,
            key=Key.NEVER, in_sweep="one",
        ),
    ] = "auto"  # fmt: skip
    state_budget: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Setting(
            "Gigabytes of states that auto keeps beside the database.", RUNNING, key=Key.NEVER, in_sweep="one",
            env="FFCLI_STATE_BUDGET",
        ),
    ] = 2.0  # fmt: skip

    @model_validator(mode="after")
    def _consistent_phases(self) -> Settings:
        if self.balanced and (self.neg_phase or self.unseparated):
            other = "neg-phase" if self.neg_phase else "unseparated"
            raise ValueError(f"--balanced sets the length of the negative phase: leave out --balanced or --{other}")
        if self.unseparated and (self.pos_phase or self.neg_phase):
            raise ValueError("an unseparated run has no phases: leave out the phase lengths or --unseparated")
        if self.unseparated and self.cure:
            raise ValueError("an unseparated run needs no cure: leave out --cure or --unseparated")
        return self

    @property
    def schedule(self) -> Schedule:
        if self.unseparated:
            return UNSEPARATED
        positive = self.pos_phase or 1
        return Schedule(positive=positive, negative=positive if self.balanced else self.neg_phase or 1)

    @property
    def has_automatic_lr(self) -> bool:
        """Whether the learning rate depends on the length of the phases: asked for, or by default with a cure."""
        return self.lr == AUTO or (self.lr is None and bool(self.cure))


DEVICES = ("auto", "cpu", "cuda")


def setting(name: str) -> Setting:
    """Return the `Setting` of a field of `Settings`."""
    return _settings()[name]


def names() -> list[str]:
    """Return the names of all settings in the order of the help: by panel, then as defined."""
    panels = (DATA, TRAINING, RUNNING)
    own = [name for name in Settings.model_fields if name not in ProtocolSettings.model_fields]
    return sorted([*own, *ProtocolSettings.model_fields], key=lambda name: panels.index(setting(name).panel))


def selectable() -> list[str]:
    """Return the settings by which stored runs can be told apart."""
    return [name for name in names() if setting(name).key is not Key.NEVER or name in _SHOWN_BY_RUNS]


_SHOWN_BY_RUNS = ("dataset", "data", "neg", "pos_phase", "neg_phase", "unseparated", "preset", "lr_scaling")


def choices(name: str) -> list[str]:
    """Return the values that a setting can be chosen from; empty if it is free."""
    if reference := setting(name).choices:
        return list(resolve_name(reference))
    return [str(value) for kind in _types(name) if get_origin(kind) is Literal for value in get_args(kind)]


def choice_help(name: str) -> dict[str, str]:
    """Return one line of help for each choice of a setting whose choices come from a registry."""
    entries: Any = resolve_name(setting(name).choices) if setting(name).choices else {}
    return {key: entries[key].help for key in entries if isinstance(entries, dict) and hasattr(entries[key], "help")}


def kind(name: str) -> str:
    """Return what a value of the setting is called in the help: its choices, `number`, `integer` or `text`; empty for
    a flag."""
    if named := setting(name).kind:
        return named
    if known := choices(name):
        return "|".join(value for value in known if "@" not in value)  # versions of presets would fill the help
    found = {float: "number", int: "integer", str: "text", bool: ""}
    return next(found[kind] for kind in _types(name) if kind in found)


def is_flag(name: str) -> bool:
    """Return whether a setting is a flag without a value."""
    return bool in _types(name)


def shown_default(name: str) -> str:
    """Return the default of a setting as the help shows it; empty if there is none to show."""
    default = Settings.model_fields[name].default
    if explained := setting(name).default:
        return explained
    if default is None and name in PresetSettings.model_fields:
        return "the preset's"
    if default is None or default is False or default == ():
        return ""
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def option(name: str) -> str:
    """Return the command-line option of a setting: `--pos-phase`."""
    return "--" + name.replace("_", "-")


def parse(values: Mapping[str, Any], where: str | None = None) -> Settings:
    """Validate what a user gave.

    Args:
        values: values by name, as text or of their type.
        where: the file that they come from, for messages (`--config run.toml`), whose values have the type of the
            setting; None for the command line, and empty for a selection, whose values are text.

    Raises:
        BadOption: with one line that names each wrong value and says what would be right.
    """
    prefix = f"{where}: " if where else ""
    if extra := values.keys() - Settings.model_fields.keys():
        raise BadOption(prefix + unknown("option", min(extra), names()))
    for name, value in values.items():
        if isinstance(value, dict) or (isinstance(value, bool) and not is_flag(name)):
            named = option(name) if where is None else name
            given = "a table" if isinstance(value, dict) else str(value).lower()
            raise BadOption(f"{prefix}{named} needs a value ({kind(name) or 'true or false'}), not {given}")
        if where and (form := _wrong_type(name, value)):
            raise BadOption(f"{prefix}{name} should be {form}, not {shown(value)}")
        known = choices(name) if isinstance(value, str) and not setting(name).open_ended else []
        if known and value not in known:
            raise BadOption(prefix + unknown(option(name) if where is None else name, value, known))
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = {e["loc"][:1]: e for e in reversed(error.errors())}
        lines = (_explanation(e, is_flag=where is None) for e in reversed(first.values()))
        raise BadOption(prefix + "; ".join(lines)) from error


def label(name: str, value: Any) -> str:
    """Return a value in words: `threshold 2.0`, `1 update per batch`."""
    words = (setting(name).label or name + " {}").format(
        ",".join(map(str, value)) if isinstance(value, tuple) else value
    )
    return re.sub(r"^(.*\b1 \w+?)s\b", r"\1", words) if value == 1 else words


def as_option(name: str, value: Any) -> list[str]:
    """Return the command-line arguments that give a setting this value."""
    if isinstance(value, bool):
        return [option(name)] if value else []
    return [option(name), ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


@cache
def _settings() -> dict[str, Setting]:
    fields = [*PresetSettings.model_fields.items(), *Settings.model_fields.items()]
    return {name: m for name, field in fields for m in field.metadata if isinstance(m, Setting)}


def _types(name: str) -> Iterable[Any]:
    """The types that a setting's values may have, without None."""

    def parts(annotation: Any) -> Iterable[Any]:
        if get_origin(annotation) is Annotated:
            yield from parts(get_args(annotation)[0])
        elif get_origin(annotation) in (Union, types.UnionType):
            for part in get_args(annotation):
                yield from parts(part)
        else:
            yield annotation

    return parts(Settings.model_fields[name].annotation)


def _wrong_type(name: str, value: Any) -> str:
    """What a value from a file should be, if it has the type of another setting: `"2"` and `2.0` are no whole numbers.

    On the command line every value is text; pydantic, which parses that, would also accept such values from a file.
    """
    types = set(_types(name))
    if name == "hidden" and isinstance(value, list):
        wrong = [units for units in value if type(units) is not int]
        return "a list of whole numbers" if wrong else ""
    if isinstance(value, float) and int in types:
        return _FORMS["int"]
    if isinstance(value, str) and types & {int, float} and value not in choices(name):
        form = _FORMS["int" if int in types else "float"]
        return f"{form}, or {AUTO}" if AUTO in choices(name) else form
    return ""


_FORMS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as 500,500,500",
}
"""What a value should be, by the first word of pydantic's name for the error."""

_LIMITS = {
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "too_short": "a list such as 500,500,500",
    "finite_number": "a finite number",
    "string_pattern_mismatch": "auto, cpu, cuda or cuda:N",
}


def _explanation(error: Any, *, is_flag: bool) -> str:
    if not error["loc"]:
        return str(error["ctx"]["error"])
    name = str(error["loc"][0])
    return f"{option(name) if is_flag else name} {correction(error)}"


def correction(error: Any) -> str:
    """Return one of pydantic's errors in our words: `should be a number, not 'abc'`."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    form = _LIMITS.get(error["type"], "").format(**error.get("ctx", {})) or _FORMS.get(error["type"].partition("_")[0])
    name = str(error["loc"][0]) if error["loc"] else ""
    if name == "tag":
        form = "text, or a list of texts"
    elif name == "hidden" and error["type"].startswith("int_parsing"):
        form = "sizes such as 500,500,500"
    if error["type"] == "literal_error" and name:
        form = " or ".join(choices(name))
    should = f"should be {form}" if form else error["msg"]
    if name == "lr":
        should += f", or {AUTO}"
    return f"{should}, not {shown(error['input'])}"
