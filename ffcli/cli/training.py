"""What `ff train` does with its options: merge, resolve, run, print."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ffcli.cli.console import message, out, print_json
from ffcli.cli.words import describe, duration, published_line, status_text
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.data.negatives import STRATEGIES
from ffcli.errors import BadOption, Diverged
from ffcli.estimate import seconds_left
from ffcli.machine import choose_device, device_kind
from ffcli.options import options_of, parse_options, read_toml, resolve
from ffcli.records import config_json, epoch_json, run_json
from ffcli.running.run import Answer, Request, is_answered, run
from ffcli.schedule import phase_number
from ffcli.store import runs
from ffcli.store.database import Store, open_store
from ffcli.store.traces import traced
from ffcli.text import counted, named, parse_ranges, unknown

LOCK_TIMEOUT = 60.0
"""Seconds that a training waits for another process's lock before it gives up an epoch's commit."""

Asked = dict[str, Any]

MAX_THREADS = 1024
"""Many more end torch with a crash."""

OF_A_PRESET = ("lr", "updates_per_batch", "epochs")
"""What a preset settles: another preset on the command line goes before a file's values of these."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, resolved."""

    config: RunConfig
    request: Request
    data_folder: Path


def resolve_train(
    asked: Asked,
    request: Request,
    *,
    config_file: Path | None,
    balanced: bool,
    trace: str | None,
    data_dir: Path | None,
) -> Plan:
    """The flags over the file over the defaults, closed against the data; the device that `auto` is here; and the
    phases to trace."""
    options = parse_options(merge(asked, _read_config(config_file), balanced))
    if options.neg not in STRATEGIES:
        raise BadOption(unknown("negatives", options.neg, STRATEGIES))
    if request.eval_every < 1:
        raise BadOption(f"--eval-every should be at least 1, not {request.eval_every}")
    if request.threads is not None and not 1 <= request.threads <= MAX_THREADS:
        raise BadOption(f"--threads should be 1 to {MAX_THREADS}, not {request.threads}")
    device, folder = choose_device(request.device), data_dir or datasets.default_folder()
    ref = datasets.locate(options.dataset, wanted=options.data, folder=folder, notify=message)
    uses_masks = STRATEGIES[options.neg].masks
    config = resolve(options, ref, device=device_kind(device), uses_masks=uses_masks)
    traced = traced_phases(trace, config) if trace is not None else ()
    if config.warmup > config.hours:
        message(
            f"the rate never reaches its full height: --epochs {config.epochs} is {counted(config.hours, 'hour')},"
            f" --warmup {config.warmup} takes longer"
        )
    return Plan(config, replace(request, device=device, trace=traced), folder)


def train_and_show(plan: Plan, *, db: str | None, json: bool, quiet: bool) -> None:
    """Train or look up one run, and print it."""
    from ffcli.cli.live import watching_training

    config = plan.config
    with open_store(db, timeout=LOCK_TIMEOUT) as store:
        try:
            with watching_training(quiet=quiet) as watcher:
                answer = run(config, plan.request, store, plan.data_folder, watcher)
        except Diverged:
            if json and (failed := runs.find(store, config.key)):
                print_json(answer_json(Answer(failed, runs.epochs(store, failed.id), cached=True), config))
            raise
        if json:
            print_json(answer_json(answer, config))
        else:
            show_answer(store, answer, config)


def show_plan(plan: Plan, *, db: str | None, json: bool) -> None:
    """`--dry-run`: the resolved config, its key, whether it is stored, and the time it would take."""
    config = plan.config
    with open_store(db, create=False) as store:
        found = runs.find(store, config.key)
        cached = not plan.request.force and found is not None and is_answered(store, config)
        done = found.epochs_done if found and found.status in ("interrupted", "stale") else 0
        seconds, measured = seconds_left(config, done, measured_here(store))
    planned = {
        "key": config.key,
        "cached": cached,
        "status": found.status if found else None,
        "epochs_done": found.epochs_done if found else 0,
        "estimated_seconds": 0.0 if cached else round(seconds, 1),
        "estimate_measured": measured,
        "config": config_json(config),
    }
    if json:
        print_json(planned)
        return
    console = out()
    console.print(describe(config), style="bold", markup=False)
    console.print(f"key {config.key}")
    for name, value in config_json(config).items():
        if name != "data":
            console.print(f"  {name:18}{'-' if value is None else value}", markup=False)
    data = config.data
    console.print(f"  {'data':18}{data.label}, {data.train} training and {data.test} test images", markup=False)
    if cached:
        console.print("stored: `ff train` answers at once")
    else:
        how = "measured on this machine" if measured else "a rough guess: nothing was measured here yet"
        console.print(f"not stored: about {duration(seconds)} ({how})")


