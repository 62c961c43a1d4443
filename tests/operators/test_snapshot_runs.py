"""Which snapshot a run is about: a named one, that of its event, the next or the latest one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.calendar.partitions import Frequency
from include.specification import pipeline_file
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings
from relevo.macros import partition_of
from tests.operators.running import store_connection

Name = Callable[..., str]


@pytest.fixture
def lake(store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """Tables of a pipeline without time that no other test knows."""
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))
    timeless = pipeline_file.load("loan_default").model_copy(update={"partition": Frequency.NONE})
    monkeypatch.setattr(pipeline_file, "load", lambda name: timeless)
    return Lake(store_settings, f"p{uuid.uuid4().hex[:12]}")


@pytest.fixture
def score(lake: Lake) -> Name:
    """Render the macro in a task of a scoring run."""
    return _renderer(lake, "score")


@pytest.fixture
def train(lake: Lake) -> Name:
    """Render the macro in a task of a training run."""
    return _renderer(lake, "train")


def _renderer(lake: Lake, kind: str) -> Name:
    def name(
        run_id: str, key: str | None = None, *, is_teardown: bool = False, **params: Any
    ) -> str:
        run = SimpleNamespace(
            dag_id=f"{lake.pipeline}_{kind}", run_id=run_id, partition_key=key, logical_date=None
        )
        return partition_of(lake.pipeline, run, params, is_teardown)

    return name


def test_scoring_runs_take_one_number_after_the_other(score: Name) -> None:
    assert score("run a") == "snapshot-0001"
    assert score("run b") == "snapshot-0002"
    assert score("run a", partition=None) == "snapshot-0001"  # every task of a run sees the same


def test_a_training_by_hand_is_about_the_latest(score: Name, train: Name) -> None:
    assert train("training a") == "snapshot-0001"
    assert score("run a") == "snapshot-0002"
    assert score("run b") == "snapshot-0003"
    assert train("training b") == "snapshot-0003"


def test_a_training_does_not_move_on_while_it_waits_for_approval(
    lake: Lake, score: Name, train: Name
) -> None:
    named = train("training a")
    origin = Origin(f"{lake.pipeline}_train", "training a", "build_training_set")
    ledger.record(lake, "training", named, "started", "", origin=origin)
    assert score("run a") == "snapshot-0002"
    assert train("training a") == "snapshot-0001"


def test_the_event_that_started_a_training_names_it(score: Name, train: Name) -> None:
    score("run a")
    score("run b")
    assert train("training a", key="snapshot-0001") == "snapshot-0001"


def test_a_person_may_ask_for_a_snapshot_again(score: Name) -> None:
    score("run a")
    score("run b")
    assert score("run c", partition="snapshot-0001") == "snapshot-0001"
    assert score("run d") == "snapshot-0003"


def test_a_number_that_a_person_names_is_not_given_to_another_run(score: Name, train: Name) -> None:
    assert train("training a", partition="snapshot-0001") == "snapshot-0001"
    assert score("run a") == "snapshot-0002"
    assert score("run b", partition="snapshot-0003") == "snapshot-0003"
    assert score("run c") == "snapshot-0004"


def test_a_name_of_another_form_takes_no_number(lake: Lake, score: Name) -> None:
    with pytest.raises(AirflowFailException, match="a snapshot reads like 'snapshot-0001'"):
        score("run a", partition="2005-Q1")
    assert ledger.entries(lake) == []


def test_a_run_that_was_marked_before_it_began_takes_no_number(
    lake: Lake, score: Name, train: Name
) -> None:
    """Its last task runs all the same."""
    for last in (score, train):
        with pytest.raises(AirflowFailException, match="marked: must have begun to be about"):
            last("marked", is_teardown=True)
        assert last("named", partition="snapshot-0001", is_teardown=True) == "snapshot-0001"
    assert ledger.entries(lake) == []
    score("run a")
    assert train("training a") == "snapshot-0001"
    origin = Origin(f"{lake.pipeline}_train", "training a", "build_training_set")
    ledger.record(lake, "training", "snapshot-0001", "started", "", origin=origin)
    assert score("run b") == "snapshot-0002"
    assert score("run a", is_teardown=True) == train("training a", is_teardown=True)
