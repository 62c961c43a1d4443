"""Processes of a stack that nobody supervises any more."""

from __future__ import annotations

import os
from collections.abc import Iterable

import psutil

from stack.embedded.environment import PART_VARIABLE
from stack.embedded.layout import STATE_VARIABLE, Layout

ROUNDS = 5
GRACE_SECONDS = 15.0


def find_processes(layout: Layout, part: str | None = None) -> list[psutil.Process]:
    """Return the processes that carry the marker of this stack, and their descendants.

    The state directory alone is no marker, because the shell of a user may
    export it; only parts have the part's name as well.

    Args:
        layout: The stack's paths.
        part: Look for this part alone.
    """
    state = str(layout.state)
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            name = environment.get(PART_VARIABLE)
            if environment.get(STATE_VARIABLE) == state and name and part in (None, name):
                for member in (process, *process.children(recursive=True)):
                    found[member.pid] = member
        except psutil.Error:
            continue
    # `./relevo` may itself be called by a task, and must not end itself.
    caller = psutil.Process()
    for process in (caller, *caller.parents()):
        found.pop(process.pid, None)
    return [process for process in found.values() if not _has_ended(process)]


def _has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended while others were looked at
        return True


def end_processes(processes: Iterable[psutil.Process], grace_seconds: float = GRACE_SECONDS) -> int:
    """Ask processes to end, then force those that are left.

    Returns:
        How many processes there were.
    """
    processes = list(processes)
    for process in processes:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=5)
    return len(processes)


def end_orphans(layout: Layout, part: str | None = None) -> int:
    """End what is left of a stack whose supervisord is gone, or of a part that crashed.

    Args:
        layout: The stack's paths.
        part: End what is left of this part alone.

    Returns:
        How many processes were found.
    """
    ended = 0
    # A process may fork between being listed and being ended, but not for ever.
    for _ in range(ROUNDS):
        processes = find_processes(layout, part)
        if not processes:
            break
        ended += end_processes(processes, grace_seconds=GRACE_SECONDS if part is None else 2.0)
    return ended


def is_process_running(pid: int) -> bool:
    """Tell whether a process exists and is not a zombie."""
    try:
        os.kill(pid, 0)
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (OSError, psutil.NoSuchProcess):
        return False
