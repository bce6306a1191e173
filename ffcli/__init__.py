"""Forward-Forward networks whose positive and negative phases are separated in time.

The command line is `ff` (`ffcli.cli`); `ffcli.engine` is the training engine, usable on its own.
"""

__version__ = "0.1.0"
