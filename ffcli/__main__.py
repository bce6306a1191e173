"""`python -m ffcli` is `ff`."""

from ffcli.cli.main import run

if __name__ == "__main__":
    run()
