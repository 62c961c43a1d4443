"""Make the virtual environment, then become `python -m stack.cli`.

Runs before anything is installed: only the standard library, Python 3.11.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
RUNTIME = "requirements.txt"
DEVELOPMENT = "requirements-dev.txt"
INSTALLER = "stack/bootstrap.txt"
NEEDS_DEVELOPMENT = frozenset({"test", "lint", "mutate", "audit", "sbom", "licences"})


class Environment:
    """Keep one virtual environment equal to the pinned requirements.

    Args:
        repository: The directory that holds the requirements and gets `.venv`.
    """

    def __init__(self, repository: Path = REPOSITORY) -> None:
        self.repository = repository
        self.directory = repository / ".venv"
        self.python = self.directory / "bin" / "python"
        self.installer = repository / INSTALLER

    def ensure(self, development: bool) -> None:
        """Install what is missing; return at once if nothing is.

        Args:
            development: Install what the tests need as well. It stays installed.
        """
        if self._is_current(development):
            return
        self.directory.mkdir(exist_ok=True)
        with self._lock():
            if self._is_current(development):
                return
            development = development or self._stamp(development=True).exists()
            self._install(development)

    def _requirements(self, development: bool) -> list[Path]:
        names = [RUNTIME, DEVELOPMENT] if development else [RUNTIME]
        return [self.repository / name for name in names]

    def _stamp(self, development: bool) -> Path:
        return self.directory / f"relevo-{'development' if development else 'runtime'}.stamp"

    def _fingerprint(self, development: bool) -> str:
        digest = hashlib.sha256(sys.version.encode())
        for path in (self.installer, *self._requirements(development)):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _is_current(self, development: bool) -> bool:
        # What the tests need includes what running needs.
        for installed in {development, True}:
            stamp = self._stamp(installed)
            try:
                if stamp.read_text(encoding="utf-8") == self._fingerprint(installed):
                    return self.python.exists()
            except FileNotFoundError:
                continue
        return False

    def _install(self, development: bool) -> None:
        begun = time.monotonic()
        what = " and ".join(path.name for path in self._requirements(development))
        print(f"installing {what} into {self.directory}; the first time takes minutes", flush=True)
        if not self._has_pip():
            self._run("make .venv", (sys.executable, "-m", "venv", str(self.directory)))
        self._run(
            "install uv",
            (
                *(str(self.python), "-m", "pip", "install", "--quiet", "--no-deps"),
                *("--disable-pip-version-check", "--require-hashes"),
                *("--requirement", str(self.installer)),
            ),
        )
        # A stamp must not outlive what it vouches for.
        for kind in (True, False):
            self._stamp(kind).unlink(missing_ok=True)
        self._run(
            "install packages",
            (
                *(str(self.directory / "bin" / "uv"), "pip", "sync", "--require-hashes"),
                *("--python", str(self.python)),
                *map(str, self._requirements(development)),
            ),
        )
        stamp = self._stamp(development)
        stamp.write_text(self._fingerprint(development), encoding="utf-8")
        print(f"installed in {time.monotonic() - begun:.0f} s", flush=True)

    def _has_pip(self) -> bool:
        try:
            answer = subprocess.run(
                [str(self.python), "-m", "pip", "--version"], capture_output=True, check=False
            )
        except OSError:
            return False
        return answer.returncode == 0

    def _run(self, step: str, command: Sequence[str]) -> None:
        print(f"- {step}", flush=True)
        # The shell's own virtual environment and module path are not ours.
        foreign = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}
        environment = {k: v for k, v in os.environ.items() if k not in foreign}
        status = _call(command, environment)
        if status != 0:
            raise SystemExit(
                f"Step {step}: failed with exit code {status}; its output is above. Correct the "
                "cause (network, package index, free disk space, package python3.11-venv on "
                "Debian) and run again; what was downloaded is kept."
            )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.directory / "relevo.lock").open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another installation", flush=True)
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _call(command: Sequence[str], environment: Mapping[str, str]) -> int:
    if sys.stderr.isatty():
        return subprocess.run(command, env=environment, check=False).returncode
    # Without a terminal uv's progress is its list of packages, hundreds of lines.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        for line in process.stdout or ():
            if not line.startswith((" + ", " - ", " ~ ", " Downloaded", "   Building")):
                print(f"  {line.strip()}", flush=True)
    return process.returncode


def main(arguments: Sequence[str]) -> NoReturn:
    """Install what the command needs and hand over to it."""
    if tuple(arguments) == ("compose", "init"):
        # The machine of a docker-compose deployment needs no packages for it.
        from stack.compose.env_file import initialise

        initialise(REPOSITORY / ".env")
        raise SystemExit(0)
    environment = Environment()
    try:
        environment.ensure(development=not NEEDS_DEVELOPMENT.isdisjoint(arguments[:1]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    # Else every process would compile its packages again, which takes as long as importing them.
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(REPOSITORY), *filter(None, [inherited.get("PYTHONPATH")])]
    inherited["PYTHONPATH"] = os.pathsep.join(paths)
    python = str(environment.python)
    os.execve(python, [python, "-m", "stack.cli", *arguments], inherited)
