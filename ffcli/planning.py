"""Resolve the settings that a user gave into runs: one for `ff train`, many for `ff sweep`, with the same validation.

options, --config, --grid, --table  ->  Settings  ->  RunConfig and Request
"""

from __future__ import annotations

import heapq
import shlex
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from ffcli import settings as definitions
from ffcli.config import (
    PRESETS,
    WARMUP,
    DataRef,
    Preset,
    RunConfig,
    automatic_lr,
    automatic_lr_origin,
    default_scaling,
    nearest_presets,
)
from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES
from ffcli.errors import BadOption
from ffcli.estimate import operations_left
from ffcli.machine import choose_device, device_kind, require_device
from ffcli.published import tables as paper_tables
from ffcli.running.run import Request
from ffcli.schedule import Schedule, phase_number, positive_lr
from ffcli.settings import PresetSettings, ProtocolSettings, Settings, as_option, option, parse
from ffcli.text import CONTROL, counted, parse_ranges, unknown

Values = dict[str, Any]
"""Settings by name, as a user gave them."""

Notify = Callable[[str], None]

PHASES = ("pos_phase", "neg_phase", "balanced", "unseparated")
"""The settings that make the schedule: one of them on the command line overrides all of them in a file."""


MAX_CELLS = 1_000_000
"""A sweep of more runs would take years; it is a typing error."""

