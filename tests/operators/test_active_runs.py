"""Which runs are active and what each is about, as Airflow's own api-server answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from include.calendar.partitions import Frequency, parse
from include.specification.pipeline_file import load
from relevo import active_runs as module
from relevo.active_runs import Run, count_active, may_concern, read_run
from tests.operators.airflow_api import FakeScheduler

DAG_ID = "loan_default_score"
LAST = ["request_retraining"]
Q4 = parse("2005-Q4", Frequency.QUARTERLY)


def active_runs(dag_id: str = DAG_ID, last: list[str] = LAST) -> tuple[Run, ...]:
    """See all that a run about 2005-Q4 sees."""
    return module.active_runs(load("loan_default"), dag_id, last, Q4).runs


def test_nothing_at_first(scheduler: FakeScheduler) -> None:
    assert count_active("never_seen") == 0
    assert active_runs("never_seen") == ()
    assert read_run("never_seen", "x") is None


def test_what_runs_are_about(scheduler: FakeScheduler) -> None:
    tasks: Any = {"ingest_loans": "success", "request_retraining": None}
    add = scheduler.add_run
    add(DAG_ID, "cron", tasks=tasks, logical_date=datetime(2005, 4, 5, 6, tzinfo=UTC))
    add(DAG_ID, "named", tasks=tasks, conf={"partition": "2005-Q3"}, state="queued")
    add(DAG_ID, "keyed", tasks=tasks, partition_key="2005-Q2", run_type="backfill")
    add(DAG_ID, "odd", tasks=tasks, conf={"partition": "summer"})
    add(DAG_ID, "over", tasks=tasks, conf={"partition": "2005-Q4"}, state="failed")
    found = {run.run_id: run for run in active_runs()}
    assert {name: (str(run.partition), run.state) for name, run in found.items()} == {
        "cron": ("2005-Q1", "running"),
        "named": ("2005-Q3", "queued"),
        "keyed": ("2005-Q2", "running"),
        "odd": ("None", "running"),
    }
    assert [name for name, run in found.items() if run.is_backfill] == ["keyed"]
    assert str(found["named"]) == "run named about 2005-Q3 (queued)"


def test_a_run_of_which_one_task_in_the_middle_was_cleared(scheduler: FakeScheduler) -> None:
    for number in range(120):
        scheduler.add_run(
            DAG_ID, f"r{number}", state="success", tasks={"request_retraining": "skipped"}
        )
    scheduler.add_run(
        DAG_ID,
        "cleared",
        tasks={"score_batch": None, "request_retraining": "skipped"},
        conf={"partition": "2005-Q1"},
    )
    scheduler.add_run(DAG_ID, "usual", tasks={"request_retraining": None})
    found = active_runs()
    assert {run.run_id for run in found} == {"cleared", "usual"}
    assert {run.run_id for run in active_runs(last=["other"])} == {
        "cleared",
        "usual",
    }
    assert count_active(DAG_ID, ["cleared", "r0", "gone"]) == 1
    assert count_active(DAG_ID, []) == 0


def test_the_order_of_runs(scheduler: FakeScheduler) -> None:
    for name, partition in (("a", "2005-Q2"), ("b", "2005-Q1"), ("c", "2005-Q2"), ("d", "odd")):
        scheduler.add_run(
            DAG_ID, name, tasks={"request_retraining": None}, conf={"partition": partition}
        )
    runs = active_runs()
    me = next(run for run in runs if run.run_id == "c")
    assert me.partition is not None
    first = [run.run_id for run in runs if run.precedes(me.partition, me.since, me.run_id)]
    # The earlier partition, and of two runs about one the older one; never the run itself.
    assert sorted(first) == ["a", "b"]


def test_the_run_that_started_first_comes_first_whatever_its_date(
    scheduler: FakeScheduler,
) -> None:
    tasks, about = {"request_retraining": None}, {"partition": "2005-Q1"}
    scheduler.add_run(DAG_ID, "by_hand", tasks=tasks, conf=about)
    due = datetime(2005, 4, 5, 6, tzinfo=UTC)
    for name, state in (("backfill__a", "running"), ("backfill__b", "queued")):
        scheduler.add_run(
            DAG_ID, name, tasks=tasks, state=state, conf=about, run_type="backfill", run_after=due
        )
    runs = {run.run_id: run for run in active_runs()}
    before = {
        name: {
            other.run_id
            for other in runs.values()
            if run.partition and other.precedes(run.partition, run.since, name)
        }
        for name, run in runs.items()
    }
    assert before == {
        "by_hand": set(),
        "backfill__a": {"by_hand"},
        "backfill__b": {"by_hand", "backfill__a"},
    }


def test_of_a_long_backfill_only_what_matters_is_read(
    scheduler: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year in range(1990, 2020):
        date = datetime(year, 1, 5, 6, tzinfo=UTC)
        scheduler.add_run(
            DAG_ID,
            f"backfill__{date.isoformat()}",
            tasks={"request_retraining": None},
            state="queued",
            run_type="backfill",
            logical_date=date,
        )
    read, found = [], module.read_run

    def count(dag_id: str, run_id: str) -> Any:
        read.append(run_id)
        return found(dag_id, run_id)

    monkeypatch.setattr(module, "read_run", count)
    active = module.active_runs(
        load("loan_default"), DAG_ID, LAST, parse("1991-Q4", Frequency.QUARTERLY)
    )
    assert [str(run.partition) for run in active.runs] == ["1989-Q4", "1990-Q4", "1991-Q4"]
    assert len(read) == 3
    assert len(active.later) == 27
    # Of many that come first, the earliest ones are enough to wait for.
    late = module.active_runs(load("loan_default"), DAG_ID, LAST, Q4.shift(400))
    assert [str(run.partition) for run in late.runs][::19] == ["1989-Q4", "2008-Q4"]
    assert len(late.runs) == 20
    assert len(late.later) == 10


def test_many_runs_are_counted_in_parts(scheduler: FakeScheduler) -> None:
    names = [f"n{number}" for number in range(120)]
    for name in names[:110]:
        scheduler.add_run(DAG_ID, name, tasks={"request_retraining": None})
    assert count_active(DAG_ID, names) == 110
    assert count_active(DAG_ID, names, ["queued"]) == 0


def test_which_pipeline_the_runs_of_a_platform_dag_are_about(scheduler: FakeScheduler) -> None:
    dag_id = "platform_migrate"
    for number, (name, state) in enumerate({"p": "running", "q": "success"}.items()):
        scheduler.add_run(
            dag_id, f"m{number}", state=state, tasks={"migrate": None}, conf={"pipeline": name}
        )
    assert [may_concern(dag_id, name) for name in ("p", "q", "r")] == [True, False, False]
    scheduler.add_run("platform_maintain", "all", tasks={"plan": None})
    assert may_concern("platform_maintain", "r")
    assert may_concern("p_score", "p")
