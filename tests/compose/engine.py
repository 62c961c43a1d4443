"""A Docker engine for the compose test: ``python -m tests.compose.engine``.

With an engine at hand, pytest runs at once. Without one, on Debian as root, the engine's packages
are unpacked into a directory, the daemon runs in a network of its own (nothing touches the
interfaces of the machine), and the base images, which need a registry, are stood in for by images
made from Debian's packages. pytest then runs inside that network.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stack.embedded.layout import Layout

HERE = Path(__file__).resolve().parent
TOOLS = ("runc", "iptables", "slirp4netns", "mmdebstrap", "iproute2", "ca-certificates")
# Debian 12's engine is older than the compose file; Debian 13's runs on it.
ENGINE_RELEASE = "trixie"
ENGINE = ("docker.io", "docker-cli", "containerd", "docker-compose", "docker-buildx", "tini")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# The names are those of docker-compose.yaml and Dockerfile.
STAND_INS = {
    "python": "python:3.11.14-slim-bookworm",
    "postgres": "postgres:17.6-bookworm",
    "redis": "redis:7.2.11-bookworm",
}
NAME_SERVER = "10.0.2.3"
START_SECONDS = 60.0


class EngineError(RuntimeError):
    """There is no engine and none can be made here."""


def has_engine() -> bool:
    """Tell whether `docker` reaches a daemon, with compose."""
    commands = (["docker", "info"], ["docker", "compose", "version"])
    try:
        return all(
            subprocess.run(command, capture_output=True, check=False).returncode == 0
            for command in commands
        )
    except OSError:
        return False


class PrivateEngine:
    """An engine unpacked into a directory, with its own network.

    Args:
        directory: Where packages, images and sockets are kept between runs.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.socket = directory / "docker.sock"

    @property
    def environment(self) -> dict[str, str]:
        """What a `docker` command needs."""
        paths = (self.root / "usr/bin", self.root / "usr/sbin", os.environ.get("PATH", ""))
        return {
            **os.environ,
            "PATH": os.pathsep.join(map(str, paths)),
            "DOCKER_HOST": f"unix://{self.socket}",
            "DOCKER_CONFIG": str(self.directory / "client"),
        }

    def install(self) -> None:
        """Unpack the engine; Debian's tools around it are installed."""
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise EngineError(
                "Program docker: must reach an engine with compose, got none. Start one; making "
                "one here needs Debian and root."
            )
        missing = [tool for tool in TOOLS if not _is_installed(tool)]
        if missing:
            _run(["apt-get", "update", "--quiet=2"])
            _run(["apt-get", "install", "--quiet=2", "--yes", "--no-install-recommends", *missing])
        if (self.root / "usr/sbin/dockerd").exists():
            return
        packages = self.directory / "packages"
        for folder in (packages / "lists/partial", packages / "cache/archives/partial"):
            folder.mkdir(parents=True, exist_ok=True)
        mirror = f"deb [signed-by={KEYRING}] http://deb.debian.org/debian {ENGINE_RELEASE} main\n"
        (packages / "sources.list").write_text(mirror)
        options = [
            word
            for name, value in {
                "Dir::Etc::sourcelist": packages / "sources.list",
                "Dir::Etc::sourceparts": "/dev/null",
                "Dir::State::lists": packages / "lists",
                "Dir::Cache": packages / "cache",
                "APT::Sandbox::User": "root",
            }.items()
            for word in ("-o", f"{name}={value}")
        ]
        _run(["apt-get", *options, "update", "--quiet=2"])
        _run(["apt-get", *options, "download", "--quiet=2", *ENGINE], cwd=packages)
        for package in sorted(packages.glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(self.root)])
        plugins = self.directory / "client" / "cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        for plugin in (self.root / "usr/libexec/docker/cli-plugins").iterdir():
            (plugins / plugin.name).unlink(missing_ok=True)
            (plugins / plugin.name).symlink_to(plugin)

    @contextmanager
    def running(self) -> Iterator[list[str]]:
        """Run the daemon; yields the command that enters its network."""
        ready, connected = self.directory / "ready", self.directory / "connected"
        resolver = self.directory / "resolv.conf"
        resolver.write_text(f"nameserver {NAME_SERVER}\n")
        for path in (ready, connected):
            path.unlink(missing_ok=True)
        daemon = [
            "dockerd",
            f"--data-root={self.directory / 'data'}",
            f"--exec-root={self.directory / 'exec'}",
            f"--pidfile={self.directory / 'dockerd.pid'}",
            f"--init-path={self.root / 'usr/bin/tini-static'}",
            f"--host=unix://{self.socket}",
        ]
        script = (
            'set -e; ip link set lo up; mount --bind "$1" /etc/resolv.conf; touch "$2"; '
            'while [ ! -e "$3" ]; do sleep 0.1; done; shift 3; exec "$@"'
        )
        with (self.directory / "dockerd.log").open("wb") as log:
            inside = subprocess.Popen(
                [
                    *("unshare", "--mount", "--net", "sh", "-c", script, "sh"),
                    *(str(resolver), str(ready), str(connected), *daemon),
                ],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            network = None
            try:
                self._wait(ready.exists, inside)
                network = subprocess.Popen(
                    [
                        *("slirp4netns", "--configure", "--mtu=1400", "--disable-host-loopback"),
                        *(str(inside.pid), "tap0"),
                    ],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                connected.touch()
                self._wait(self._answers, inside)
                yield [
                    "nsenter",
                    f"--target={inside.pid}",
                    "--mount",
                    "--net",
                    f"--wd={Path.cwd()}",
                    "--",
                ]
            finally:
                inside.send_signal(signal.SIGTERM)
                inside.wait(60)
                if network is not None:
                    network.terminate()
                    network.wait(10)

    def make_base_images(self) -> None:
        """Make the images that a registry would have, where they are missing."""
        held = self._docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        context = self.directory / "contexts"
        for release in ("bookworm", "trixie"):
            if f"debian:{release}-slim" in held:
                continue
            archive = self.directory / f"{release}.tar"
            _run(
                [
                    *("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates"),
                    *(release, str(archive)),
                ]
            )
            with archive.open("rb") as stream:
                _run(
                    ["docker", "import", "-", f"debian:{release}-slim"],
                    env=self.environment,
                    stdin=stream,
                )
            archive.unlink()
        for name, tag in STAND_INS.items():
            if tag in held:
                continue
            folder = context / name
            shutil.copytree(HERE / "standins" / name, folder, dirs_exist_ok=True)
            shutil.copy(CERTIFICATES, folder)
            self._docker("build", "--network=host", "--tag", tag, str(folder))

    def _docker(self, *arguments: str) -> str:
        return _run(["docker", *arguments], env=self.environment)

    def _answers(self) -> bool:
        answer = subprocess.run(
            ["docker", "version"], env=self.environment, capture_output=True, check=False
        )
        return answer.returncode == 0

    def _wait(self, condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                log = (self.directory / "dockerd.log").read_text(errors="replace")
                raise EngineError(f"dockerd: must start, got:\n{log[-3000:]}")
            time.sleep(0.2)


def _is_installed(package: str) -> bool:
    answer = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout == "installed"


def _run(command: Sequence[str], **options: Any) -> str:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    if done.returncode != 0:
        raise EngineError(
            f"Command {' '.join(command)}: must succeed, got exit code {done.returncode}:\n"
            f"{done.stdout[-3000:]}"
        )
    return str(done.stdout)


def main(arguments: Sequence[str]) -> int:
    """Run the compose test, on the engine of the machine or on a private one.

    Args:
        arguments: For pytest; or `--` and a command to run instead of it.
    """
    if arguments[:1] == ["--"]:
        command = list(arguments[1:])
    else:
        command = [sys.executable, "-m", "pytest", *(arguments or [str(HERE)])]
    if has_engine():
        return subprocess.run(command, check=False).returncode
    directory = Layout.from_environment().state / "engine"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = PrivateEngine(directory)
    print(f"no Docker engine here: making one in {directory}, base images stood in for", flush=True)
    try:
        engine.install()
        with engine.running() as enter:
            engine.make_base_images()
            return subprocess.run(
                [*enter, *command], env=engine.environment, check=False
            ).returncode
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