MANY_CELLS = 1_000
"""A sweep of more runs than this asks first; both tables of the paper with ten seeds are 520."""


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """One run to train or to look up."""

    config: RunConfig
    request: Request
    data_folder: Path


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Many runs to train or to look up."""

    settings: list[Settings]
    """What asks for each run."""
    configs: list[RunConfig]
    request: Request
    data_folder: Path


def plan_training(
    given: Values, *, config_file: Path | None, force: bool, data_folder: Path | None, notify: Notify
) -> TrainPlan:
    """Resolve the run that the options of `ff train` ask for.

    Args:
        given: the settings on the command line, without those that were not given.
        config_file: a TOML file of settings; the command line overrides it.
        force: whether to train a stored run again.
        data_folder: where datasets are kept; None for the user's data folder.
        notify: called with messages for the user.

    Raises:
        BadOption: if a value is wrong, or values contradict each other or the data.
        BadData: if the dataset cannot be found.
    """
    from_file = _read_settings("--config", config_file)
    settings = parse(_override(from_file, given))
    device, folder = choose_device(settings.device), datasets.data_folder(data_folder, create=True)
    [config] = _resolve_all([settings], device, folder, notify)
    if config.warmup > config.hours:
        notify(
            f"the learning rate never reaches its full value: the run has {counted(config.hours, 'hour')}, --warmup is"
            f" {config.warmup}"
        )
    trace = traced_phases(settings.trace, config) if settings.trace is not None else ()
    return TrainPlan(config, _request(settings, device, trace=trace, force=force), folder)


def plan_sweep(
    given: Values,
    *,
    tables: Sequence[int],
    grid_file: Path | None,
    data_folder: Path | None,
    notify: Notify,
    confirm: Callable[[int], None] = lambda number: None,
    shard: str | None = None,
) -> SweepPlan:
    """Resolve every cell that the options of `ff sweep` ask for.

    Args:
        given: the settings on the command line as text, without those that were not given; lists are comma-separated.
        tables: numbers of the paper's tables whose cells to train.
        grid_file: a TOML file of lists of settings; the command line overrides it.
        data_folder: where datasets are kept; None for the user's data folder.
        notify: called with messages for the user.
        confirm: called with the largest possible number of runs if that is more than MANY_CELLS; raises an error to
            stop.
        shard: `k/n`: only the runs of the k-th of n shards (see `in_shard`); None for all.

    Raises:
        BadOption: if a value is wrong, values contradict each other or the data, or nothing was asked for.
        BadData: if a dataset cannot be found.
    """
    lists = {name: split_list(name, value) for name, value in given.items()}
    if grid_file is not None:
        from_file, numbers = read_grid(grid_file)
        lists, tables = _override(from_file, lists), [*tables, *numbers]
    if wrong := [n for n in tables if n not in paper_tables()]:
        raise BadOption(f"--table {wrong[0]}: the paper has tables {' and '.join(map(str, paper_tables()))}")
    varied = [name for name in lists if definitions.setting(name).in_sweep == "list"]
    if not tables and not varied:
        parse({name: value for name, [value] in lists.items()})
        raise BadOption("nothing to sweep: give --table 1, --table 2, or lists such as --pos-phase 1,2,4")
    _check_number(lists, tables, confirm)
    cells = restricted(table_cells(tables), lists) if tables else combinations(lists)
    settings = [parse({"threads": 1} | cell) for cell in _blurred_with_masks(cells)]
    if not settings:
        raise BadOption("no cell of the tables has this --dataset and --neg: leave out one of them")
    device, folder = choose_device(settings[0].device), datasets.data_folder(data_folder, create=True)
    require_device(device)
    configs, request = _resolve_all(settings, device, folder, notify), _request(settings[0], device)
    if shard is not None:
        number, shards = _shard(shard)
        chosen = in_shard(configs, number, shards, eval_every=request.eval_every)
        settings = [each for each, config in zip(settings, configs, strict=True) if config.key in chosen]
        configs = [config for config in configs if config.key in chosen]
    return SweepPlan(settings, configs, request, folder)


def in_shard(configs: Iterable[RunConfig], number: int, shards: int, *, eval_every: int = 1) -> set[str]:
    """Return the keys of one of `shards` shares of runs, of about equal cost.

    The runs, longest first, go each to the share with the least work so far. That depends on nothing but the runs, so
    that every machine computes the same shares.

    Args:
        configs: all runs.
        number: of the share, counted from 1.
        shards: number of shares.
        eval_every: epochs between evaluations.
    """
    cost = {config.key: operations_left(config, eval_every=eval_every) for config in configs}
    work = [(0.0, share) for share in range(1, shards + 1)]
    chosen = set()
    for key in sorted(cost, key=lambda key: (-cost[key], key)):
        done, share = heapq.heappop(work)
        heapq.heappush(work, (done + cost[key], share))
        if share == number:
            chosen.add(key)
    return chosen


def train_command(settings: Settings) -> str:
    """Return the `ff train` command that asks for a cell of a sweep."""
    given = ((name, getattr(settings, name)) for name in definitions.names() if name in settings.model_fields_set)
    options = [
        part
        for name, value in given
        for each in (value if name == "tag" else [value])
        for part in as_option(name, each)
    ]
    return shlex.join(["ff", "train", *options])


def _shard(text: str) -> tuple[int, int]:
    number, _, shards = text.partition("/")
    if not (number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards) <= MAX_CELLS):
        raise BadOption(f"--shard {text}: give the number of a share and how many there are, such as 3/16")
    return int(number), int(shards)


def _check_number(lists: Mapping[str, Sequence[Any]], tables: Sequence[int], confirm: Callable[[int], None]) -> None:
    """Ask before many cells are made. Raises BadOption for more than MAX_CELLS."""
    of_tables = ("dataset", "neg") if tables else ()
    number = prod(len(values) for name, values in lists.items() if name not in of_tables)
    number *= len(table_cells(tables)) if tables else 1
    if number > MAX_CELLS:
        raise BadOption(f"these are {number:,} runs: give shorter lists, for at most {MAX_CELLS:,}")
    if number > MANY_CELLS:
        confirm(number)


def resolve(settings: Settings, data: DataRef, *, device: str = "cpu") -> RunConfig:
    """Return the run that `settings` ask for on `data`.

    Raises:
        BadOption: if the settings do not fit the data or the device.
    """
    preset, schedule = PRESETS[settings.preset], settings.schedule
    scaling = settings.lr_scaling or default_scaling(settings.cure)
    preset_settings = _preset_settings(settings, preset)
    lr = preset_settings.lr
    config = RunConfig(
        **{name: getattr(settings, name) for name in ProtocolSettings.model_fields},
        **preset_settings.model_dump(),
        data=data,
        negatives=settings.neg,
        schedule=schedule,
        epochs=settings.epochs or preset.epochs,
        lr_positive=positive_lr(lr, schedule, scaling),
        lr_negative=lr,
        lr_scaling=scaling,
        mask_blur=settings.mask_blur if STRATEGIES[settings.neg].masks else None,
        seed=settings.seed,
        device=device_kind(device),
        warmup=_warmup(settings),
    )
    check_fits(config)
    return config


def check_fits(config: RunConfig) -> None:
    """Check that the settings fit the data, the device and each other.

    Raises:
        BadOption: if they do not.
    """
    data = config.data
    if config.precision == "tf32" and config.device == "cpu":
        raise BadOption("--precision tf32 needs a CUDA device: on the CPU use float32, float64 or bf16")
    if (config.cure.samples or 0) > config.batch_size:
        raise BadOption(f"--cure {config.cure} keeps more than a batch: give at most replay:{config.batch_size}")
    if data.classes > data.features:
        raise BadOption(
            f"{data.name} has {data.classes} classes but only {data.features} features: a label needs one feature per"
            " class"
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


def settings_of(config: RunConfig) -> Settings:
    """Return the settings that ask for `config` again; only these are set explicitly."""
    data, schedule = config.data, config.schedule
    same = [name for name in RunConfig.model_fields if name in Settings.model_fields]
    values = {name: getattr(config, name) for name in same} | {
        "dataset": data.path or data.name,
        "data": "auto" if data.source == "file" else data.source,
        "neg": config.negatives,
        "pos_phase": schedule.positive or None,
        "neg_phase": schedule.negative or None,
        "unseparated": not schedule.separated,
        "preset": config.preset if config.preset in PRESETS else Settings.model_fields["preset"].default,
    }
    if config.mask_blur is None:
        del values["mask_blur"]
    if (lr := automatic_lr_origin(config)) is not None:
        base = next(preset for preset in nearest_presets(config) if preset.lr == lr)
        values |= {"lr": definitions.AUTO, "preset": base.label}
        del values["warmup"]
    return Settings(**values)


def to_toml(config: RunConfig) -> str:
    """Return a TOML file for `--config` that asks for `config` again; control characters are written as escapes."""
    import tomli_w

    kept = settings_of(config).model_dump(mode="json", exclude_none=True, exclude_unset=True)
    text = tomli_w.dumps({name: kept[name] for name in definitions.names() if name in kept and name != "device"})
    return "\n".join(CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in text.split("\n"))


def traced_phases(text: str, config: RunConfig) -> tuple[int, ...]:
    """Parse the value of `--trace`: `1-4,37` becomes (1, 2, 3, 4, 37).

    Raises:
        BadOption: if the run has no such phase.
    """
    if not config.schedule.separated:
        raise BadOption("--trace records phases, and an unseparated run has none: leave out --trace or --unseparated")
    last = phase_number(config.schedule, config.hours - 1)
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise BadOption(f"--trace '{text}': give phases, counted from 1, such as 1-4,37") from error
    if min(asked.start for asked in ranges) < 1 or max(asked.stop for asked in ranges) > last + 1:
        have = "has" if config.epochs == 1 else "have"
        raise BadOption(
            f"--trace '{text}': {counted(config.epochs, 'epoch')} of {config.schedule} {have} phases 1 to {last}"
        )
    return tuple(sorted({phase for asked in ranges for phase in asked}))


def table_cells(numbers: Sequence[int]) -> list[Values]:
    """Return the settings of the cells of the paper's tables; a cell of both tables occurs once (52 in all)."""
    cells = {
        (dataset, negatives, schedule): {"dataset": dataset, "neg": negatives, **phase_settings(schedule)}
        for number in numbers
        for (dataset, negatives), row in paper_tables()[number].rows.items()
        for schedule in row
    }
    return list(cells.values())


