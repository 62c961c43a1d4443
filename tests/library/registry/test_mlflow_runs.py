"""Runs that another task changes at the same time; MLflow's client is a stand-in here."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import create_autospec

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include.registry.mlflow_runs import KEY, Tracking
from include.storage.settings import MlflowSettings


def run(run_id: str, digest: str, start_time: int) -> SimpleNamespace:
    """A nested run of a fit, as a search finds it."""
    return SimpleNamespace(
        info=SimpleNamespace(run_id=run_id, start_time=start_time),
        data=SimpleNamespace(tags={KEY: f"candidate/parent/tree/{digest}"}),
    )


@pytest.fixture
def client() -> Any:
    """A client of a server that refuses every change, and finds what a test says."""
    made = create_autospec(MlflowClient, instance=True)
    refusal = MlflowException("The run must be in the 'active' state.")
    made.set_tag.side_effect = made.set_terminated.side_effect = refusal
    return made


@pytest.fixture
def tracking(client: Any) -> Tracking:
    made = Tracking(MlflowSettings(uri="http://127.0.0.1:9"), "loans")
    made.client = client
    return made


def found(client: Any, *runs: SimpleNamespace) -> None:
    """Let a search by key find the runs of that key, and one for siblings all of them."""
    client.search_runs.side_effect = lambda _, condition, **__: [
        item for item in runs if KEY not in condition or item.data.tags[KEY] in condition
    ]


def lie(client: Any, stage: str) -> None:
    """Let every run be active or deleted."""
    client.get_run.return_value = SimpleNamespace(info=SimpleNamespace(lifecycle_stage=stage))


@pytest.mark.parametrize(
    "other", [run("b", "1", 2), run("b", "2", 2)], ids=["of the same fit", "of another fit"]
)
def test_a_run_that_another_task_deletes_at_the_same_time(
    client: Any, tracking: Tracking, other: SimpleNamespace
) -> None:
    found(client, run("a", "1", 1), other)
    lie(client, "deleted")
    assert tracking.candidate("parent", "tree", "1") == "a"
    lie(client, "active")
    with pytest.raises(MlflowException, match="must be in the 'active' state"):
        tracking.candidate("parent", "tree", "1")


def test_a_run_of_the_same_fit_is_not_superseded(client: Any, tracking: Tracking) -> None:
    found(client, run("a", "1", 1), run("b", "1", 2))
    client.set_terminated.side_effect = None
    assert tracking.candidate("parent", "tree", "1") == "a"
    client.delete_run.assert_called_once_with("b")
    client.set_tag.assert_not_called()
