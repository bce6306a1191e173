"""The shell completes choices, run ids, tags and datasets."""

from __future__ import annotations

from pathlib import Path

import pytest
from ff import FF


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ff tr", {"train"}),
        ("ff train --neg ", {"label", "masks"}),
        ("ff train --preset p", {"paper", "paper@1"}),
        ("ff train --lr-scaling ", {"ratio", "notebook", "none"}),
        ("ff train --dataset f", {"fashion"}),
        ("ff train --device c", {"cpu", "cuda"}),
        ("ff sweep --precision float32,b", {"float32,bf16"}),
        ("ff sweep --cure none,re", {"none,replay"}),
        ("ff list-runs --status c", {"completed"}),
        ("ff list-runs --tag ", {"pilot"}),
        ("ff train --tag p", {"pilot"}),
        ("ff sweep --table ", {"1", "2"}),
        ("ff compare ne", {"neg=label", "neg=masks", "neg_phase="}),
        ("ff compare neg=m", {"neg=masks"}),
        ("ff compare cure=none tag=", {"tag=pilot"}),
        ("ff compare neg=label neg=masks,pos", {"neg=masks,pos_phase="}),
    ],
)
def test_choices_are_completed(labelled_run: FF, words: str, expected: set[str]) -> None:
    assert set(completions(labelled_run, words)) == expected


def test_run_ids_are_completed_with_a_description(labelled_run: FF) -> None:
    [run] = labelled_run.runs()
    assert completions(labelled_run, f"ff show {run.id[:2]}") == [run.id[:7]]
    assert completions(labelled_run, "ff show x") == []


def completions(ff: FF, words: str) -> list[str]:
    """Return the completions that the program gives bash for these words."""
    *before, _ = words.split(" ")
    done = ff(_FF_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(len(before)))
    return done.stdout.split()


@pytest.fixture(scope="module")
def labelled_run(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> FF:
    ff = FF(tmp_path_factory.mktemp("completion"), data_folder)
    ff("train", "--hidden", "10", "--epochs", "1", "--tag", "pilot", "--quiet")
    return ff
