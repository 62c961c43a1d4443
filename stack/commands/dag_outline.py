"""The DAGs that pipeline files make, read from the factory without a running Airflow.

The factory needs Airflow, which writes a configuration file, logs to the terminal, and stays in the
process: so it runs in one of its own, in a home that is thrown away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from include.development.planning import PlannedDag
from stack.embedded.layout import REPOSITORY
from stack.errors import StackError

_ANSWER = "OUTLINE "
_ERROR_CHARACTERS = 2000


def outline(names: Sequence[str]) -> dict[str, tuple[PlannedDag, ...]]:
    """Make the DAGs of pipelines; returns them by pipeline, scoring first.

    Args:
        names: Pipelines whose files are right.

    Raises:
        StackError: If the factory fails.
    """
    with tempfile.TemporaryDirectory(prefix="relevo-outline-") as home:
        done = subprocess.run(
            [sys.executable, "-m", "stack.commands.dag_outline", *names],
            cwd=REPOSITORY,
            env=_environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
    answers = [line for line in done.stdout.splitlines() if line.startswith(_ANSWER)]
    if done.returncode != 0 or not answers:
        raise StackError(
            f"DAGs of {', '.join(names)}: must be made by the factory, got an error. "
            f"{done.stderr.strip()[-_ERROR_CHARACTERS:]}"
        )
    found = json.loads(answers[-1].removeprefix(_ANSWER))
    return {name: tuple(PlannedDag.from_dict(dag) for dag in dags) for name, dags in found.items()}


def _environment(home: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    return {
        **kept,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "plugins")]),
        "TZ": "UTC",
    }


def _planned(dag: Any) -> PlannedDag:
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from airflow.serialization.serialized_objects import DagSerialization

    from include.development.planning import PlannedTask

    # As the scheduler reads it: only there a timetable tells what Airflow shows of it.
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    tasks = [
        PlannedTask(
            task.task_id,
            task.task_type,
            tuple(sorted(task.upstream_task_ids)),
            _values(task.expand_input.value) if isinstance(task, MappedOperator) else (),
        )
        for task in dag.topological_sort()
    ]
    return PlannedDag(dag.dag_id, str(stored.timetable.summary), tuple(tasks))


def _values(expanded: Any) -> tuple[str, ...]:
    """List what a task is mapped over, as far as the file tells it."""
    return tuple(
        str(value)
        for values in expanded.values()
        if isinstance(values, list | tuple)
        for value in values
    )


def _main(names: Sequence[str]) -> None:
    from relevo.dags import declare

    found = {name: [_planned(dag).to_dict() for dag in declare(name)] for name in names}
    print(_ANSWER + json.dumps(found))


if __name__ == "__main__":
    _main(sys.argv[1:])
