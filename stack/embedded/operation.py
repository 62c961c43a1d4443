"""Bring the embedded stack up, take it down, and tell how it is."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stack.embedded.configuration import Configuration, prepare
from stack.embedded.databases import AIRFLOW, refuse_outdated
from stack.embedded.layout import Layout
from stack.embedded.parts import PARTS, Part, prepare_files
from stack.embedded.processes import end_orphans, find_processes
from stack.embedded.supervision import LAUNCHER, NOT_RUNNING_STATES, PartState, Supervisor
from stack.errors import PartError, SupervisorError

POLL_SECONDS = 0.25
LOG_LINES_SHOWN = 25
MIGRATION = "migrate"
WITH_DATABASES = frozenset({MIGRATION, "mlflow"})

Report = Callable[[str], None]


@dataclass(frozen=True)
class PartStatus:
    """Hold what `status` shows of a part.

    Args:
        name: Name of the part.
        state: What supervisord knows.
        restarts: Starts since `up`, without the first.
        address: What to open, or empty.
        trouble: Why it is not healthy, or None.
    """

    name: str
    state: PartState
    restarts: int
    address: str
    trouble: str | None


class Stack:
    """Operate one embedded stack.

    Args:
        layout: The stack's paths.
        parts: What runs.
        launcher: Command that, given the name of a part, becomes the part.
    """

    def __init__(
        self,
        layout: Layout,
        parts: Sequence[Part] = PARTS,
        launcher: Sequence[str] = LAUNCHER,
    ) -> None:
        self.layout = layout
        self.parts = parts
        self.supervisor = Supervisor(layout, parts, launcher)

    @contextlib.contextmanager
    def running(self, names: Sequence[str], report: Report) -> Iterator[Configuration]:
        """Have some parts running; stop them afterwards if nothing ran before.

        Args:
            names: Parts that are needed.
            report: Gets a line for each step.

        Raises:
            StackError: A part did not become healthy.
        """
        started = self.up(report, names)
        try:
            yield Configuration.load(self.layout)
        finally:
            if started:
                with uninterrupted():
                    self.down(report)

    @contextlib.contextmanager
    def only(self, names: Sequence[str], report: Report) -> Iterator[Configuration]:
        """Have some parts running and no other, and keep everybody from starting any.

        A stack that ran before runs again afterwards.

        Args:
            names: Parts that are needed.
            report: Gets a line for each step.

        Raises:
            StackError: A part did not become healthy.
        """
        if not self.is_running():
            with self.running(names, report) as configuration, self._start_lock(report):
                yield configuration
            return
        refuse_outdated(self.layout)
        stopped = 0
        try:
            with self._start_lock(report):
                stopped = self._stop_parts(report, keep=names)
                yield Configuration.load(self.layout)
        finally:
            if stopped:
                with uninterrupted():
                    self.up(report)

    def up(self, report: Report, names: Sequence[str] | None = None) -> bool:
        """Start everything and wait until it is healthy.

        Args:
            report: Gets a line for each step.
            names: Start only these parts; what they need must be among them.

        Returns:
            False if the stack was running already. Parts of it that had given
            up, or were not started yet, are started.

        Raises:
            StackError: A part did not become healthy, or a database belongs to another
                release. If the stack did not run before, everything was stopped again.
        """
        self.layout.create()
        with self._start_lock(report):
            if names is None or WITH_DATABASES.intersection(names):
                refuse_outdated(self.layout)
            if self.supervisor.is_running():
                self._start_parts(Configuration.load(self.layout), report, names)
                return False
            orphans = end_orphans(self.layout)
            if orphans:
                report(f"ended {orphans} processes left by a stack that was not shut down")
            try:
                configuration = prepare(self.layout)
                prepare_files(self.layout, configuration)
                self.supervisor.start_daemon()
                self._start_parts(configuration, report, names)
            except BaseException:
                with uninterrupted():
                    report("stopping everything")
                    self.down(report)
                raise
        return True

    def down(self, report: Report) -> bool:
        """Stop everything, in reverse order, and leave no process.

        Args:
            report: Gets a line for each step.

        Returns:
            False if nothing was running.
        """
        stopped = False
        try:
            if self.supervisor.is_running():
                stopped = True
                self._stop_parts(report)
                self.supervisor.shut_down()
        except SupervisorError as error:
            report(str(error))
        orphans = end_orphans(self.layout)
        if orphans:
            report(f"ended {orphans} processes that nobody supervised")
        return stopped or bool(orphans)

    def is_running(self) -> bool:
        """Tell whether supervisord keeps this stack."""
        return self.supervisor.is_running()

    def has_orphans(self) -> bool:
        """Tell whether parts run although supervisord does not."""
        return not self.is_running() and bool(find_processes(self.layout))

    def status(self) -> list[PartStatus]:
        """Ask every part how it is.

        Raises:
            StackError: The stack does not run.
        """
        configuration = Configuration.load(self.layout)
        states = self.supervisor.states()
        servers = [part for part in self.parts if not part.once]
        with ThreadPoolExecutor(len(servers)) as pool:
            troubles = pool.map(
                self._trouble,
                servers,
                [states[part.name] for part in servers],
                itertools.repeat(configuration),
            )
            return [
                PartStatus(
                    name=part.name,
                    state=states[part.name],
                    restarts=self.supervisor.restarts(part.name),
                    address=part.address(configuration),
                    trouble=trouble,
                )
                for part, trouble in zip(servers, troubles, strict=True)
            ]

    def log_tail(self, name: str, begin: int = 0) -> str:
        """Return the last lines of a part's log, of those after so many bytes."""
        try:
            with self.layout.log_of(name).open(encoding="utf-8", errors="replace") as log:
                # One that was rotated since is shorter.
                log.seek(begin if begin <= self._log_size(name) else 0)
                return "".join(deque(log, maxlen=LOG_LINES_SHOWN))
        except FileNotFoundError:
            return ""

    def _log_size(self, name: str) -> int:
        path = self.layout.log_of(name)
        return path.stat().st_size if path.exists() else 0

    def _start_parts(
        self, configuration: Configuration, report: Report, names: Sequence[str] | None
    ) -> None:
        waiting = [part for part in self.parts if names is None or part.name in names]
        healthy: set[str] = set()
        if AIRFLOW.migrated_to(self.layout) == AIRFLOW.installed():
            waiting = [part for part in waiting if part.name != MIGRATION]
            healthy.add(MIGRATION)
        pending: dict[str, tuple[Part, float]] = {}
        # By part that was started: how long its log was before.
        started: dict[str, int] = {}
        pool = ThreadPoolExecutor(max(1, len(waiting)))
        try:
            while waiting or pending:
                states = self.supervisor.states()
                for part in [p for p in waiting if healthy.issuperset(p.after)]:
                    waiting.remove(part)
                    pending[part.name] = (part, time.monotonic())
                    if states[part.name].state in NOT_RUNNING_STATES:
                        started[part.name] = self._log_size(part.name)
                        self.supervisor.start(part.name)
                states = self.supervisor.states()
                asked = list(pending.values())
                troubles = pool.map(
                    self._trouble,
                    [part for part, _ in asked],
                    [states[part.name] for part, _ in asked],
                    itertools.repeat(configuration),
                )
                for (part, begun), trouble in zip(asked, troubles, strict=False):
                    seconds = time.monotonic() - begun
                    if trouble is None:
                        del pending[part.name]
                        healthy.add(part.name)
                        if part.name in started:
                            report(f"{part.name:<14} {seconds:5.1f} s")
                        if part.name == MIGRATION:
                            AIRFLOW.mark(self.layout, AIRFLOW.installed())
                    elif self._has_failed(part, states[part.name], seconds):
                        begin = started.get(part.name, 0)
                        raise self._failure(part, trouble, seconds, begin)
                if pending:
                    time.sleep(POLL_SECONDS)
        finally:
            # An answer that is still awaited must not hold up an interrupt.
            pool.shutdown(wait=False, cancel_futures=True)

    def _trouble(self, part: Part, state: PartState, configuration: Configuration) -> str | None:
        if part.once:
            done = state.state == "EXITED" and state.exit_code == 0
            return None if done else f"{state.state.lower()}, exit code {state.exit_code}"
        if state.pid == 0:
            return state.state.lower()
        return part.check(self.layout, configuration, state.started)

    def _has_failed(self, part: Part, state: PartState, seconds: float) -> bool:
        ended = state.state == "FATAL" or (part.once and state.state == "EXITED")
        return ended or seconds > part.healthy_seconds * _strain()

    def _failure(self, part: Part, trouble: str, seconds: float, begin: int) -> PartError:
        load, processors = os.getloadavg()[0], os.cpu_count()
        return PartError(
            f"Part {part.name}: must be healthy to go on, got {trouble!r} after "
            f"{seconds:.0f} s, at a load of {load:.0f} on {processors} processors. The end of its "
            f"log since then:\n\n{self.log_tail(part.name, begin)}\n"
            f"Whole log: {self.layout.log_of(part.name)}. Correct the cause and run "
            "`./relevo up` again; data is kept."
        )

    def _stop_parts(self, report: Report, keep: Sequence[str] = ()) -> int:
        states = self.supervisor.states()
        stopped = 0
        for names in self._stop_waves():
            wave = [
                name
                for name in names
                if name not in keep and states[name].state not in NOT_RUNNING_STATES
            ]
            if not wave:
                continue
            patience = max(part.stop_seconds for part in self.parts if part.name in wave)
            report(f"stopping {', '.join(wave)} (up to {patience} s)")
            self.supervisor.stop(wave)
            stopped += len(wave)
        return stopped

    def _stop_waves(self) -> list[list[str]]:
        """Order parts so that each stops before what it needs, side by side otherwise."""
        left = {part.name: set(part.after) for part in self.parts}
        waves: list[list[str]] = []
        while left:
            needed = set().union(*left.values())
            wave = [name for name in left if name not in needed]
            waves.append(wave)
            for name in wave:
                del left[name]
        once = {part.name for part in self.parts if part.once}
        return [names for wave in waves if (names := [n for n in wave if n not in once])]

    @contextlib.contextmanager
    def _start_lock(self, report: Report) -> Iterator[None]:
        with self.layout.start_lock.open("a", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                report("waiting for another start")
                fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _strain() -> float:
    """Tell how many times longer things take on a busy machine, at most four times."""
    return min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further requests to stop, while stopping."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
