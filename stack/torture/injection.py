"""Carries out the faults of a round, each when its moment has come."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from stack.errors import AirflowApiError, SupervisorError
from stack.torture.faults import KINDS, Fault
from stack.torture.gate import Hit
from stack.torture.place import Place
from stack.torture.story import Story

# What also means something when everything has ended.
LATE = frozenset(kind for kind in KINDS if kind.startswith(("two runs", "task of a finished run")))
_ENDED = ("success", "failed")


@dataclass
class Injection:
    """The faults of one round under way.

    Args:
        place: The stack.
        stories: The worlds by pipeline.
        waiting: Faults whose moment has not come.
        hits: What happened here; the gates keep their own.
    """

    place: Place
    stories: Mapping[str, Story]
    waiting: list[Fault]
    hits: list[Hit] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def begin(cls, place: Place, stories: Sequence[Story], planned: Sequence[Fault]) -> Injection:
        """Start with nothing armed."""
        for gate in place.gates.values():
            gate.hits.clear()
        return cls(place, {story.pipeline: story for story in stories}, list(planned))

    def advance(self, finished: int) -> None:
        """Arm or carry out every fault whose moment has come.

        Args:
            finished: How many tasks of the round have succeeded.
        """
        due = [fault for fault in self.waiting if fault.after <= finished]
        for fault in due:
            rule = fault.rule()
            if rule is not None:
                self.waiting.remove(fault)
                self.place.gates[rule[0]].arm(rule[1])
            elif self._carry_out(fault):
                self.waiting.remove(fault)

    def finish(self) -> bool:
        """Clear and double now what still waits for its moment; tell whether anything happened."""
        late = [fault for fault in self.waiting if fault.kind in LATE]
        done = [fault for fault in late if self._carry_out(fault)]
        self.waiting = [fault for fault in self.waiting if fault not in late]
        return bool(done)

    def happened(self) -> list[Hit]:
        """Return what has happened so far, in order."""
        spoilt = [hit for gate in self.place.gates.values() for hit in gate.hits]
        return sorted([*self.hits, *spoilt], key=lambda hit: hit.at)

    def end(self) -> list[Hit]:
        """Disarm everything and return what happened, in order."""
        for thread in self._threads:
            thread.join()
        for gate in self.place.gates.values():
            gate.disarm()
        self.hits += self._jumps()
        self.waiting.clear()
        return self.happened()

    def _carry_out(self, fault: Fault) -> bool:
        """Return whether it is done; one that was not possible yet is tried again later."""
        try:
            if "part" in fault.details:
                return self._kill(fault)
            if "seconds" in fault.details:
                return self._stop_store(fault)
            if "jump" in fault.details:
                return self._jump(fault)
            story = self.stories[fault.pipeline]
            if "task" in fault.details:
                return self._clear(fault, story)
            if fault.kind.startswith("two runs"):
                return self._double(fault, story)
            return self._mark_failed(fault, story)
        except (AirflowApiError, SupervisorError):
            return False  # Airflow is away just now

    def _note(self, fault: Fault, what: str, victim: str = "") -> bool:
        self.hits.append(Hit(fault.number, time.time(), what, victim))
        return True

    def _kill(self, fault: Fault) -> bool:
        name = fault.details["part"]
        pid = self.place.stack.supervisor.states()[name].pid
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return self._note(fault, f"SIGKILL of {name}", f"{name} {pid}")
        return False

    def _stop_store(self, fault: Fault) -> bool:
        pid = self.place.stack.supervisor.states()["store"].pid
        if not pid:
            return False
        process = psutil.Process(pid)
        process.suspend()
        self._note(fault, f"SIGSTOP of store for {fault.details['seconds']} s", f"store {pid}")

        def go_on() -> None:
            time.sleep(fault.details["seconds"])
            with contextlib.suppress(psutil.Error):
                process.resume()

        thread = threading.Thread(target=go_on)
        thread.start()
        self._threads.append(thread)
        return True

    def _jump(self, fault: Fault) -> bool:
        """Leave the jump for the task's process, which takes it (see `clock_plugin`)."""
        self._clocks.mkdir(exist_ok=True)
        jump = {**fault.details, "seconds": fault.details["jump"]}
        written = self._clocks / f"{fault.number:04d}.tmp"
        written.write_text(json.dumps(jump), encoding="utf-8")
        written.rename(written.with_suffix(".json"))
        return True

    def _jumps(self) -> list[Hit]:
        """Take away every jump, and return those that happened."""
        found = []
        for path in sorted(self._clocks.glob("*")):
            if path.suffix == ".taken":
                jump = json.loads(path.read_text(encoding="utf-8"))
                what = f"clock of {jump['dag_id']} {jump['task_id']} by {jump['seconds']} s"
                found.append(Hit(int(path.stem), path.stat().st_ctime, what, ""))
            path.unlink()
        return found

    @property
    def _clocks(self) -> Path:
        return self.place.layout.state / "clocks"

    def _run_of(self, story: Story, dag: str, partition: str) -> dict[str, str] | None:
        """Find the run of a partition; of the training DAG any that has ended."""
        if dag == "train":
            ended = [
                run for run in self.place.api.dag_runs(story.train_dag) if run["state"] in _ENDED
            ]
            return ended[-1] if ended else None
        return story.run_of(partition)

    def _clear(self, fault: Fault, story: Story) -> bool:
        dag, task = fault.details["dag"], fault.details["task"]
        run = self._run_of(story, dag, fault.details["partition"])
        if run is None or run["state"] != "success":
            return False
        cleared = self.place.api.clear_task_instances(
            run["dag_id"],
            run["dag_run_id"],
            [task],
            include_downstream=fault.details["downstream"],
        )
        names = ", ".join(sorted({item["task_id"] for item in cleared}))
        return self._note(fault, f"cleared {names} of {run['dag_id']} {run['dag_run_id']}")

    def _double(self, fault: Fault, story: Story) -> bool:
        partition = fault.details["partition"]
        run = self._run_of(story, "score", partition)
        if run is None or run["state"] == "queued":
            return False
        run_id = f"double_{fault.number}"
        self.place.api.trigger(story.score_dag, {"partition": partition}, run_id=run_id)
        return self._note(fault, f"second run of {partition} beside {run['dag_run_id']}")

    def _mark_failed(self, fault: Fault, story: Story) -> bool:
        run = self._run_of(story, "score", fault.details["partition"])
        if run is None or run["state"] != "running":
            return False
        tasks = self.place.api.task_instances(run["dag_id"], run["dag_run_id"], state=["success"])
        if len(tasks) < fault.details["finished"]:
            return False
        self.place.api.mark_dag_run(run["dag_id"], run["dag_run_id"], "failed")
        return self._note(fault, f"marked {run['dag_id']} {run['dag_run_id']} failed")
