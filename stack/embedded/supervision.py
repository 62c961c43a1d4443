"""Supervisord: its configuration, its start, and what it is asked."""

from __future__ import annotations

import http.client
import shlex
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stack.embedded.environment import supervisor_environment
from stack.embedded.layout import Layout
from stack.embedded.parts import Part
from stack.embedded.processes import is_process_running
from stack.errors import SupervisorError
from stack.private_files import write_private

LAUNCHER = (sys.executable, "-m", "stack.embedded.launch")
# Faults ALREADY_STARTED and NOT_RUNNING of `supervisor.xmlrpc.Faults`: a part may
# change its state between being looked at and being told.
ALREADY_SO = frozenset({60, 70})
NOT_RUNNING_STATES = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


@dataclass(frozen=True)
class PartState:
    """Hold what supervisord knows of a part.

    Args:
        name: Name of the part.
        state: A state in supervisord's terms, e.g. RUNNING, BACKOFF, FATAL.
        pid: Process id, 0 when there is no process.
        started: Start of the process, in seconds since the epoch.
        uptime_seconds: 0 when there is no process.
        exit_code: Of the last process that ended.
    """

    name: str
    state: str
    pid: int
    started: float
    uptime_seconds: float
    exit_code: int


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_seconds = timeout_seconds

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path, self._timeout_seconds)
        # Where `Transport.close` looks for what to close.
        self._connection = (host, connection)
        return connection


def render_configuration(
    layout: Layout, parts: Sequence[Part], launcher: Sequence[str] = LAUNCHER
) -> str:
    """Write supervisord.conf as text. It holds no secret.

    Args:
        layout: The stack's paths.
        parts: What to supervise.
        launcher: Command that, given the name of a part, becomes the part.
    """

    def escaped(value: object) -> str:
        return str(value).replace("%", "%%")

    lines = [
        "[supervisord]",
        f"logfile={escaped(layout.log_of('supervisord'))}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={escaped(layout.supervisor_pid)}",
        f"directory={escaped(layout.run)}",
        f"childlogdir={escaped(layout.logs)}",
        "umask=077",
        "",
        "[unix_http_server]",
        f"file={escaped(layout.supervisor_socket)}",
        "chmod=0600",
        "",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for part in parts:
        lines += [
            "",
            f"[program:{part.name}]",
            f"command={escaped(shlex.join([*launcher, part.name]))}",
            f"directory={escaped(layout.run)}",
            "autostart=false",
            f"autorestart={'false' if part.once else 'true'}",
            f"startsecs={0 if part.once else part.start_seconds}",
            f"startretries={0 if part.once else 3}",
            "exitcodes=0",
            f"stopsignal={part.stop_signal}",
            f"stopwaitsecs={part.stop_seconds}",
            "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            f"stdout_logfile={escaped(layout.log_of(part.name))}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=1",
        ]
    return "\n".join(lines) + "\n"


class Supervisor:
    """Speak to the supervisord of one stack.

    Args:
        layout: The stack's paths.
        parts: What it supervises.
        launcher: Command that, given the name of a part, becomes the part.
    """

    def __init__(
        self, layout: Layout, parts: Sequence[Part], launcher: Sequence[str] = LAUNCHER
    ) -> None:
        self.layout = layout
        self.parts = parts
        self.launcher = launcher

    def _call(self, method: str, *arguments: object, timeout_seconds: float = 10.0) -> Any:
        transport = _UnixTransport(str(self.layout.supervisor_socket), timeout_seconds)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            try:
                return getattr(proxy, method)(*arguments)
            except xmlrpc.client.Fault as fault:
                if fault.faultCode in ALREADY_SO:
                    return None
                raise SupervisorError(f"supervisord: {fault.faultString}.") from fault
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                raise SupervisorError(
                    f"supervisord of {self.layout.state}: does not answer ({error}). Run "
                    "`./relevo down`, then `./relevo up`."
                ) from error

    def is_running(self) -> bool:
        """Tell whether supervisord answers."""
        try:
            self._call("supervisor.getPID")
        except SupervisorError:
            return False
        return True

    def start_daemon(self) -> None:
        """Start supervisord with every part stopped.

        Raises:
            SupervisorError: It did not come up.
        """
        write_private(
            self.layout.supervisor_configuration,
            render_configuration(self.layout, self.parts, self.launcher),
        )
        for part in self.parts:
            self.layout.starts_of(part.name).unlink(missing_ok=True)
        self.layout.supervisor_pid.unlink(missing_ok=True)
        self.layout.supervisor_socket.unlink(missing_ok=True)
        started = subprocess.run(
            [
                sys.executable,
                "-m",
                "supervisor.supervisord",
                "--configuration",
                str(self.layout.supervisor_configuration),
            ],
            env=supervisor_environment(self.layout),
            cwd=self.layout.run,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )
        deadline = time.monotonic() + 20
        while started.returncode == 0 and time.monotonic() < deadline:
            if self.is_running():
                return
            time.sleep(0.05)
        raise SupervisorError(
            f"supervisord: did not start. {(started.stdout + started.stderr).strip()[-2000:]} "
            f"See {self.layout.log_of('supervisord')}."
        )

    def pid(self) -> int:
        """Return the process id of supervisord."""
        return int(self._call("supervisor.getPID"))

    def states(self) -> dict[str, PartState]:
        """Return what supervisord knows, by part."""
        known = {
            info["name"]: PartState(
                name=info["name"],
                state=info["statename"],
                pid=int(info["pid"]),
                started=float(info["start"]),
                uptime_seconds=max(0.0, float(info["now"] - info["start"])) if info["pid"] else 0.0,
                exit_code=int(info["exitstatus"]),
            )
            for info in self._call("supervisor.getAllProcessInfo")
        }
        # The stack may have been started by an older release with other parts.
        unknown = (part.name for part in self.parts if part.name not in known)
        return {**known, **{name: PartState(name, "UNKNOWN", 0, 0.0, 0.0, 0) for name in unknown}}

    def start(self, name: str) -> None:
        """Start a part without waiting for it."""
        self._call("supervisor.startProcess", name, False)

    def stop(self, names: Sequence[str]) -> None:
        """Stop parts side by side and wait until they have ended."""
        running = [n for n in names if self.states()[n].state not in NOT_RUNNING_STATES]
        for name in running:
            self._call("supervisor.stopProcess", name, False)
        # supervisord kills what outlives its stop_seconds.
        longest = max((p.stop_seconds for p in self.parts if p.name in running), default=0)
        deadline = time.monotonic() + longest + 10
        while time.monotonic() < deadline:
            states = self.states()
            if all(states[name].state in NOT_RUNNING_STATES for name in running):
                return
            time.sleep(0.1)

    def shut_down(self) -> None:
        """End supervisord and wait until its process is gone."""
        pid = self.pid()
        self._call("supervisor.shutdown")
        deadline = time.monotonic() + 30
        while is_process_running(pid) and time.monotonic() < deadline:
            time.sleep(0.05)

    def restarts(self, name: str) -> int:
        """Return how often a part was started again since `up`."""
        try:
            starts = self.layout.starts_of(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return 0
        return max(0, len(starts.splitlines()) - 1)
