"""From what a user gave, as flags or in a TOML file, to `TrainOptions` and back.

Every wrong value becomes one line that names where it was given, what it is and what it should be.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ffcli.config import RunConfig, TrainOptions
from ffcli.errors import BadOption, unknown

_FORMS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list such as [500, 500, 500]",
    "too": "a list such as [500, 500, 500]",
}
"""What a value should be, by the first word of pydantic's name for the error."""


def parse_options(values: Mapping[str, Any], where: str | None = None) -> TrainOptions:
    """Validate what a user gave: as flags, or in the file that `where` names (`--config run.toml`).

    Raises BadOption with one line naming each wrong value.
    """
    try:
        return TrainOptions.model_validate(values)
    except ValidationError as error:
        first = {e["loc"][:1]: e for e in reversed(error.errors())}
        lines = (_explain(e, flags=where is None) for e in reversed(first.values()))
        raise BadOption((f"{where}: " if where else "") + "; ".join(lines)) from error


def _explain(error: Any, *, flags: bool) -> str:
    if not error["loc"]:
        return correction(error)
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return unknown("option", name, TrainOptions.model_fields)
    return f"{'--' + name.replace('_', '-') if flags else name} {correction(error)}"


def correction(error: Any) -> str:
    """One of pydantic's errors in words: `should be a number, not 'abc'`."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    form = _FORMS.get(error["type"].partition("_")[0])
    should = f"should be {form}" if form else error["msg"].replace("Input should", "should")
    return f"{should}, not {error['input']!r}"


def read_toml(option: str, path: Path) -> dict[str, Any]:
    """The content of a file that `option` named. Raises BadOption."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadOption(f"{option} {path}: {(error.strerror or str(error)).lower()}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadOption(f"{option} {path} is no TOML: {error}") from error


def options_of(config: RunConfig) -> TrainOptions:
    """The options that ask for `config` again."""
    return TrainOptions(
        dataset=config.data.path or config.data.name,
        data="auto" if config.data.source == "file" else config.data.source,
        neg=config.negatives,
        pos_phase=config.schedule.positive or None,
        neg_phase=config.schedule.negative or None,
        unseparated=not config.schedule.separated,
        preset=config.preset if config.preset != "custom" else "fast",
        lr_scaling=config.lr_scaling,
        mask_blur=config.mask_blur if config.mask_blur is not None else 5,
        **{
            name: getattr(config, name)
            for name in (
                "epochs", "lr", "updates_per_batch", "batch_size", "threshold", "hidden", "seed", "holdout",
                "precision",
            )
        },
    )  # fmt: skip
