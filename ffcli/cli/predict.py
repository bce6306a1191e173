"""`ff predict`: labels and goodness of images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, RunArgument

if TYPE_CHECKING:
    from ffcli.inference.trained import Prediction
    from ffcli.report.sheet import Sheet


def predict(
    run: RunArgument,
    image: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Files: png, jpg, idx, npz or npy.")],
    resize: Annotated[bool, typer.Option("--resize", help="Scale images of another size.")] = False,
    invert: Annotated[bool, typer.Option("--invert", help="Exchange dark and bright.")] = False,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Classify images with the network of a run.

    One image is shown with the goodness of each layer under each label; several with their labels.
    """
    from ffcli.cli.console import message, print_document, print_json
    from ffcli.data.datasets import data_folder
    from ffcli.inference.images import read_images
    from ffcli.inference.trained import classify, load_trained, undecided
    from ffcli.report.sheet import Document
    from ffcli.store import runs
    from ffcli.store.database import open_to_read
    from ffcli.text import counted

    with open_to_read(db) as store:
        trained = load_trained(store, runs.get(store, run), data_folder(data_dir, create=True))
    names, images = read_images(image, trained, resize=resize, invert=invert, notify=message)
    found = classify(trained.network, images)
    if json:
        print_json([_json(name, label, goodness) for name, label, goodness in zip(names, *found, strict=True)])
        return
    names = _short(names, image)
    polarity = trained.network.objective.polarity
    sheet = image_sheet(names[0], found) if len(names) == 1 else list_sheet(names, found, polarity)
    print_document(Document((sheet,)))
    if same := int(undecided(found.goodness).sum()):
        message(f"{counted(same, 'image')} with the same goodness under every label, as in a dead network: label 0")


def _short(names: list[str], files: list[Path]) -> list[str]:
    """The names without folders, if the files then still have different names."""
    differ = len({file.name for file in files}) == len({*files})
    return [os.path.basename(name) for name in names] if differ else names


def _json(name: str, label: Any, goodness: Any) -> dict[str, Any]:
    return {
        "image": name,
        "label": int(label),
        "goodness": [float(value) for value in goodness.sum(0)],
        "goodness_by_layer": goodness.tolist(),
    }


def image_sheet(name: str, found: Prediction) -> Sheet:
    """Return the goodness of one image: a line for each label, a column for each layer and their sum."""
    from ffcli.report.sheet import Item, make_list

    label, [goodness] = int(found.labels[0]), found.goodness
    layers = [f"layer {number}" for number in range(1, len(goodness) + 1)]

    def line(candidate: int) -> dict[str, str | Item]:
        values = {column: f"{value:.4f}" for column, value in zip(layers, goodness[:, candidate], strict=True)}
        total = f"{goodness[:, candidate].sum():.4f}"
        cells = {"label": str(candidate), **values, "sum": total}
        return {column: Item(text, "best" if candidate == label else "") for column, text in cells.items()}

    return make_list(
        [("label", *layers, "sum"), ("label", "sum")],
        {"": map(line, range(goodness.shape[1]))},
        right=(*layers, "sum"),
        title=f"{name}: label {label}",
        caption="goodness by label",
    )


def list_sheet(names: list[str], found: Prediction, polarity: int) -> Sheet:
    """Return a line for each image: its label, the runner-up, and the label that each layer alone would choose."""
    from ffcli.report.sheet import make_list

    layers = [f"layer {number}" for number in range(1, found.goodness.shape[1] + 1)]

    def lines() -> Iterable[dict[str, str]]:
        for name, label, goodness in zip(names, *found, strict=True):
            total = goodness.sum(0)
            others = (total * polarity).argsort(kind="stable")[::-1]
            second = next(int(other) for other in others if other != label)
            alone = (goodness * polarity).argmax(1)
            yield {
                "image": name,
                "label": str(label),
                "goodness": f"{total[label]:.4f}",
                "runner-up": str(second),
                "its goodness": f"{total[second]:.4f}",
                **{column: str(choice) for column, choice in zip(layers, alone, strict=True)},
            }

    first = ("image", "label", "goodness", "runner-up", "its goodness")
    return make_list(
        [(*first, *layers), first, ("image", "label", "goodness"), ("image", "label")],
        {"": lines()},
        right=(*first[1:], *layers),
    )
