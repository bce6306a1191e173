"""The rows of `ff bench`. Each compares the engine with the same mathematics done plainly, in turns.

Hours follow a schedule as in a run, so separated phases alternate. Both sides start from the same parameters and train
on the same data. Negatives are made in advance; making them is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ffcli.bench import ours, plain, products
from ffcli.bench.items import TORCHVISION, items_of
from ffcli.bench.measuring import Contestant, medians, using_threads
from ffcli.bench.setting import Setting
from ffcli.benchmark import Row
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.engine.labels import Labelled
from ffcli.engine.network import EVALUATED_ROWS
from ffcli.machine import bf16_instructions, cores
from ffcli.planning import resolve
from ffcli.settings import Settings

MARKS = {
    "separated-1-thread": 1.4,
    "separated-2-threads": 1.6,
    "unseparated-label": 2.2,
    "unseparated-masks": 1.5,
    "separated-bf16": 2.8,
    "evaluate": 1.6,
    "evaluate-bf16": 3.0,
    "masks": 10.0,
    "load": 20.0,
    "gemm-share": 0.9,
}
"""Smallest ratio of each row that is good enough, for networks of `setting.SIZE`."""

FULL_TRAIN = 60_000
"""Training images of the full MNIST dataset."""


def separated_1_thread(setting: Setting) -> Row:
    """Measure an hour of separated phases with one thread."""
    return _hours(setting, "separated-1-thread", setting.config(), setting.wrong_labels, threads=1)


def separated_2_threads(setting: Setting) -> Row:
    """Measure an hour of separated phases with two threads."""
    return _hours(setting, "separated-2-threads", setting.config(), setting.wrong_labels, threads=2)


def unseparated_label(setting: Setting) -> Row:
    """Measure an unseparated hour whose two halves are the same images, which the engine multiplies once."""
    config = setting.config(unseparated=True)
    return _hours(setting, "unseparated-label", config, setting.wrong_labels, shared_images=True)


def unseparated_masks(setting: Setting) -> Row:
    """Measure an unseparated hour with masks negatives."""
    return _hours(setting, "unseparated-masks", setting.config(unseparated=True), setting.masks)


def separated_bf16(setting: Setting) -> Row:
    """Measure an hour of separated phases with products in bfloat16; the baseline is in float32."""
    return _hours(setting, "separated-bf16", setting.config(precision="bf16"), setting.wrong_labels)


def evaluate(setting: Setting) -> Row:
    """Measure an evaluation."""
    return _evaluation(setting, "evaluate", setting.config())


def evaluate_bf16(setting: Setting) -> Row:
    """Measure an evaluation with products in bfloat16; the baseline is in float32."""
    return _evaluation(setting, "evaluate-bf16", setting.config(precision="bf16"))


def masks(setting: Setting) -> Row:
    """Measure making masks negatives; the baseline makes them image by image, with a convolution for each blur."""
    config, (_, *size) = setting.config(), setting.image_shape
    blur, classes = config.mask_blur or 0, config.data.classes
    contestants: list[Contestant] = [
        ours.masks(setting.data.negatives, setting.positive),
        plain.masks(setting.data.images, setting.positive, size=size, classes=classes, blur=blur),
    ]
    seconds, baseline = _timed(setting, contestants, warm_up=contestants)
    return _row(setting, "masks", seconds, baseline)


def load(setting: Setting) -> Row:
    """Measure loading MNIST from its prepared copy and training one hour; the baseline loops over torchvision's items.

    Without the full dataset, the sample is loaded and the times are scaled to the size of the full dataset.
    """
    available = {(entry.name, entry.source) for entry in datasets.inventory(setting.folder)}
    full = ("mnist", "full") in available and not setting.quick
    ref = datasets.locate("mnist", wanted="full", folder=setting.folder, notify=setting.notify) if full else setting.ref
    config = resolve(Settings(hidden=setting.options.hidden), ref)
    looped = 1000 if setting.quick else ref.train
    notes = [] if full else [f"measured on {ref.train:,} images of the sample and scaled to {FULL_TRAIN:,}"]
    with items_of(datasets.load(ref, setting.folder), looped) as (items, maker), using_threads(setting.threads):
        if maker != TORCHVISION:
            notes.append(f"torchvision is not installed: the items of the baseline are made by {maker}")
        first = ours.first_update(config, ref, setting.folder)
        first()
        seconds, baseline = medians(first, plain.first_update(config, items), seconds=setting.seconds, min_rounds=1)
    scaled = (seconds * FULL_TRAIN / ref.train, baseline * FULL_TRAIN / looped)
    return _row(setting, "load", *scaled, notes=notes)


def gemm_share(setting: Setting) -> Row:
    """Measure the share of an hour of separated phases that its matrix products take alone."""

    def contestants(config: RunConfig) -> list[Contestant]:
        return [ours.hours(config, setting.positive, setting.wrong_labels), products.of_hour(config)]

    config = setting.config()
    hour, alone = _timed(setting, contestants(config), warm_up=contestants(_with_one_update(config)))
    return _row(setting, "gemm-share", hour, alone, ratio=alone / hour, alone=alone)


ROWS: dict[str, Callable[[Setting], Row]] = {
    "separated-1-thread": separated_1_thread,
    "separated-2-threads": separated_2_threads,
    "unseparated-label": unseparated_label,
    "unseparated-masks": unseparated_masks,
    "separated-bf16": separated_bf16,
    "evaluate": evaluate,
    "evaluate-bf16": evaluate_bf16,
    "masks": masks,
    "load": load,
    "gemm-share": gemm_share,
}


def _hours(
    setting: Setting,
    name: str,
    config: RunConfig,
    negative: Labelled,
    *,
    threads: int | None = None,
    shared_images: bool = False,
) -> Row:
    """Measure an hour on `setting.positive` and this negative data."""

    def contestants(config: RunConfig) -> list[Contestant]:
        return [
            ours.hours(config, setting.positive, negative),
            plain.hours(config, setting.positive, negative),
            products.of_hour(config, shared_images=shared_images),
        ]

    warm_up = contestants(_with_one_update(config))
    seconds, baseline, alone = _timed(setting, contestants(config), warm_up=warm_up, threads=threads)
    return _row(setting, name, seconds, baseline, alone=alone)


def _evaluation(setting: Setting, name: str, config: RunConfig) -> Row:
    """Measure an evaluation of `setting.evaluated`."""

    def contestants(data: Labelled) -> list[Contestant]:
        wrong = (data.labels + 1) % config.data.classes
        return [
            ours.evaluation(config, data, wrong),
            plain.evaluation(config, data),
            products.of_evaluation(config, len(data.labels)),
        ]

    data = setting.evaluated
    few = data._replace(images=data.images[:EVALUATED_ROWS], labels=data.labels[:EVALUATED_ROWS])
    seconds, baseline, alone = _timed(setting, contestants(data), warm_up=contestants(few))
    return _row(setting, name, seconds, baseline, alone=alone)


def _timed(
    setting: Setting, contestants: list[Contestant], *, warm_up: list[Contestant], threads: int | None = None
) -> list[float]:
    """Return the median time of each contestant in seconds, after calling each of `warm_up` once."""
    with using_threads(threads or setting.threads):
        for first in warm_up:
            first()
        return medians(*contestants, seconds=setting.seconds)


def _row(
    setting: Setting,
    name: str,
    seconds: float,
    baseline: float,
    *,
    ratio: float | None = None,
    alone: float | None = None,
    notes: list[str] | None = None,
) -> Row:
    """Return the row, with its mark or the reason why it has none. `alone`: seconds of the matrix products alone."""
    reason = _why_not_judged(setting, name)
    return Row(
        name=name,
        seconds=seconds,
        baseline_seconds=baseline,
        ratio=baseline / seconds if ratio is None else ratio,
        mark=None if reason else MARKS[name],
        products_share=None if alone is None else alone / seconds,
        note="; ".join([reason] * bool(reason) + (notes or [])) or None,
    )


def _why_not_judged(setting: Setting, name: str) -> str:
    """Return why a row has no mark on this machine; empty if it has one."""
    if setting.quick:
        return "no mark for a network this small"
    if name.endswith("bf16") and bf16_instructions() is None:
        return "no mark: this processor has neither AVX512-BF16 nor AMX"
    if name == "separated-2-threads" and cores() < 2:
        return "no mark: this machine has one core"
    return ""


def _with_one_update(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"updates_per_batch": 1})
