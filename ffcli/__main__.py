"""`python -m ffcli` is `ff`."""

from ffcli.cli.main import main

if __name__ == "__main__":
    main()
