"""`ff doctor`: what is slow, missing or broken on this machine, and the command that fixes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ffcli.cli.options import DatabaseOption, DataFolderOption, JsonOption

if TYPE_CHECKING:
    from ffcli.doctor import Finding

MARKS = {"ok": "ok", "note": "note", "slow": "SLOW", "missing": "missing", "broken": "BROKEN"}


def doctor(db: DatabaseOption = None, data_dir: DataFolderOption = None, json: JsonOption = False) -> None:
    """Examine versions, processor, data and database; exit code 1 if something is broken."""
    from dataclasses import asdict

    from ffcli.cli.console import print_json
    from ffcli.doctor import examine

    findings = []
    part = ""
    for finding in examine(db, data_dir):
        findings.append(finding)
        if not json:
            _print(finding, heading=finding.part != part)
            part = finding.part
    broken = any(finding.state == "broken" for finding in findings)
    if json:
        print_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    raise typer.Exit(1 if broken else 0)


def _print(finding: Finding, *, heading: bool) -> None:
    from ffcli.cli.console import line

    if heading:
        line(finding.part)
    line(f"  {MARKS[finding.state]:8} {finding.name:14} {finding.value}")
    if finding.fix:
        line(f"  {'':8} {'':14} -> {finding.fix}")
