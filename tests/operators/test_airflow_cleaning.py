"""Old runs out of Airflow's own database: by age, but never what is open or asked for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from stack.airflow_cleaning import clean
from tests.operators.airflow_api import FakeScheduler

NOW = datetime.now(UTC)
OLD = NOW - timedelta(days=400)
DAGS = ("loans_score", "loans_train", "platform_rollback", "platform_maintain")


@pytest.fixture
def aged(scheduler: FakeScheduler) -> FakeScheduler:
    """Runs of each DAG that ended 400 days ago, and one of scoring that ended now."""
    for dag_id in DAGS:
        scheduler.add_dag(dag_id)
        for number in range(2):
            scheduler.add_run(dag_id, f"old_{number}", tasks={"a": "success"}, state="success")
    _begin(OLD)
    scheduler.add_run("loans_score", "new", tasks={"a": "success"}, state="success")
    return scheduler


def _begin(moment: datetime, *, with_dates: bool = True) -> None:
    from airflow.models import taskinstance
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        for model in (taskinstance.TaskInstance, DagRun):
            session.execute(update(model).values(start_date=moment))
        if with_dates:
            session.execute(update(DagRun).values(run_after=moment))


def runs(dag_id: str) -> set[str]:
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    with create_session() as session:
        return set(session.scalars(select(DagRun.run_id).where(DagRun.dag_id == dag_id)))


def tasks() -> int:
    from airflow.models import taskinstance
    from airflow.utils.session import create_session

    with create_session() as session:
        return len(session.scalars(select(taskinstance.TaskInstance.task_id)).all())


def test_old_runs_go_but_for_those_that_are_asked_for(aged: FakeScheduler) -> None:
    clean(365, NOW, remove=True)
    assert runs("loans_score") == {"new"}
    assert runs("platform_maintain") == set()
    assert runs("loans_train") == runs("platform_rollback") == {"old_0", "old_1"}
    assert tasks() == 5
    clean(365, NOW, remove=True)
    assert tasks() == 5


def test_nothing_goes_unless_told(aged: FakeScheduler) -> None:
    assert clean(365, NOW, remove=False) == (NOW - timedelta(days=365), 4)
    assert len(runs("loans_score")) == 3


def test_nothing_younger_than_an_open_run_goes(aged: FakeScheduler) -> None:
    """Its tasks may be as old as it is, also if somebody cleared it just now."""
    aged.add_run("loans_score", "cleared", tasks={"a": "success", "b": None}, run_after=OLD)
    assert clean(365, NOW, remove=True) == (OLD, 0)
    assert runs("loans_score") == {"old_0", "old_1", "new", "cleared"}


def test_the_latest_run_of_a_schedule_stays(scheduler: FakeScheduler) -> None:
    scheduler.add_dag("yearly_score")
    for number in (1, 2):
        scheduler.add_run(
            "yearly_score",
            f"scheduled_{number}",
            tasks={"a": "success"},
            state="success",
            run_type="scheduled",
            run_after=OLD + timedelta(days=number),
        )
    _begin(OLD, with_dates=False)
    clean(365, NOW, remove=True)
    assert runs("yearly_score") == {"scheduled_2"}
    assert tasks() == 1
