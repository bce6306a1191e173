"""Forward-Forward networks whose positive and negative phases are separated in time.

    import ffcli

    run = ffcli.train(dataset="mnist", neg="masks", pos_phase=16)

The functions of this module are those of `ffcli.api`, loaded when they are first used, so that `import ffcli` takes
milliseconds. The command line is `ff` (`ffcli.cli`); `ffcli.engine` is the training engine, usable on its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffcli import errors
    from ffcli.api import Epochs, Run, Runs, epochs, load, runs, train

__version__ = "0.1.0"
__all__ = ["Epochs", "Run", "Runs", "__version__", "epochs", "errors", "load", "runs", "train"]


def __getattr__(name: str) -> Any:
    if name == "errors":
        from importlib import import_module

        return import_module("ffcli.errors")
    if name in __all__:
        from ffcli import api

        return getattr(api, name)
    raise AttributeError(f"module 'ffcli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
