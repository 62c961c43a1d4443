"""docs/production/sharing.md on a running stack: five teams, two pools, one of them full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from stack.torture import place
from stack.torture.place import Place
from stack.torture.story import Story
from tests.system.conftest import until

CROWD, QUICK = "crowd", "quick"


@dataclass
class Team(Story):
    """A pipeline whose file names a pool."""

    pool: str = ""

    def schedule(self, end: date | None) -> None:
        """Write the pipeline; its DAG file once more, since Airflow may have been too quick."""
        super().schedule(end)
        project = self.place.layout.repository
        file = project / "include" / "pipelines" / f"{self.pipeline}.yaml"
        file.write_text(f"{file.read_text()}execution: {{pool: {self.pool}}}\n")
        declared = project / "dags" / f"{self.pipeline}.py"
        declared.write_text(f"{declared.read_text()}\n")

    def is_in_its_pool(self) -> bool:
        """Tell whether Airflow knows by now."""
        tasks = [task for dag in (self.train_dag, self.score_dag) for task in self.tasks_of(dag)]
        return {task["pool"] for task in tasks} == {self.pool}

    def tasks_of(self, dag_id: str) -> list[dict[str, Any]]:
        """List the tasks of a DAG."""
        return self.place.api.tasks(dag_id)

    def begun(self) -> list[str]:
        """Name the tasks of the training that were ever begun."""
        found = self.place.api.task_instances(self.train_dag, "first")
        return [task["task_id"] for task in found if task["start_date"]]


def set_pool(held: Place, name: str, slots: int) -> None:
    """Make a pool, or give it other slots, by the command of the page."""
    done = subprocess.run(
        [sys.executable, "-m", "stack.cli", "airflow", "pools", "set", name, str(slots), "a team"],
        cwd=held.layout.repository,
        env={**os.environ, "RELEVO_STATE": str(held.layout.state)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("sharing") / "stack"
    with place.running(folder, print) as running:
        yield running


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_full_pool_keeps_only_its_own_teams_waiting(held: Place) -> None:
    set_pool(held, QUICK, 2)
    set_pool(held, CROWD, 0)
    crowd = [Team(held, f"crowd_{number}", scored=1, pool=CROWD) for number in range(4)]
    quick = Team(held, "quick", scored=2, pool=QUICK)
    for team in (*crowd, quick):
        team.prepare()
        until(team.is_in_its_pool, f"the pool of {team.pipeline}")
        team.train()

    until(quick.begin_scoring, "the training of the team that has slots")
    until(quick.is_quiet, "its scoring")
    assert [team.begun() for team in crowd] == [[]] * len(crowd)

    set_pool(held, CROWD, 1)
    for team in crowd:
        until(team.begin_scoring, f"the training of {team.pipeline}")
    for team in crowd:
        until(team.is_quiet, f"the scoring of {team.pipeline}")
    assert all(team.observe().rows("predictions") for team in (*crowd, quick))
