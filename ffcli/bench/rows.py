"""The rows of `ff bench`: each the engine against the same mathematics done plainly, in turns, in one run.

Hours are those of a run: a separated one is awake or asleep by turns. Both sides start from the same weights, see the
same data and have their negatives at hand; what making negatives costs is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ffcli.bench import ours, plain, products
from ffcli.bench.items import TORCHVISION, items_of
from ffcli.bench.measuring import Contestant, medians, threads
from ffcli.bench.setting import Setting
from ffcli.benchmark import Row
from ffcli.config import RunConfig
from ffcli.data import datasets
from ffcli.engine.labels import Labelled
from ffcli.engine.network import CHUNK
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
"""What each row's ratio is to reach at least, at the size of `setting.SIZE`."""

FULL_TRAIN = 60_000
"""Training images of the full MNIST."""


def separated_1_thread(setting: Setting) -> Row:
    return _hours(setting, "separated-1-thread", setting.config(), setting.wrong, on=1)


def separated_2_threads(setting: Setting) -> Row:
    return _hours(setting, "separated-2-threads", setting.config(), setting.wrong, on=2)


def unseparated_label(setting: Setting) -> Row:
    """Both halves are the same images, which the engine multiplies once."""
    config = setting.config(unseparated=True)
    return _hours(setting, "unseparated-label", config, setting.wrong, shared_images=True)


def unseparated_masks(setting: Setting) -> Row:
    return _hours(setting, "unseparated-masks", setting.config(unseparated=True), setting.joined)


def separated_bf16(setting: Setting) -> Row:
    return _hours(setting, "separated-bf16", setting.config(precision="bf16"), setting.wrong)


def evaluate(setting: Setting) -> Row:
    return _evaluation(setting, "evaluate", setting.config())


def evaluate_bf16(setting: Setting) -> Row:
    return _evaluation(setting, "evaluate-bf16", setting.config(precision="bf16"))


def masks(setting: Setting) -> Row:
    """Negatives for a batch, against making them image by image with a convolution for each blur."""
    config, (_, *size) = setting.config(), setting.image_shape
    blur, classes = config.mask_blur or 0, config.data.classes
    contestants: list[Contestant] = [
        ours.masks(setting.data.negatives, setting.awake),
        plain.masks(setting.data.images, setting.awake, size=size, classes=classes, blur=blur),
    ]
    seconds, baseline = _timed(setting, contestants, warm_up=contestants)
    return _judged(setting, "masks", seconds, baseline)


def load(setting: Setting) -> Row:
    """MNIST from its prepared copy to the end of the first update, against looping over torchvision's items.

    Where the full set is not here, the sample is loaded and the times are scaled to the full set's size.
    """
    here = {(entry.name, entry.source) for entry in datasets.inventory(setting.folder)}
    full = ("mnist", "full") in here and not setting.quick
    ref = datasets.locate("mnist", wanted="full", folder=setting.folder, notify=setting.notify) if full else setting.ref
    config = resolve(Settings(hidden=setting.options.hidden), ref)
    looped = 1000 if setting.quick else ref.train
    notes = [] if full else [f"measured on {ref.train:,} images of the sample and scaled to {FULL_TRAIN:,}"]
    with items_of(datasets.load(ref, setting.folder), looped) as (items, maker), threads(setting.threads):
        if maker != TORCHVISION:
            notes.append(f"torchvision is not here: the baseline's items are made by {maker}")
        first = ours.first_update(config, ref, setting.folder)
        first()
        seconds, baseline = medians(first, plain.first_update(config, items), seconds=setting.seconds, least=1)
    scaled = (seconds * FULL_TRAIN / ref.train, baseline * FULL_TRAIN / looped)
    return _judged(setting, "load", *scaled, notes=notes)


def gemm_share(setting: Setting) -> Row:
    """The share of a separated hour that its matrix products take alone."""

    def contestants(config: RunConfig) -> list[Contestant]:
        return [ours.hours(config, setting.awake, setting.wrong), products.of_hour(config)]

    config = setting.config()
    hour, alone = _timed(setting, contestants(config), warm_up=contestants(_with_one_update(config)))
    return _judged(setting, "gemm-share", hour, alone, ratio=alone / hour, alone=alone)


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
    asleep: Labelled,
    *,
    on: int | None = None,
    shared_images: bool = False,
) -> Row:
    def contestants(config: RunConfig) -> list[Contestant]:
        return [
            ours.hours(config, setting.awake, asleep),
            plain.hours(config, setting.awake, asleep),
            products.of_hour(config, shared_images=shared_images),
        ]

    warm_up = contestants(_with_one_update(config))
    seconds, baseline, alone = _timed(setting, contestants(config), warm_up=warm_up, on=on)
    return _judged(setting, name, seconds, baseline, alone=alone)


def _evaluation(setting: Setting, name: str, config: RunConfig) -> Row:
    def contestants(data: Labelled) -> list[Contestant]:
        wrong = (data.labels + 1) % config.data.classes
        return [
            ours.evaluation(config, data, wrong),
            plain.evaluation(config, data),
            products.of_evaluation(config, len(data.labels)),
        ]

    data = setting.evaluated
    few = data._replace(images=data.images[:CHUNK], labels=data.labels[:CHUNK])
    seconds, baseline, alone = _timed(setting, contestants(data), warm_up=contestants(few))
    return _judged(setting, name, seconds, baseline, alone=alone)


def _timed(
    setting: Setting, contestants: list[Contestant], *, warm_up: list[Contestant], on: int | None = None
) -> list[float]:
    """Median seconds of each, `on` so many threads; `warm_up` pays what only the first call costs."""
    with threads(on or setting.threads):
        for first in warm_up:
            first()
        return medians(*contestants, seconds=setting.seconds)


def _judged(
    setting: Setting,
    name: str,
    seconds: float,
    baseline: float,
    *,
    ratio: float | None = None,
    alone: float | None = None,
    notes: list[str] | None = None,
) -> Row:
    cannot = _cannot_be_asked(setting, name)
    return Row(
        name=name,
        seconds=seconds,
        baseline_seconds=baseline,
        ratio=baseline / seconds if ratio is None else ratio,
        mark=None if cannot else MARKS[name],
        products_share=None if alone is None else alone / seconds,
        note="; ".join([cannot] * bool(cannot) + (notes or [])) or None,
    )


def _cannot_be_asked(setting: Setting, name: str) -> str:
    """Why a row's mark cannot be asked of this machine; empty where it can."""
    if setting.quick:
        return "no mark for a network this small"
    if name.endswith("bf16") and bf16_instructions() is None:
        return "not here: this processor has neither AVX512-BF16 nor AMX"
    if name == "separated-2-threads" and cores() < 2:
        return "not here: this machine has one core"
    return ""


def _with_one_update(config: RunConfig) -> RunConfig:
    return config.model_copy(update={"updates_per_batch": 1})