def phase_settings(schedule: Schedule) -> Values:
    """Return the settings that make a schedule."""
    if not schedule.separated:
        return {"unseparated": True}
    return {"pos_phase": schedule.positive, "neg_phase": schedule.negative}


def combinations(lists: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Return every combination of the lists' values."""
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def restricted(cells: Iterable[Values], lists: Mapping[str, Sequence[Any]]) -> list[Values]:
    """Return the cells whose dataset and negatives are in `lists`, combined with its other lists.

    Raises:
        BadOption: if `lists` has phases, which a table defines.
    """
    if clash := [name for name in PHASES if name in lists]:
        raise BadOption(f"--table defines the phases: leave out {option(clash[0])} or --table")
    rows = {name: set(lists[name]) for name in ("dataset", "neg") if name in lists}
    kept = [cell for cell in cells if all(cell[name] in wanted for name, wanted in rows.items())]
    others = combinations({name: values for name, values in lists.items() if name not in rows})
    return [cell | other for cell in kept for other in others]


def _blurred_with_masks(cells: Sequence[Values]) -> Sequence[Values]:
    """Remove the blur of masks from cells without masks, if there are others that it is meant for."""

    def masks(cell: Values) -> bool:
        negatives = cell.get("neg", Settings.model_fields["neg"].default)
        return negatives in STRATEGIES and STRATEGIES[negatives].masks

    if not any(map(masks, cells)):
        return cells
    return [cell if masks(cell) else {name: cell[name] for name in cell if name != "mask_blur"} for cell in cells]


def split_list(name: str, value: Any) -> list[Any]:
    """Return the values of a setting of a sweep: `1,2,4` becomes ["1", "2", "4"]; seeds may be ranges.

    Raises:
        BadOption: if a part is empty.
    """
    if name == "seed":
        return seed_list(value)
    if not isinstance(value, str) or definitions.setting(name).in_sweep != "list":
        return [value]
    separator = ";" if definitions.setting(name).kind == "sizes" else ","
    parts = [part.strip() for part in value.split(separator)]
    if "" in parts:
        example = "500,500;1000,1000" if separator == ";" else "1,2,4"
        raise BadOption(f"{option(name)} '{value}': give values separated by '{separator}', such as {example}")
    return parts


def seed_list(text: str, where: str = "--seeds") -> list[int]:
    """Parse the value of `--seeds`: `0-4` or `0,2,5-7`.

    Args:
        text: the value.
        where: the option or the place in a file that it comes from, for messages.

    Raises:
        BadOption: if it has another form.
    """
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise BadOption(f"{where} '{text}': give seeds such as 0-4 or 0,2,5") from error
    if (number := sum(some.stop - some.start for some in ranges)) > MAX_CELLS:
        raise BadOption(f"{where} '{text}': these are {number:,} seeds, give at most {MAX_CELLS:,}")
    return [seed for some in ranges for seed in some]


def read_grid(path: Path) -> tuple[dict[str, list[Any]], list[int]]:
    """Read a grid file: a value or a list of values for each setting, and optionally `table` and `seeds`.

    Returns:
        The lists by setting, and the numbers of tables.

    Raises:
        BadOption: if the file cannot be read or a value is wrong.
    """
    content, where = read_toml("--grid", path), f"--grid {path}"
    numbers = _as_list(content.pop("table", []))
    if wrong := [n for n in numbers if type(n) is not int or n not in paper_tables()]:
        raise BadOption(f"{where}: table should be {' or '.join(map(str, paper_tables()))}, not {wrong[0]!r}")
    if "seeds" in content:
        seeds = content.pop("seeds")
        content["seed"] = seed_list(seeds, f"{where}: seeds") if isinstance(seeds, str) else seeds
    known = [*(name for name in definitions.names() if definitions.setting(name).in_sweep != "no"), "table", "seeds"]
    if extra := content.keys() - known:
        raise BadOption(f"{where}: {unknown('option', min(extra), known)}")
    lists = {name: _grid_values(name, value) for name, value in content.items()}
    for name, values in lists.items():
        if not values:
            raise BadOption(f"{where}: {name} should have at least one value")
        if len(values) > 1 and definitions.setting(name).in_sweep == "one":
            raise BadOption(f"{where}: {name} should have one value, not {len(values)}")
        for value in values:
            parse({name: value}, where)
    return lists, numbers


def read_toml(option: str, path: Path) -> Values:
    """Read the TOML file that `option` names.

    Raises:
        BadOption: if it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"{option} {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"{option} {path} is not a TOML file: {error}") from error
    except ValueError as error:
        raise BadOption(f"{option} {path} has a number of too many digits") from error
    except RecursionError as error:
        raise BadOption(f"{option} {path} has too many nested brackets") from error


def _read_settings(option: str, path: Path | None) -> Values:
    if path is None:
        return {}
    content = read_toml(option, path)
    parse(content, f"{option} {path}")
    return content


def _override(file: Values, given: Values) -> Values:
    """Values from a file, overridden by those from the command line together with the settings that these determine."""
    replaced: set[str] = set()
    if any(name in given for name in PHASES):
        replaced |= set(PHASES)
    if "neg" in given and not any(name in STRATEGIES and STRATEGIES[name].masks for name in _as_list(given["neg"])):
        replaced.add("mask_blur")
    if "preset" in given:
        replaced |= {"epochs", *PresetSettings.model_fields}
    if "cure" in given and _as_list(given["cure"]) != _as_list(file.get("cure", "none")):
        replaced |= {"lr", "lr_scaling", "warmup"}
    return {name: value for name, value in file.items() if name not in replaced} | given


def _resolve_all(settings: Sequence[Settings], device: str, folder: Path, notify: Notify) -> list[RunConfig]:
    if wrong := [s.neg for s in settings if "mask_blur" in s.model_fields_set and not STRATEGIES[s.neg].masks]:
        raise BadOption(f"--neg {wrong[0]} has no masks to blur: leave out --mask-blur, or give --neg masks")
    named = sorted({(s.dataset, s.data) for s in settings})
    refs = {(name, data): datasets.locate(name, wanted=data, folder=folder, notify=notify) for name, data in named}
    return [resolve(s, refs[s.dataset, s.data], device=device) for s in settings]


def _request(settings: Settings, device: str, *, trace: tuple[int, ...] = (), force: bool = False) -> Request:
    return Request(
        eval_every=settings.eval_every,
        device=device,
        threads=settings.threads,
        name=settings.name,
        tags=settings.tag,
        note=settings.note,
        trace=trace,
        keep_state=settings.keep_state,
        state_budget=settings.state_budget,
        force=force,
    )


def _preset_settings(settings: Settings, preset: Preset) -> PresetSettings:
    """The preset's values, replaced by those that were asked for."""
    asked = {name: getattr(settings, name) for name in PresetSettings.model_fields}
    values = {
        name: getattr(preset, name) if value in (None, definitions.AUTO) else value for name, value in asked.items()
    }
    if settings.has_automatic_lr:
        values["lr"] = automatic_lr(values["lr"], settings.schedule, values["updates_per_batch"], settings.cure)
    return PresetSettings(**values)


def _warmup(settings: Settings) -> int:
    if settings.warmup is not None:
        return settings.warmup
    return WARMUP if settings.has_automatic_lr else 0


def _grid_values(name: str, value: Any) -> list[Any]:
    """The values of a setting in a grid file. A list of layer sizes is one value, a list of such lists is several."""
    if definitions.setting(name).kind == "sizes" and isinstance(value, str):
        return split_list(name, value)
    if definitions.setting(name).kind == "sizes" and isinstance(value, list):
        return value if any(isinstance(size, list) for size in value) else [value]
    return [tuple(value)] if name == "tag" and isinstance(value, list) else _as_list(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
