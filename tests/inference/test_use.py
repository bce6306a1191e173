"""`ff predict`, `ff evaluate` and `ff weights` on trained networks."""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ff import FF, SMALL
from PIL import Image
from safetensors import safe_open

from ffcli.data.catalogue import CATALOGUE
from ffcli.data.sources import sample_file

if TYPE_CHECKING:
    from inside import Inside

pytest_plugins = ["inside"]

RUNS = {
    "mnist-label": ("--dataset", "mnist", "--precision", "float64"),
    "mnist-masks": ("--dataset", "mnist", "--neg", "masks"),
    "fashion-label": ("--dataset", "fashion", "--unseparated", "--objective", "sum"),
    "fashion-masks": ("--dataset", "fashion", "--neg", "masks", "--precision", "bf16"),
}


FILES = {"FFCLI_DATA": "auto"}
"""Files have no sample."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_folder: Path) -> Inside:
    """Train a network on each pair of dataset and negatives; tests only read them."""
    from inside import Inside

    ff = Inside(FF(tmp_path_factory.mktemp("trained"), data_folder))
    for name, options in RUNS.items():
        ff("train", "--hidden", "30,20", "--lr", "0.005", *options, "--epochs", "2", "--name", name, "--quiet")
    return ff


@pytest.fixture(scope="module")
def digits() -> Any:
    with np.load(sample_file(CATALOGUE["mnist"])) as sample:
        return sample["test_images"]


@pytest.mark.parametrize("name", RUNS)
def test_evaluation_agrees_with_the_stored_accuracy_and_with_itself(trained: Inside, name: str, tmp_path: Path) -> None:
    found = trained.json("evaluate", name, "--plot", str(tmp_path / "c.png"))
    assert found["accuracy"] == trained.json("show", name)["final_accuracy"]
    confusion = np.array(found["confusion"])
    assert found["undecided"] < 200
    assert (confusion.sum(axis=0) > 0).sum() > 3
    assert confusion.sum() == found["images"] == 2000
    assert 100 * np.trace(confusion) / 2000 == found["accuracy"] == found["layers"][-1]["cumulated"]
    assert found["layers"][0]["alone"] == found["layers"][0]["cumulated"]
    weighted = sum(each["accuracy"] * each["images"] for each in found["classes"]) / 2000
    assert weighted == pytest.approx(found["accuracy"])
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_evaluation_fits_every_terminal(trained: Inside, columns: int) -> None:
    shown = trained("evaluate", "mnist-masks", env={"COLUMNS": str(columns)})[0]
    confusion = trained.json("evaluate", "mnist-masks")["confusion"]
    diagonal = {str(row[label]) for label, row in enumerate(confusion) if row[label] == max(row)} - {"0"}
    assert diagonal <= set(shown.replace(",", " ").split())
    assert "…" not in shown
    assert "same goodness" not in shown


def test_a_dead_network_is_named(inside: Inside, tmp_path: Path) -> None:
    inside("train", *SMALL, "--neg-phase", "1000", "--lr", "1", "--epochs", "1", "--name", "dead", "--quiet")
    found = inside.json("evaluate", "dead")
    assert (found["accuracy"], found["undecided"]) == (10.0, 2000)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save(tmp_path / "any.png")
    assert "as in a dead network: label 0" in inside("predict", "dead", str(tmp_path / "any.png"))[1]


def test_evaluation_on_other_data(trained: Inside, digits: Any, tmp_path: Path) -> None:
    other = trained.json("evaluate", "mnist-masks", "--dataset", "fashion")
    assert (other["dataset"], other["images"]) == ("fashion (sample)", 2000)
    labels = np.arange(600) % 11
    for name, images in (("wide.npz", digits[:600, :, :20]), ("eleven.npz", digits[:600])):
        np.savez(tmp_path / name, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    assert "1 x 28 x 28" in trained.refused(
        "evaluate", "mnist-masks", "--dataset", str(tmp_path / "wide.npz"), env=FILES
    )
    assert "has 11 classes" in trained.refused(
        "evaluate", "mnist-masks", "--dataset", str(tmp_path / "eleven.npz"), env=FILES
    )
    assert "unknown dataset 'minst'" in trained.refused("evaluate", "mnist-masks", "--dataset", "minst")


def test_predictions_agree_across_file_formats(trained: Inside, digits: Any, tmp_path: Path) -> None:
    Image.fromarray(digits[0]).save(tmp_path / "one.png")
    Image.fromarray(np.stack([digits[0]] * 3, axis=-1)).save(tmp_path / "rgb.png")
    np.savez(tmp_path / "all.npz", images=digits[:3])
    np.save(tmp_path / "all.npy", digits[:3, ..., np.newaxis])
    with gzip.open(tmp_path / "all.gz", "wb") as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">3I", 3, 28, 28) + digits[:3].tobytes())
    files = [str(tmp_path / name) for name in ("one.png", "rgb.png", "all.npz", "all.npy", "all.gz")]
    found = trained.json("predict", "mnist-masks", *files)
    one, rgb, *others = found
    assert [each["image"] for each in others[:2]] == [f"{files[2]}[0]", f"{files[2]}[1]"]
    assert one["goodness_by_layer"] == rgb["goodness_by_layer"]
    assert others[:3] != others[1:4]
    for start in (0, 3, 6):
        assert others[start]["label"] == one["label"]
        np.testing.assert_allclose(others[start]["goodness"], one["goodness"], rtol=1e-5)
    assert np.shape(one["goodness_by_layer"]) == (2, 10)
    assert one["label"] == int(np.argmax(one["goodness"]))
    shown = trained("predict", "mnist-masks", files[0])[0]
    assert f"label {one['label']}" in shown
    listed = trained("predict", "mnist-masks", *files, env={"COLUMNS": "300"})[0].splitlines()
    assert [line.split()[1] for line in listed[1:]] == [str(each["label"]) for each in found]


def test_images_that_do_not_fit_are_refused_or_adapted_with_a_notice(
    trained: Inside, digits: Any, tmp_path: Path
) -> None:
    def predict(name: str, *options: str) -> Any:
        return trained("predict", "mnist-masks", str(tmp_path / name), *options)

    def refused(name: str) -> str:
        return trained.refused("predict", "mnist-masks", str(tmp_path / name))

    Image.fromarray(digits[0]).resize((56, 84)).save(tmp_path / "large.png")
    assert "84 x 56 pixels (height x width)" in refused("large.png")
    assert "--resize" in refused("large.png")
    assert "label" in predict("large.png", "--resize")[0]
    Image.fromarray(255 - digits[0]).save(tmp_path / "inverted.png")
    assert "--invert" in predict("inverted.png")[1]
    Image.fromarray(digits[0]).save(tmp_path / "plain.png")
    assert predict("plain.png")[1] == predict("inverted.png", "--invert")[1] == ""
    assert predict("plain.png")[0].split()[2:] == predict("inverted.png", "--invert")[0].split()[2:]
    Image.fromarray(np.stack([digits[0], digits[1], digits[2]], axis=-1)).save(tmp_path / "colour.png")
    assert "converted from colour to grey" in predict("colour.png")[1]
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.png").write_bytes((tmp_path / "plain.png").read_bytes()[:100])
    np.savez(tmp_path / "objects.npz", images=np.array([None, {}], dtype=object))
    np.savez(tmp_path / "floats.npz", images=digits[:2] / 255)
    np.savez(tmp_path / "others.npz", a=digits[:2], b=digits[:2])
    for name, message in (
        ("text.png", "is not a png, jpg"), ("cut.png", "damaged"), ("objects.npz", "other things than numbers"),
        ("floats.npz", "expected uint8"), ("others.npz", "it contains a, b"), ("nosuch.png", "no such file"),
    ):  # fmt: skip
        assert message in refused(name)


def test_weights_are_written_once_and_read_without_ffcli(trained: Inside, digits: Any, tmp_path: Path) -> None:
    """The exported program gives the same labels and goodness where ffcli cannot be imported."""
    np.savez(tmp_path / "digits.npz", images=digits[:300])
    program = """
