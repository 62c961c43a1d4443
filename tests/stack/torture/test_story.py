"""What the harness mends as a person would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import call, create_autospec

import pytest

from stack.airflow_api import AirflowApi
from stack.torture.story import MOST_CLEARS, Story

NAME = "torture_0001"


@pytest.fixture
def api() -> Any:
    return create_autospec(AirflowApi, instance=True, spec_set=True)


@pytest.fixture
def story(api: Any) -> Story:
    return Story(SimpleNamespace(api=api), NAME, 2)  # type: ignore[arg-type]


def test_a_failed_run_is_cleared_by_what_failed_and_then_as_a_whole(api: Any, story: Story) -> None:
    api.dag_runs.side_effect = lambda dag_id: (
        [
            {
                "dag_id": dag_id,
                "dag_run_id": "r",
                "state": "failed",
                "conf": {},
                "logical_date": f"{due:%Y-%m-%d}T06:00:00Z",
            }
        ]
        * dag_id.endswith("_score")
    )
    due = story.due(story.partitions[1])
    tasks = [{"task_id": name, "state": "skipped"} for name in ("b", "a")]
    api.task_instances.side_effect = lambda *run, **filters: [] if filters else tasks
    told = [story.mend() for _ in range(MOST_CLEARS + 1)]
    in_turn = [call.clear_failed_tasks(story.score_dag, "r")]
    in_turn.append(call.clear_task_instances(story.score_dag, "r", ["a", "b"]))
    cleared = [made for made in api.mock_calls if made[0].startswith("clear")]
    assert cleared == in_turn * (MOST_CLEARS // 2)
    assert story.failed == {str(story.partitions[1])}
    assert told[:-1] == [[]] * MOST_CLEARS
    assert told[-1] == [f"run {story.score_dag} r failed {MOST_CLEARS} times"]


def test_a_task_that_waits_for_a_clock_that_jumped_is_cleared(api: Any, story: Story) -> None:
    now = datetime.now(UTC)
    api.dag_runs.return_value = []
    api.task_instances.side_effect = lambda dag_id, **filters: [
        {"task_id": name, "dag_run_id": "r", "end_date": end.isoformat()}
        for name, end in (("soon", now), ("tomorrow", now + timedelta(days=1)))
        if dag_id == story.score_dag and filters == {"state": ["up_for_retry"]}
    ]
    assert story.mend() == []
    api.clear_task_instances.assert_called_once_with(story.score_dag, "r", ["tomorrow"])
