"""`./relevo audit`: known vulnerabilities of the pinned packages."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import typer

from stack.bootstrap import RUNTIME
from stack.embedded.layout import REPOSITORY, Layout
from stack.errors import StackError
from stack.terminal import console, errors, shown_errors

ACCEPTED = REPOSITORY / "stack" / "accepted-vulnerabilities.toml"
# Told apart from findings (1), so that CI can go on where the data base cannot be reached.
UNAVAILABLE = 3
SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """A known vulnerability of a package that we pin.

    Args:
        package: Its name.
        version: The pinned version.
        names: Identifiers of the vulnerability: PYSEC, GHSA, CVE.
        fixed_in: Versions without it.
    """

    package: str
    version: str
    names: tuple[str, ...]
    fixed_in: tuple[str, ...]


def audit() -> None:
    """Look up known vulnerabilities of every pinned package.

    The exit code is 1 for a finding that is not accepted in stack/accepted-vulnerabilities.toml,
    and 3 if not every package could be looked up.
    """
    with shown_errors():
        found, unknown = read_audit(_pip_audit())
        accepted = accepted_names(ACCEPTED.read_text(encoding="utf-8"), datetime.now(UTC).date())
        open_findings = unaccepted(found, accepted)
    for item in open_findings:
        fix = f"upgrade to {' or '.join(item.fixed_in)}" if item.fixed_in else "no fix yet"
        errors.print(
            f"{item.package} {item.version}: {', '.join(item.names)}, {fix}",
            style="red",
            markup=False,
        )
    if open_findings:
        raise typer.Exit(1)
    if unknown:
        shown = ", ".join(unknown[:SHOWN]) + (", ..." if len(unknown) > SHOWN else "")
        errors.print(
            f"Vulnerabilities: must be looked up for every package of {RUNTIME}, got no answer "
            f"for {len(unknown)} ({shown}). Run `./relevo audit` where PyPI itself can be reached.",
            markup=False,
        )
        raise typer.Exit(UNAVAILABLE)
    console.print(f"No open vulnerability in {RUNTIME}; accepted: {len(found)}.")


def read_audit(document: Mapping[str, Any]) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Split the answer of pip-audit into findings and packages that were not looked up.

    pip-audit calls a package that the data base did not answer about "skipped", and ends with
    "No known vulnerabilities found".

    Args:
        document: Its JSON report.
    """
    findings, unknown = [], []
    for package in document["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
            continue
        findings += [
            Finding(
                package["name"],
                package["version"],
                (item["id"], *item["aliases"]),
                tuple(item["fix_versions"]),
            )
            for item in package["vulns"]
        ]
    return tuple(findings), tuple(unknown)


def accepted_names(text: str, today: date) -> frozenset[str]:
    """Read which vulnerabilities are accepted for now.

    Args:
        text: TOML; a table for each vulnerability, with `reason` and the date `until`.
        today: What is accepted until an earlier day is not accepted any more.

    Raises:
        StackError: If one has no reason or no date.
    """
    accepted = tomllib.loads(text)
    for name, entry in accepted.items():
        if not entry.get("reason") or not isinstance(entry.get("until"), date):
            raise StackError(
                f"Accepted vulnerability {name}: must have a reason and a date `until`, got "
                f"{sorted(entry)}. Complete it in {ACCEPTED.relative_to(REPOSITORY)}."
            )
    return frozenset(name for name, entry in accepted.items() if entry["until"] >= today)


def unaccepted(findings: Sequence[Finding], accepted: frozenset[str]) -> tuple[Finding, ...]:
    """Leave out the findings of which one name is accepted."""
    return tuple(item for item in findings if not accepted.intersection(item.names))


def _pip_audit() -> Mapping[str, Any]:
    command = [str(Layout.from_environment().bin / "pip-audit"), "--requirement", RUNTIME]
    command += ["--require-hashes", "--disable-pip", "--progress-spinner", "off"]
    answer = subprocess.run(
        [*command, "--format", "json", "--aliases", "on"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        document: Mapping[str, Any] = json.loads(answer.stdout)
    except json.JSONDecodeError:
        last = answer.stderr.strip().rsplit("\n", 1)[-1]
        raise StackError(
            f"pip-audit: must give a report, got {last[-500:]!r}. Mend that and run again."
        ) from None
    return document
