"""`ff evaluate`: accuracy by class and by layer, and the confusion matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ffcli.choices import DataChoice
from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption, RunArgument, complete_setting

if TYPE_CHECKING:
    from ffcli.inference.evaluation import Evaluation
    from ffcli.report.sheet import Sheet


def evaluate(
    run: RunArgument,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="name",
            help="Test images of this dataset, or of an .npz file.",
            show_default="the run's",
            autocompletion=complete_setting("dataset"),
        ),
    ] = None,
    data: Annotated[
        DataChoice,
        typer.Option(
            metavar="auto|full|sample", envvar="FFCLI_DATA", help="With --dataset: the full dataset, or its sample."
        ),
    ] = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(metavar="path", help="Draw the confusion matrix (.svg, .png, .pdf).", show_default=False),
    ] = None,
    data_dir: DataFolderOption = None,
    db: DatabaseOption = None,
    json: JsonOption = False,
) -> None:
    """Evaluate the network of a run on test images: overall, by layer, by class, and which classes it confuses."""
    from rich.markup import escape

    from ffcli.cli.console import message, out, print_document, print_json
    from ffcli.cli.words import describe
    from ffcli.data.datasets import data_folder
    from ffcli.inference import evaluation
    from ffcli.inference.trained import load_trained
    from ffcli.plots import check_picture, writing_picture
    from ffcli.records import ID_DIGITS
    from ffcli.report.sheet import Document
    from ffcli.store import runs
    from ffcli.store.database import open_to_read

    if plot:
        check_picture("--plot", plot)
    folder = data_folder(data_dir, create=True)
    with open_to_read(db) as store:
        found = runs.get(store, run)
        trained = load_trained(store, found, folder)
    scores = evaluation.evaluate(trained, dataset=dataset, wanted=data, data_folder=folder, notify=message)
    if plot:
        from ffcli.plots import confusion

        with writing_picture("--plot", plot):
            confusion.draw(scores.confusion, f"{describe(found.config)}: {scores.accuracy:.2f} %", plot)
    if json:
        print_json(_json(found.id, trained.epoch, scores))
        return
    out().print(describe(found.config), style="bold", markup=False, soft_wrap=True)
    out().print(
        f"accuracy [bold]{scores.accuracy:.2f} %[/] on {scores.images} test images of {escape(scores.dataset)}\n"
        f"run {found.id[:ID_DIGITS]}, weights after epoch {trained.epoch}\n",
        soft_wrap=True,
    )
    print_document(Document((layer_sheet(scores), class_sheet(scores), confusion_sheet(scores))))
    if scores.undecided:
        message(
            f"{scores.undecided} of {scores.images} images have the same goodness under every label, as in a dead"
            " network: they count as label 0"
        )
    if plot:
        message(f"written: {plot}")


def _json(id: str, epoch: int, scores: Evaluation) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "id": id,
        "epoch": epoch,
        "dataset": scores.dataset,
        "images": scores.images,
        "accuracy": scores.accuracy,
        "undecided": scores.undecided,
        "layers": [asdict(layer) for layer in scores.layers],
        "classes": [asdict(each) for each in scores.classes],
        "confusion": scores.confusion.tolist(),
    }


def layer_sheet(scores: Evaluation) -> Sheet:
    """Return a line for each layer: accuracies and goodness."""
    from ffcli.report.sheet import make_list

    lines = (
        {
            "layer": str(score.layer),
            "alone %": f"{score.alone:.2f}",
            "with those below %": f"{score.cumulated:.2f}",
            "goodness true": f"{score.goodness_true:.4f}",
            "wrong": f"{score.goodness_wrong:.4f}",
        }
        for score in scores.layers
    )
    accuracies = ("layer", "alone %", "with those below %")
    return make_list(
        [(*accuracies, "goodness true", "wrong"), accuracies, accuracies[:2]],
        {"": lines},
        right=(*accuracies[1:], "goodness true", "wrong"),
        title="By layer",
        caption="goodness under the true label, and under the likeliest wrong one",
    )


def class_sheet(scores: Evaluation) -> Sheet:
    """Return a line for each class."""
    from ffcli.report.sheet import make_list

    lines = (
        {
            "label": str(score.label),
            "images": str(score.images),
            "correct %": "-" if score.accuracy is None else f"{score.accuracy:.2f}",
            "mostly mistaken for": "-" if score.mistaken_for is None else str(score.mistaken_for),
        }
        for score in scores.classes
    )
    columns = ("label", "images", "correct %", "mostly mistaken for")
    return make_list([columns, columns[:3]], {"": lines}, right=columns[1:], title="By class")


def confusion_sheet(scores: Evaluation) -> Sheet:
    """Return the confusion matrix: a line for each true label, a column for each predicted one.

    A narrow terminal shows the three most frequent predictions instead.
    """
    from ffcli.report.sheet import Item, make_list

    columns = [str(label) for label in range(len(scores.confusion))]

    def line(label: int) -> dict[str, str | Item]:
        cells: dict[str, str | Item] = {
            column: Item(str(count) if count else "·", "measured" if int(column) == label else "")
            for column, count in zip(columns, scores.confusion[label], strict=True)
        }
        most = scores.confusion[label].argsort(kind="stable")[::-1][:3]
        often = [f"{other}: {scores.confusion[label, other]}" for other in most if scores.confusion[label, other]]
        return {"true": str(label), "predicted": ", ".join(often), **cells}

    return make_list(
        [("true", *columns), ("true", "predicted")],
        {"": map(line, range(len(columns)))},
        right=columns,
        title="Confusion matrix",
        caption="images by true label (down) and predicted label (across)",
    )