def merge(asked: Asked, file: Asked, balanced: bool) -> Asked:
    """The options that were given, flags before the file's. Raises BadOption where flags contradict each other."""
    flags = {name: value for name, value in asked.items() if value is not None}
    phases = {"pos_phase", "neg_phase", "unseparated"}
    if balanced and ("neg_phase" in flags or flags.get("unseparated")):
        other = "--neg-phase" if "neg_phase" in flags else "--unseparated"
        raise BadOption(f"--balanced means --neg-phase as long as --pos-phase: leave out one of --balanced and {other}")
    if balanced or phases & flags.keys():
        file = {name: value for name, value in file.items() if name not in phases}
    if "preset" in flags:
        file = {name: value for name, value in file.items() if name not in OF_A_PRESET}
    if balanced:
        flags["neg_phase"] = flags.setdefault("pos_phase", 1)
    if "hidden" in flags:
        flags["hidden"] = layer_sizes(flags["hidden"])
    return file | flags


def traced_phases(text: str, config: RunConfig) -> tuple[int, ...]:
    """`1-4,37` -> the phases. Raises BadOption where the run has no such phase."""
    if not config.schedule.separated:
        raise BadOption("--trace follows phases, and unseparated hours have none: leave out --trace, or --unseparated")
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


def answer_json(answer: Answer, config: RunConfig) -> dict[str, Any]:
    """`ff train --json`: the run, read at the epochs that were asked for."""
    return run_json(answer.run) | {
        "cached": answer.cached,
        "config": config_json(config),
        "epochs": [epoch_json(e) for e in answer.epochs],
        "best_accuracy": answer.best_accuracy,
        "final_accuracy": answer.final_accuracy,
        "seconds": sum(e.seconds for e in answer.epochs),
    }


def show_answer(store: Store, answer: Answer, config: RunConfig) -> None:
    """The result, its place beside the published cell, and the run's id."""
    console = out()
    short = runs.short_ids(store, [answer.run.id])[answer.run.id]
    best = max((e for e in answer.epochs if e.accuracy == answer.best_accuracy), key=lambda e: e.epoch, default=None)
    chosen = "by held-out images" if config.holdout else "best on the test set"
    console.print(describe(config), style="bold", markup=False)
    console.print(
        f"accuracy [bold]{_percent(answer.final_accuracy)}[/] after {counted(config.epochs, 'epoch')}"
        + (f", {_percent(answer.best_accuracy)} in epoch {best.epoch} ({chosen})" if best else "")
    )
    if line := published_line(config, answer.final_accuracy):
        console.print(line)
    if answer.cached:
        console.print(f"run {short}, from the store: trained {answer.run.started.astimezone():%Y-%m-%d %H:%M}")
    else:
        console.print(f"run {short}, {duration(sum(e.seconds for e in answer.epochs))} of training: `ff show {short}`")
    if phases := set(traced(store, answer.run.id).values()):
        console.print(f"trace of {named('phase', phases)}: `ff plot trace {short}`")
    if answer.run.status not in ("completed", "running"):
        console.print(f"(the stored run goes further and is {status_text(answer.run.status)})")


def measured_here(store: Store) -> list[Any]:
    """Runs that were trained on this machine, for estimating the next."""
    import socket

    here = socket.gethostname()
    recent = runs.list_runs(store, runs.Filters(limit=50))
    return [r for r in recent if r.epochs_done and any(stretch.host == here for stretch in r.provenance)]


def toml_of(config: RunConfig) -> str:
    """The options that ask for this run again, as TOML."""
    import tomli_w

    return tomli_w.dumps(options_of(config).model_dump(mode="json", exclude_none=True))


def _read_config(path: Path | None) -> Asked:
    if path is None:
        return {}
    content = read_toml("--config", path)
    parse_options(content, f"--config {path}")
    return content


def layer_sizes(text: str) -> tuple[int, ...]:
    """`500,500,500` -> its numbers. Raises BadOption."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise BadOption(f"--hidden '{text}': give positive whole numbers with commas between, such as 500,500,500")
    return sizes


def _percent(accuracy: float | None) -> str:
    return "-" if accuracy is None else f"{accuracy:.2f} %"
