"""Each fault is carried out when its moment has come, and told of only if it happened."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from stack.embedded.layout import Layout
from stack.errors import AirflowApiError
from stack.torture.faults import Fault
from stack.torture.gate import Hit, in_front
from stack.torture.injection import Injection
from stack.torture.story import Story

NAME = "torture_0001"
CLEARED = "task of a finished run cleared"


class Api:
    """Airflow, with one scoring run of 2020-05."""

    def __init__(self) -> None:
        self.state = "running"
        self.calls: list[tuple[Any, ...]] = []
        self.tasks = [{"task_id": "ingest_loans", "state": "success"}]

    def dag_runs(self, dag_id: str) -> list[dict[str, Any]]:
        run = {"dag_id": dag_id, "dag_run_id": "r", "state": self.state}
        return [{**run, "logical_date": "2020-06-02T06:00:00Z"}]

    def task_instances(self, dag_id: str, run_id: str, **filters: Any) -> list[dict[str, Any]]:
        return self.tasks

    def clear_task_instances(self, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
        self.calls.append((*arguments, options))
        return [{"task_id": name} for name in arguments[2]]

    def trigger(self, *arguments: Any, **options: Any) -> None:
        self.calls.append((*arguments, options))

    def mark_dag_run(self, *arguments: Any) -> None:
        self.calls.append(arguments)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def place(tmp_path: Path, victim: subprocess.Popen[bytes]) -> Iterator[Any]:
    layout = Layout(tmp_path)
    states = {name: SimpleNamespace(pid=victim.pid) for name in ("spark", "store")}
    stack = SimpleNamespace(supervisor=SimpleNamespace(states=lambda: states))
    with in_front(layout, 0, 1) as store, in_front(layout, 0, 1) as mlflow:
        gates = {"store": store, "mlflow": mlflow}
        yield SimpleNamespace(layout=layout, api=Api(), gates=gates, stack=stack)


def begin(place: Any, kind: str, after: int = 0, **details: Any) -> Injection:
    story = Story(place, NAME, 3)
    return Injection.begin(place, [story], [Fault(1, kind, NAME, after, details)])


def test_a_rule_is_armed_at_its_moment(place: Any) -> None:
    details = {"gate": "store", "action": "reset", "method": "GET", "path": "x", "times": 2}
    injection = begin(place, "store resets connections", 5, **details)
    injection.advance(4)
    assert place.gates["store"].rules == []
    injection.advance(5)
    assert [rule.left for rule in place.gates["store"].rules] == [2]
    place.gates["store"].hits.append(Hit(1, 1.0, "GET /x", ""))
    assert injection.end() == [Hit(1, 1.0, "GET /x", "")]
    assert place.gates["store"].rules == []


def test_a_part_is_killed(place: Any, victim: subprocess.Popen[bytes]) -> None:
    injection = begin(place, "Spark Connect killed", part="spark")
    injection.advance(0)
    assert victim.wait(10) == -9
    (hit,) = injection.end()
    assert hit.what == "SIGKILL of spark"


def test_the_store_stops_and_goes_on(place: Any, victim: subprocess.Popen[bytes]) -> None:
    injection = begin(place, "store stopped for 30 s", seconds=0.5)
    injection.advance(0)
    process = psutil.Process(victim.pid)
    deadline = time.monotonic() + 5
    while process.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.status() == psutil.STATUS_STOPPED
    assert len(injection.end()) == 1
    assert process.status() != psutil.STATUS_STOPPED


def test_a_finished_run_is_cleared_and_no_other(place: Any) -> None:
    details = {"dag": "score", "task": "score_batch", "downstream": True, "partition": "2020-05"}
    injection = begin(place, f"{CLEARED} with downstream", **details)
    injection.advance(0)
    assert place.api.calls == []
    place.api.state = "success"
    injection.advance(0)
    injection.advance(0)
    assert place.api.calls == [
        (f"{NAME}_score", "r", ["score_batch"], {"include_downstream": True})
    ]
    assert len(injection.end()) == 1


def test_what_came_too_late_is_made_when_all_is_quiet(place: Any) -> None:
    details = {"dag": "score", "task": "score_batch", "downstream": False, "partition": "2020-05"}
    injection = begin(place, CLEARED, 999, **details)
    place.api.state = "success"
    injection.advance(10)
    assert injection.finish()
    assert not injection.finish()
    assert len(injection.end()) == 1


def test_a_partition_is_run_twice(place: Any) -> None:
    injection = begin(place, "two runs of a partition at once", partition="2020-05")
    injection.advance(0)
    ((dag_id, conf, options),) = place.api.calls
    assert (dag_id, conf) == (f"{NAME}_score", {"partition": "2020-05"})
    assert options == {"run_id": "double_1"}


def test_a_run_is_marked_failed_when_it_has_come_so_far(place: Any) -> None:
    kind = "run marked failed and cleared"
    injection = begin(place, kind, partition="2020-05", finished=2)
    injection.advance(0)
    assert place.api.calls == []
    place.api.tasks = place.api.tasks * 2
    injection.advance(0)
    assert place.api.calls == [(f"{NAME}_score", "r", "failed")]


def test_a_clock_jumps_when_a_task_has_taken_it(place: Any) -> None:
    details = {"dag_id": f"{NAME}_score", "task_id": "score_batch", "jump": -60}
    injection = begin(place, "clock of a worker jumps", **details)
    injection.advance(0)
    (path,) = (place.layout.state / "clocks").iterdir()
    assert json.loads(path.read_text())["seconds"] == -60
    path.rename(path.with_suffix(".taken"))
    (hit,) = injection.end()
    assert hit.what == f"clock of {NAME}_score score_batch by -60 s"


def test_a_jump_that_nobody_took_did_not_happen(place: Any) -> None:
    details = {"dag_id": f"{NAME}_score", "task_id": "score_batch", "jump": -60}
    injection = begin(place, "clock of a worker jumps", **details)
    injection.advance(0)
    assert injection.end() == []
    assert list((place.layout.state / "clocks").iterdir()) == []


def test_an_airflow_that_is_away_is_asked_again(
    place: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(dag_id: str) -> None:
        raise AirflowApiError("away")

    with monkeypatch.context() as patch:
        patch.setattr(place.api, "dag_runs", away)
        injection = begin(place, "two runs of a partition at once", partition="2020-05")
        injection.advance(0)
    assert len(injection.waiting) == 1
    injection.advance(0)
    assert injection.waiting == []
