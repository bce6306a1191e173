"""Comparisons of two sides over the same cells and seeds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_report_protocol import data_ref, outcome

from ffcli.config import DataRef, RunConfig
from ffcli.errors import BadOption
from ffcli.records import Outcome
from ffcli.report.comparison import Comparison, compare, comparison_document
from ffcli.report.difference import Difference, difference_of
from ffcli.report.pairing import Pairing, pair
from ffcli.report.selectors import parse_selector
from ffcli.report.writers import as_markdown


def at(runs: Iterable[Outcome]) -> Callable[[int], list[Outcome]]:
    """Return a function that gives the outcomes at a horizon of runs with constant accuracy."""
    return lambda horizon: [
        Outcome(
            o.run, horizon, min(o.run.epochs_done, horizon), o.best if o.run.epochs_done >= horizon else None,
            o.best, o.best,
        )
        for o in runs
    ]  # fmt: skip


def compared(runs: Sequence[Outcome], a: str, b: str, *only: str, **options: Any) -> tuple[list[Comparison], Pairing]:
    sides = [parse_selector(text) for text in (a, b, *only)]
    return compare([o.run for o in runs], at(runs), sides[0], sides[1], only=sides[2:], **options)


def one(runs: Sequence[Outcome], a: str, b: str, *only: str, **options: Any) -> Comparison:
    (comparison,), _ = compared(runs, a, b, *only, **options)
    return comparison


def markdown(runs: Sequence[Outcome], a: str, b: str) -> str:
    comparisons, pairing = compared(runs, a, b)
    return as_markdown(comparison_document(comparisons, pairing, parse_selector(a), parse_selector(b), ()))


def overall(comparison: Comparison) -> Difference:
    assert comparison.overall is not None
    return comparison.overall


def refusal(runs: Sequence[Outcome], a: str, b: str, *only: str, **options: Any) -> str:
    with pytest.raises(BadOption) as refused:
        compared(runs, a, b, *only, **options)
    return str(refused.value)


def test_pairs_share_cell_and_seed() -> None:
    runs = [
        *(outcome("16:1", 40.0 + seed, seed=seed) for seed in range(3)),
        *(outcome("16:1", 50.0 + 3 * seed, seed=seed, neg="masks") for seed in (2, 0, 1)),
        outcome("unseparated", 90.0),
        outcome("unseparated", 88.0, neg="masks"),
        outcome("1:1", 80.0, data=data_ref("fashion")),
        outcome("1:1", 70.0, neg="masks"),
        outcome("1:1", 75.0, seed=1),
        outcome("1:1", 10.0, status="superseded"),
    ]
    (comparison,), pairing = compared(runs, "neg=label", "neg=masks")
    cells = [(c.a.dataset, c.a.negatives, c.b.negatives, c.a.schedule, c.seeds) for c in comparison.cells]
    assert cells == [("mnist", "label", "masks", (0, 0), (0,)), ("mnist", "label", "masks", (16, 1), (0, 1, 2))]
    single, several = (cell.difference for cell in comparison.cells)
    assert (single.pairs, single.difference, single.interval, single.better) == (1, -2.0, None, None)
    assert (several.mean_a, several.mean_b, several.difference) == (41.0, 53.0, 12.0)
    assert several.interval == (10.0, 14.0)
    assert several.better == "b"
    assert (comparison.pairs, overall(comparison).difference) == (4, 8.5)
    assert (pairing.unpaired, pairing.in_both) == ((2, 1), 0)
    assert (comparison.protocol, comparison.data, comparison.epochs) == ("fast@1", "full", 20)


def test_cells_at_chance_on_both_sides_are_left_out() -> None:
    names = ("neg=label", "neg=masks")
    dead = [outcome("64:1", 9.8, seed=n, neg="label") for n in (0, 1)]
    dead += [outcome("64:1", 10.8, seed=n, neg="masks") for n in (0, 1)]
    half = [outcome("16:1", 9.8, neg="label"), outcome("16:1", 50.0, neg="masks")]
    comparison = one([*dead, *half], *names)
    assert [(c.a.schedule[0], c.learned) for c in comparison.cells] == [(16, True), (64, False)]
    assert (overall(comparison).pairs, round(overall(comparison).difference, 6)) == (1, 40.2)
    text = markdown([*dead, *half], *names)
    assert "| 64:1 | 9.8 | 10.8 | \N{EN DASH} | both at chance | 2 |  |" in text
    assert "1 cell (\N{EN DASH}) left out of that: no run of either side ever left chance there." in text
    assert one(dead, *names).overall is None
    assert markdown(dead, *names).endswith("\n\nNothing to compare: no run of either side ever left chance.\n")


SETTINGS: list[tuple[float, DataRef | None, dict[str, Any]]] = [
    (50.0, None, {}),
    (60.0, None, {"preset": "paper"}),
    (70.0, None, {"threshold": 2.0}),
    (80.0, None, {"lr_scaling": "none"}),
    (40.0, data_ref(source="sample"), {}),
]


def test_each_protocol_has_its_own_comparison() -> None:
    runs = [
        outcome("4:1", accuracy + (neg == "masks"), neg=neg, data=data, **options)
        for neg in ("label", "masks")
        for accuracy, data, options in SETTINGS
    ]
    found = {(c.protocol, c.data): c for c in compared(runs, "neg=label", "neg=masks")[0]}
    assert found.keys() == {
        ("fast@1", "full"), ("paper@1", "full"), ("fast@1 with threshold 2.0", "full"),
        ("fast@1 with lr scaling none", "full"), ("fast@1", "sample"),
    }  # fmt: skip
    assert all(c.pairs == 1 and overall(c).difference == 1 for c in found.values())
    assert found["paper@1", "full"].epochs == 500
    assert found["fast@1", "full"].epochs == 20
    only = one(runs, "neg=label", "neg=masks", "data=full", "threshold=1.5,preset=fast,lr-scaling=ratio")
    assert overall(only).mean_a == 50.0


def test_compared_presets_may_differ_in_rate_and_updates() -> None:
    runs = [
        outcome("4:1", accuracy, neg=neg, preset=preset, epochs=20)
        for neg in ("label", "masks")
        for preset, accuracy in (("fast", 50.0), ("paper", 60.0))
    ]
    comparison = one([*runs, outcome("4:1", preset="paper", epochs=20, threshold=2.0)], "preset=fast", "preset=paper")
    assert [c.a.negatives for c in comparison.cells] == ["label", "masks"], "with masks and without in one comparison"
    assert comparison.differing == {"lr": ((0.05,), (0.001,)), "updates_per_batch": ((1,), (50,))}
    assert comparison.protocol == ""


def test_runs_that_match_both_sides_are_left_out() -> None:
    runs = [
        outcome("4:1", 50.0),
        outcome("4:1", 55.0, lr_scaling="none"),
        outcome("4:4", 60.0, lr_scaling="none"),
        outcome("unseparated", 90.0),
    ]
    (comparison,), pairing = compared(runs, "lr_scaling=ratio", "lr_scaling=none")
    assert [(c.a.schedule, c.difference.difference) for c in comparison.cells] == [((4, 1), 5.0)]
    assert (pairing.in_both, pairing.unpaired) == (2, (0, 0))
    assert comparison.differing["lr_scaling"] == (("ratio",), ("none",))
    assert "every run with lr_scaling=ratio also has lr_scaling=none" in refusal(
        runs[2:], "lr_scaling=ratio", "lr_scaling=none"
    )


def test_masks_pair_with_runs_without_masks_but_not_with_another_blur() -> None:
    label, plain, blurred = (outcome(), outcome(neg="masks"), outcome(neg="masks", mask_blur=6))
    comparison = one([label, plain], "neg=label", "neg=masks")
    assert comparison.differing == {"neg": (("label",), ("masks",))}
    assert "mask_blur 5, 6: choose one, such as neg=masks,mask_blur=5" in refusal(
        [label, plain, blurred], "neg=label", "neg=masks"
    )
    assert one([label, plain, blurred], "neg=label", "neg=masks,mask_blur=6").protocol == "fast@1 with mask blur 6"
    compared_blur, pairing = compared([label, plain, blurred], "mask_blur=5", "mask_blur=6")
    assert (compared_blur[0].pairs, pairing.in_both) == (1, 1)


@pytest.mark.parametrize("cure", ["gradient-memory", "replay:512"])
@pytest.mark.parametrize("phases", ["1:1", "16:16", "16:1"])
def test_the_rule_for_the_learning_rate_is_part_of_a_cure(cure: str, phases: str) -> None:
    cured, plain = outcome(phases, 90.0, cure=cure), outcome(phases, 30.0)
    control = outcome(phases, 38.0, lr="auto", lr_scaling="none")
    usual = one([cured, plain], "cure=none", f"cure={cure}")
    assert (overall(usual).difference, usual.differing["lr"]) == (60.0, ((0.05,), ("auto",)))
    assert r"partners also differ in lr 0.05 \| auto" in markdown([cured, plain], "cure=none", f"cure={cure}")
    runs = [control, cured, plain]
    assert overall(one(runs, "cure=none", f"cure={cure}")).difference == 60.0
    assert overall(one(runs, f"cure={cure}", "cure=none")).difference == -60.0
    at_same = one(runs, "cure=none,lr=auto", f"cure={cure}")
    assert (overall(at_same).difference, "lr" in at_same.differing) == (52.0, False)
    if phases != "16:1":  # where the scaling of the control is another
        assert overall(one(runs, "lr=0.05,cure=none,warmup=0", "lr=auto,cure=none")).difference == 8.0
    assert overall(one([control, cured], "cure=none", f"cure={cure}")).difference == 52.0


def test_a_refusal_names_the_settings_that_differ_with_their_values() -> None:
    runs = [outcome("16:16", lr=0.02), outcome("16:16", cure="replay:64", lr=0.03, threshold=2.0)]
    assert refusal(runs, "cure=none", "cure=replay:64").endswith("they differ in lr 0.02 | 0.03; threshold 1.5 | 2.0")
    crossed = [outcome(seed=0), outcome(seed=1), outcome(neg="masks", seed=1, lr=0.02), outcome(neg="masks", seed=2)]
    assert refusal([*crossed, outcome(lr=0.02, seed=2)], "neg=label", "neg=masks").endswith(
        "the two that are most alike differ in seed 0 | 2"
    )


def test_compared_tags_may_differ_in_protocol() -> None:
    runs = [
        *(outcome("8:1", 20.0, seed=seed, tags=("baseline",)) for seed in (0, 1)),
        outcome("8:1", 60.0, seed=0, tags=("cured", "night"), threshold=2.0, lr_scaling="none"),
        outcome("8:1", 62.0, seed=1, tags=("cured",), threshold=3.0, lr_scaling="none"),
    ]
    comparison = one(runs, "tag=baseline", "tag=cured")
    assert overall(comparison).difference == 41.0
    assert comparison.differing == {"threshold": ((1.5,), (2.0, 3.0)), "lr_scaling": (("ratio",), ("none",))}
    rival = outcome("8:1", 65.0, seed=1, tags=("cured",), threshold=2.5)
    message = refusal([*runs, rival], "tag=baseline", "tag=cured")
    assert "tag=cured selects 2 runs of mnist label 8:1 seed 1, which differ in threshold 2.5, 3.0" in message
    assert "such as tag=cured,threshold=2.5" in message
    filtered = one([*runs, rival], "tag=cured,lr_scaling=none", "tag=baseline", "seed=1")
    assert overall(filtered).difference == -42.0
    assert "they differ in lr_scaling" in refusal(
        [outcome("8:1", tags=("x",)), outcome("8:1", tags=("x",), threshold=2.0, lr_scaling="none")],
        "threshold=1.5,tag=x",
        "threshold=2,tag=x",
    )


def test_datasets_and_phases_can_be_compared() -> None:
    runs = [
        outcome(f"{n}:{negative}", 90.0 - n + negative, data=data_ref(name))
        for n in (1, 16)
        for negative in (1, 2)
        for name in ("mnist", "fashion")
    ]
    found = one(runs, "pos_phase=1", "pos-phase=16")
    assert [(c.a.dataset, c.a.schedule, c.b.schedule) for c in found.cells] == [
        ("mnist", (1, 1), (16, 1)), ("mnist", (1, 2), (16, 2)),
        ("fashion", (1, 1), (16, 1)), ("fashion", (1, 2), (16, 2)),
    ]  # fmt: skip
    assert overall(found).difference == -15.0
    assert len(one(runs, "dataset=mnist", "dataset=fashion").cells) == 4
    sample = [outcome(f"{n}:1", data=data_ref(source="sample")) for n in (1, 16)]
    against = one([*runs, *sample], "data=full", "data=sample")
    assert (against.data, [c.a.dataset for c in against.cells]) == (None, ["mnist", "mnist"])
    assert "| mnist label | 1:1 |" in markdown([*runs, *sample], "data=full", "data=sample")


def test_datasets_are_equal_if_their_content_is() -> None:
    copy = data_ref("my_copy", "file", fingerprint=data_ref().fingerprint)
    assert one([outcome(), outcome(neg="masks", data=copy)], "neg=label", "neg=masks").pairs == 1
    other = data_ref("mnist", "file", fingerprint="ab" * 32)
    assert "they differ in dataset" in refusal([outcome(), outcome(neg="masks", data=other)], "neg=label", "neg=masks")


def test_horizon() -> None:
    runs = [
        outcome(f"{n}:1", neg=neg, epochs=epochs, reached=reached)
        for n, reached, epochs in ((1, 20, 20), (2, 20, 20), (4, 7, 20), (8, 100, 100))
        for neg in ("label", "masks")
    ]
    usual = one(runs, "neg=label", "neg=masks")
    assert (usual.epochs, usual.pairs, usual.left_out) == (20, 3, 1)
    best = one(runs, "neg=label", "neg=masks", metric="best")
    assert (best.pairs, best.left_out) == (3, 1), "a shorter run has a best, but not of as many epochs"
    early = one(runs, "neg=label", "neg=masks", epochs=7)
    assert (early.epochs, early.pairs, early.left_out) == (7, 4, 0)
    two = one([outcome(reached=12), outcome(neg="masks", reached=9)], "neg=label", "neg=masks")
    assert two.epochs == 9, "as far as both have got"
    assert "reached epoch 300" in refusal(runs, "neg=label", "neg=masks", epochs=300)


def test_several_cures_on_one_side_are_named() -> None:
    cured = [outcome("16:16", cure=cure, lr=0.01, tags=("cured",)) for cure in ("replay:64", "gradient-memory")]
    plain = outcome("16:16", lr=0.01, tags=("plain",))
    assert "cure gradient-memory, replay:64" in refusal([*cured, plain], "tag=cured", "tag=plain")


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("label", "neg=masks", "'label' selects nothing: give NAME=VALUE"),
        ("neg=", "neg=masks", "give NAME=VALUE"),
        ("nge=label", "neg=masks", "did you mean 'neg'?"),
        ("neg=lable", "neg=masks", "unknown neg 'lable': did you mean 'label'?"),
        ("preset=fats", "preset=fast", "did you mean 'fast'?"),
        ("preset=paper", "preset=fast", "no run has preset=paper: stored are 'fast', 'fast@1'"),
        ("neg=masks,threshold=2", "neg=label", "no run with neg=masks has threshold=2.0: stored are 1.5"),
        ("threshold=high", "threshold=2", "threshold should be a number"),
        ("lr_scaling=rato", "lr_scaling=none", "unknown lr_scaling 'rato': did you mean 'ratio'?"),
        ("data=half", "data=full", "unknown data 'half'"),
        ("epochs=3", "epochs=4", "--epochs N"),
        ("tag=x", "tag=y", "no run has tag=x: no tag is stored"),
        ("neg=label,neg=masks", "neg=label", "gives neg twice"),
        ("neg=label", "neg=label", "both sides are neg=label"),
        ("preset=fast", "preset=fast@1", "every run with preset=fast also has preset=fast@1"),
        ("seed=0", "seed=1,neg=masks", "seed=0 has a partner"),
    ],
)
def test_bad_selections_are_refused(a: str, b: str, message: str) -> None:
    runs = [outcome("4:1"), outcome("2:1", neg="masks", seed=1)]
    assert message in refusal(runs, a, b)


def test_comparison_without_runs_is_refused() -> None:
    assert "no runs yet" in refusal([], "neg=label", "neg=masks")


def test_selectors_are_parsed_like_command_line_options() -> None:
    assert parse_selector("hidden=100,50,preset=fast").conditions == {"hidden": (100, 50), "preset": "fast"}
    assert parse_selector("unseparated=true,--lr-scaling=none").conditions == {
        "unseparated": True,
        "lr_scaling": "none",
    }
    assert parse_selector("tag=a=b").conditions == {"tag": "a=b"}


@pytest.mark.parametrize("differences", [(1.0, -2.0), (1.0, 4.0, 2.5), (3.0, -1.0, 0.5, 8.0, 2.0, -0.25)])
def test_interval_is_the_percentile_bootstrap_of_the_mean(differences: tuple[float, ...]) -> None:
    means = [float(np.mean(drawn)) for drawn in itertools.product(differences, repeat=len(differences))]
    expected = np.percentile(means, [2.5, 97.5], method="inverted_cdf")
    found = difference_of([50.0] * len(differences), [50.0 + d for d in differences]).interval
    assert found is not None
    assert found == pytest.approx(tuple(expected), abs=0.06 * (max(differences) - min(differences)))


@settings(deadline=None)
@example([(0.0, 1.0), (1.0, 0.5)])
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=8))
def test_one_side_is_better_only_if_the_interval_excludes_0(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    found, swapped, again = difference_of(ours, theirs), difference_of(theirs, ours), difference_of(ours, theirs)
    assert found == again
    assert found.interval is not None
    low, high = found.interval
    apart = [b - a for a, b in pairs]
    assert min(apart) - 1e-9 <= low <= high + 1e-9 <= max(apart) + 2e-9
    assert found.better == ("b" if low > 0 else "a" if high < 0 else None)
    assert swapped.difference == pytest.approx(-found.difference)
    if min(apart) > 1e-9:
        assert (found.better, swapped.better) == ("b", "a")


GRID = {
    found.run.key: found
    for schedule in ("unseparated", "4:4", "4:1")
    for seed in (0, 1)
    for negatives in ({"neg": "label"}, {"neg": "masks"}, {"neg": "masks", "mask_blur": 6})
    for threshold in (1.5, 2.0)
    for rule in ("ratio", "none", "notebook")
    for found in [outcome(schedule, seed=seed, threshold=threshold, lr_scaling=rule, **negatives)]
}


SIDES: dict[str, Callable[[RunConfig], bool]] = {
    "neg=label": lambda c: c.negatives == "label",
    "neg=masks,mask_blur=5": lambda c: c.mask_blur == 5,
    "threshold=1.5": lambda c: c.threshold == 1.5,
    "threshold=2": lambda c: c.threshold == 2,
    "seed=0": lambda c: c.seed == 0,
    "seed=1": lambda c: c.seed == 1,
}


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(list(GRID.values())), min_size=20, unique_by=lambda o: o.run.key),
    st.sampled_from([("neg=label", "neg=masks,mask_blur=5"), ("threshold=1.5", "threshold=2"), ("seed=0", "seed=1")]),
)
def test_partners_differ_only_in_the_selected_settings(runs: list[Outcome], sides: tuple[str, str]) -> None:
    a, b = map(parse_selector, sides)
    named = {"negatives", "mask_blur"} if "neg" in a.conditions else a.conditions.keys()

    def rest(run: Outcome) -> dict[str, Any]:
        return {name: value for name, value in run.run.config.identity().items() if name not in named}

    ours, theirs = ([run for run in runs if SIDES[side](run.run.config)] for side in sides)
    expected = {(one.run.id, other.run.id) for one in ours for other in theirs if rest(one) == rest(other)}
    if not expected:
        with pytest.raises(BadOption):
            pair([o.run for o in runs], a, b)
        return
    pairing, swapped = (pair([o.run for o in runs], *both) for both in ((a, b), (b, a)))
    assert {(one.id, other.id) for one, other in pairing.pairs} == expected
    assert {(other.id, one.id) for one, other in swapped.pairs} == expected
    assert pairing.unpaired == swapped.unpaired[::-1] == (len(ours) - len(expected), len(theirs) - len(expected))
