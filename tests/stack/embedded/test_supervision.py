"""The supervisor: its configuration, and real processes under it."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest

from stack.embedded.configuration import Configuration
from stack.embedded.layout import Layout
from stack.embedded.operation import Stack
from stack.embedded.parts import PARTS, Part
from stack.embedded.processes import find_processes
from stack.embedded.supervision import render_configuration
from stack.errors import PartError
from tests.stack import dummies


def test_configuration_holds_no_secret(layout: Layout, configuration: Configuration) -> None:
    text = render_configuration(layout, PARTS)
    for name, secret in configuration.credentials:
        assert secret not in text, name


def test_configuration_is_what_supervisord_expects(layout: Layout) -> None:
    parser = configparser.RawConfigParser()
    parser.read_string(render_configuration(layout, PARTS, ("/a path/python", "-m", "launch")))
    for part in PARTS:
        program = parser[f"program:{part.name}"]
        assert shlex.split(program["command"]) == ["/a path/python", "-m", "launch", part.name]
        assert program["autostart"] == "false"
        assert program["autorestart"] == ("false" if part.once else "true")
        assert program["stopwaitsecs"] == str(part.stop_seconds)
    assert parser["unix_http_server"]["file"] == str(layout.supervisor_socket)
    assert "inet_http_server" not in parser


def test_percent_signs_in_paths_are_escaped(layout: Layout) -> None:
    text = render_configuration(Layout(layout.state / "100%"), PARTS)
    assert "100%%/logs/store.log" in text


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


class Trial:
    """A stack of dummies and what it reported."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.lines: list[str] = []

    def stack(self, parts: Sequence[Part]) -> Stack:
        return Stack(self.layout, parts, dummies.LAUNCHER)

    def processes(self) -> list[psutil.Process]:
        return find_processes(self.layout)


@pytest.fixture
def trial(layout: Layout) -> Iterator[Trial]:
    trial = Trial(layout)
    yield trial
    trial.stack(dummies.PARTS).down(trial.lines.append)


def test_up_crash_and_down(trial: Trial) -> None:
    stack = trial.stack((dummies.FIRST, dummies.STEP, dummies.SECOND))
    assert stack.up(trial.lines.append)
    order = [line.split()[0] for line in trial.lines]
    assert set(order) == {"first", "step", "second"}
    assert order[-1] == "second"
    assert stat.S_IMODE(trial.layout.supervisor_socket.stat().st_mode) & 0o077 == 0

    assert not stack.up(trial.lines.append)
    rows = {row.name: row for row in stack.status()}
    assert set(rows) == {"first", "second"}
    assert [row.trouble for row in rows.values()] == [None, None]
    assert rows["second"].address.startswith("http://127.0.0.1:")
    assert rows["second"].restarts == 0

    os.kill(rows["second"].state.pid, signal.SIGKILL)
    wait_until(
        lambda: {r.name: (r.restarts, r.trouble) for r in stack.status()}["second"] == (1, None),
        "second is healthy again after one restart",
    )

    assert stack.down(trial.lines.append)
    assert trial.lines[-2:] == [
        "stopping second (up to 30 s)",
        "stopping first (up to 30 s)",
    ]
    assert trial.processes() == []
    assert not stack.down(trial.lines.append)


def test_killed_supervisord_leaves_orphans_that_down_ends(trial: Trial) -> None:
    stack = trial.stack((dummies.FIRST, dummies.FAMILY))
    stack.up(trial.lines.append)
    os.kill(stack.supervisor.pid(), signal.SIGKILL)
    wait_until(lambda: not stack.is_running(), "supervisord is gone")
    assert stack.has_orphans()
    assert {p.environ()["RELEVO_PART"] for p in trial.processes()} == {"first", "family"}
    wait_until(lambda: len(trial.processes()) == 3, "the family's child is there")
    assert stack.down(trial.lines.append)
    assert trial.processes() == []


def test_up_ends_orphans_first_and_keeps_the_ports(trial: Trial) -> None:
    stack = trial.stack((dummies.FIRST,))
    stack.up(trial.lines.append)
    before = Configuration.load(trial.layout)
    os.kill(stack.supervisor.pid(), signal.SIGKILL)
    wait_until(lambda: not stack.is_running(), "supervisord is gone")
    assert stack.up(trial.lines.append)
    assert any(line.startswith("ended 1 processes") for line in trial.lines)
    assert Configuration.load(trial.layout) == before


def test_child_of_a_killed_part_is_ended_before_the_restart(trial: Trial) -> None:
    stack = trial.stack((dummies.FAMILY,))
    stack.up(trial.lines.append)
    wait_until(lambda: len(find_processes(trial.layout, "family")) == 2, "parent and child run")
    before = {p.pid for p in find_processes(trial.layout, "family")}
    os.kill(stack.status()[0].state.pid, signal.SIGKILL)
    wait_until(
        lambda: (
            len(after := {p.pid for p in find_processes(trial.layout, "family")}) == 2
            and not after & before
        ),
        "both were replaced",
    )


def test_part_that_cannot_start_is_reported_and_everything_stopped(trial: Trial) -> None:
    stack = trial.stack((dummies.FIRST, dummies.BROKEN))
    with pytest.raises(PartError, match="the disk is on fire") as caught:
        stack.up(trial.lines.append)
    assert "Part broken: must be healthy" in str(caught.value)
    assert str(trial.layout.log_of("broken")) in str(caught.value)
    assert trial.processes() == []


def test_second_up_starts_what_an_interrupted_one_did_not(trial: Trial) -> None:
    stack = trial.stack((dummies.FIRST, dummies.STEP, dummies.SECOND))
    stack.up(trial.lines.append)
    stack.supervisor.stop(["second"])
    assert stack.status()[1].trouble == "stopped"
    assert not stack.up(trial.lines.append)
    assert [row.trouble for row in stack.status()] == [None, None]


def test_interrupt_while_starting_stops_everything(trial: Trial) -> None:
    def interrupt(line: str) -> None:
        trial.lines.append(line)
        if line.startswith("first"):
            raise KeyboardInterrupt

    stack = trial.stack((dummies.FIRST, dummies.SECOND))
    with pytest.raises(KeyboardInterrupt):
        stack.up(interrupt)
    assert "stopping everything" in trial.lines
    assert trial.processes() == []


def test_a_shell_that_exports_the_state_is_not_ours(trial: Trial) -> None:
    # The test process itself has RELEVO_STATE set for its children.
    child = psutil.Popen(["sleep", "60"])
    try:
        exported = str(trial.layout.state)
        wait_until(lambda: child.environ().get("RELEVO_STATE") == exported, "sleep runs")
        assert trial.processes() == []
    finally:
        child.kill()
        child.wait()
