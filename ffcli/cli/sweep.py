"""`ff sweep`: many cells, only what is missing, on every core."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ffcli.cli.train import HOW, WHAT, WHERE, DatabaseOption, DataFolderOption, JsonOption, option


def sweep(
    table: Annotated[
        list[int] | None, option("The cells of the paper's table 1 or 2; may be repeated.", panel=WHAT)
    ] = None,
    grid: Annotated[Path | None, option("Lists of options from a TOML file; flags go before.", panel=WHAT)] = None,
    dataset: Annotated[str | None, option("Data sets, with commas between.", default="mnist", panel=WHAT)] = None,
    data: Annotated[
        str | None, option("auto, full, or the sample that ships.", env="FFCLI_DATA", default="auto", panel=WHAT)
    ] = None,
    neg: Annotated[str | None, option("Negatives: label, masks.", default="label", panel=WHAT)] = None,
    pos_phase: Annotated[str | None, option("Hours awake, such as 1,2,4.", default="1", panel=WHAT)] = None,
    neg_phase: Annotated[str | None, option("Hours asleep, such as 1,2,4.", default="1", panel=WHAT)] = None,
    balanced: Annotated[bool, option("As many hours asleep as awake.", "--balanced", panel=WHAT)] = False,
    unseparated: Annotated[
        bool | None, option("No phases: both kinds in every hour.", "--unseparated", panel=WHAT)
    ] = None,
    seeds: Annotated[str | None, option("Seeds, such as 0-4 or 0,2,5.", default="0", panel=WHAT)] = None,
    preset: Annotated[str | None, option("Presets: fast, paper.", default="fast", panel=HOW)] = None,
    epochs: Annotated[str | None, option("Epochs.", default="the preset's", panel=HOW)] = None,
    lr: Annotated[
        str | None, option("Learning rates, or auto.", default="the preset's; auto with a cure", panel=HOW)
    ] = None,
    lr_scaling: Annotated[
        str | None, option("Rate of the positive phase.", default="ratio; none with a cure", panel=HOW)
    ] = None,
    updates_per_batch: Annotated[
        str | None, option("Adam steps a layer takes on each batch.", default="the preset's", panel=HOW)
    ] = None,
    batch_size: Annotated[str | None, option("Images an hour.", default="512", panel=HOW)] = None,
    threshold: Annotated[str | None, option("Goodness that tells the kinds apart.", default="1.5", panel=HOW)] = None,
    hidden: Annotated[str | None, option("Units of each layer (one value).", default="500,500,500", panel=HOW)] = None,
    mask_blur: Annotated[str | None, option("Times a mask is blurred.", default="5", panel=HOW)] = None,
    holdout: Annotated[str | None, option("Training images held out.", default="0", panel=HOW)] = None,
    precision: Annotated[str | None, option("float32, float64, bf16, tf32.", default="float32", panel=HOW)] = None,
    cure: Annotated[str | None, option("none, gradient-memory, replay:SAMPLES.", default="none", panel=HOW)] = None,
    warmup: Annotated[
        str | None, option("Hours over which the rate rises.", default="0; 256 with --lr auto", panel=HOW)
    ] = None,
    beta1: Annotated[str | None, option("Decay rate of Adam's first moment.", default="0.9", panel=HOW)] = None,
    beta2: Annotated[str | None, option("Decay rate of Adam's second moment.", default="0.999", panel=HOW)] = None,
    eval_every: Annotated[int, option("Evaluate every so many epochs.", default="1", panel=HOW)] = 1,
    workers: Annotated[
        int | None, option("Workers.", env="FFCLI_WORKERS", default="one a core, or a GPU", panel=WHERE)
    ] = None,
    device: Annotated[
        str, option("auto, cpu, cuda or cuda:N.", env="FFCLI_DEVICE", default="auto", panel=WHERE)
    ] = "auto",
    threads: Annotated[int, option("Threads of each worker.", default="1", panel=WHERE)] = 1,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    tag: Annotated[list[str] | None, option("A tag; may be repeated.", panel=WHERE)] = None,
    note: Annotated[str | None, option("A note.", panel=WHERE)] = None,
    keep_state: Annotated[
        bool, option("Keep the full states, so that more epochs continue.", "--keep-state", panel=WHERE)
    ] = False,
    dry_run: Annotated[bool, option("Show the cells, which are stored, and how long it takes.", "--dry-run")] = False,
    json: JsonOption = False,
    quiet: Annotated[bool, option("No progress.", "--quiet", "-q")] = False,
) -> None:
    """Train every cell of the paper's tables, or of a grid, that is not stored yet.

    Any option may be a list with commas between. Kill it, or run it twice at once: it ends with the same tables.
    """
    from ffcli.cli.sweeping import resolve_sweep, show_sweep_plan, sweep_and_show
    from ffcli.running.run import Request

    asked = {
        "dataset": dataset, "data": data, "neg": neg, "pos_phase": pos_phase, "neg_phase": neg_phase,
        "unseparated": unseparated, "seeds": seeds, "preset": preset, "epochs": epochs, "lr": lr,
        "lr_scaling": lr_scaling, "updates_per_batch": updates_per_batch, "batch_size": batch_size,
        "threshold": threshold, "hidden": hidden, "mask_blur": mask_blur, "holdout": holdout, "precision": precision,
        "cure": cure, "warmup": warmup, "beta1": beta1, "beta2": beta2,
    }  # fmt: skip
    request = Request(
        eval_every=eval_every, device=device, threads=threads, tags=tuple(tag or ()), note=note, keep_state=keep_state
    )
    plan = resolve_sweep(asked, request, tables=table or [], grid=grid, balanced=balanced, data_dir=data_dir)
    if dry_run:
        show_sweep_plan(plan, workers=workers, db=db, json=json)
    else:
        sweep_and_show(plan, workers=workers, db=db, json=json, quiet=quiet)