import json, sys
sys.modules["ffcli"] = None
import numpy, torch
run = torch.export.load(sys.argv[1]).module()
images = torch.from_numpy(numpy.load(sys.argv[2])["images"][:, None])
labels, goodness = run(images)
alone = run(images[:1])[0]
print(json.dumps([labels.tolist(), goodness.tolist(), alone.tolist()]))
"""
    for name in ("fashion-masks",):
        file = tmp_path / f"{name}.pt2"
        trained("weights", name, str(file))
        command = [sys.executable, "-c", program, str(file), str(tmp_path / "digits.npz")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=trained.ff.environment)
        labels, goodness, alone = json.loads(done.stdout)
        expected = trained.json("predict", name, str(tmp_path / "digits.npz"))
        assert labels == [each["label"] for each in expected]
        assert alone == labels[:1]
        np.testing.assert_allclose(goodness, [each["goodness_by_layer"] for each in expected], rtol=1e-6)


def test_safetensors_hold_all_that_a_program_needs(trained: Inside, tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    trained("weights", "mnist-masks", str(file))
    with safe_open(file, framework="numpy") as opened:
        shapes = {name: opened.get_tensor(name).shape for name in opened.keys()}  # noqa: SIM118
        about = {name: json.loads(text) for name, text in opened.metadata().items()}
    assert shapes == {
        "layers.0.weight": (30, 784), "layers.0.bias": (30,), "layers.1.weight": (20, 30), "layers.1.bias": (20,),
    }  # fmt: skip
    assert (about["mean"], about["std"], about["image_shape"], about["classes"]) == (
        [0.1307],
        [0.3081],
        [1, 28, 28],
        10,
    )
    assert about["amplitude"] == pytest.approx((1 - 0.1307) / 0.3081)
    before = file.read_bytes()
    assert "--force" in trained.refused("weights", "mnist-label", str(file))
    assert file.read_bytes() == before
    trained("weights", "mnist-label", str(file), "--force")
    assert file.read_bytes() != before
    assert ".safetensors or .pt2" in trained.refused("weights", "mnist-label", str(tmp_path / "w.onnx"))
    assert "no folder" in trained.refused("weights", "mnist-label", str(tmp_path / "none" / "w.pt2"))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_run_without_weights_says_so(inside: Inside) -> None:
    run = inside.json("train", *SMALL, "--epochs", "1", "--keep-state", "never")
    states = inside.ff.folder / "ff.db.states"
    (file,) = states.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert "cannot be read" in inside.refused("evaluate", "last", code=1)
    file.unlink()
    assert f"run {run['id'][:7]} has no stored weights" in inside.refused("evaluate", "last")
