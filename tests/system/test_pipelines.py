"""Four pipelines that differ in every way that matters, on the real stack and real data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow.parquet as pq
import pytest

from include.ingestion.landing import land
from include.monitoring.performance import PerformanceRecord
from include.registry.champions import Registry
from include.specification import pipeline_file
from include.specification.generations import quarantine_table
from include.specification.pipeline import Pipeline
from include.steps import monitoring
from include.storage import ledger
from include.storage.lake_tables import Lake
from tests.pipelines.records import FILES, land_records
from tests.system.conftest import SystemStack

APPROVED, REJECTED = "Approve", "Reject"

Ends = Mapping[str, Future[None]]


class Running:
    """One pipeline on the stack."""

    def __init__(self, stack: SystemStack, name: str) -> None:
        self.stack = stack
        self.name = name
        self.score, self.train = f"{name}_score", f"{name}_train"
        self.lake = Lake(stack.settings.store, name)
        for dag_id in (self.train, self.score):
            stack.api.wait_for_dag(dag_id)
            stack.api.unpause(dag_id)

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline file."""
        return pipeline_file.load(self.name)

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run; returns its id."""
        run = self.stack.api.trigger(dag_id, conf or {})
        return str(run["dag_run_id"])

    def train_as_of(self, partition: str) -> None:
        """Train, and wait; another pipeline may be training meanwhile."""
        run_id = self.trigger(self.train, {"partition": partition})
        self.stack.wait(self.train, run_id, seconds=900)

    def answer(self, run_id: str, option: str) -> None:
        """Answer the question whether a challenger may take over, as a person would.

        Airflow asks again, and forgets the answer, when one comes while the task is only about to
        wait; nobody reads and clicks that fast.
        """
        run = f"dags/{self.train}/dagRuns/{quote(run_id)}"
        path = f"{run}/taskInstances/approve_promotion/-1/hitlDetails"
        body = {"chosen_options": [option], "params_input": {}}

        def is_answered() -> bool:
            tasks = {
                task["task_id"]: task for task in self.stack.api.task_instances(self.train, run_id)
            }
            assert "failed" not in {task["state"] for task in tasks.values()}, tasks
            question = tasks.get("approve_promotion", {})
            if question.get("state") == "awaiting_input":
                asked = datetime.fromisoformat(question["start_date"].replace("Z", "+00:00"))
                is_waiting = (datetime.now(UTC) - asked).total_seconds() > 5
                if is_waiting and not self.stack.api._get(path)["response_received"]:
                    self.stack.api._request("PATCH", path, json=body)
            return question.get("state") in ("success", "skipped")

        self.stack.until(is_answered, "the answer to be taken", 900)

    def backfill(self, first: datetime, last: datetime, runs: int) -> None:
        """Score due dates one after the other, with the retrainings that they start."""
        self.stack.api.create_backfill(self.score, first, last, max_active_runs=2)

        def ended() -> bool:
            scored = self.stack.api.dag_runs(self.score)
            held = [*scored, *self.stack.api.dag_runs(self.train)]
            failed = [run["dag_run_id"] for run in held if run["state"] == "failed"]
            assert not failed, failed
            done = len(scored) == runs and all(run["state"] == "success" for run in held)
            return done and not ledger.pending_trainings(self.lake)

        self.stack.until(ended, f"{runs} runs of {self.score}", 900)

    def performance(self) -> dict[str, PerformanceRecord]:
        """Read what was measured, by the partition that was predicted."""
        rows = monitoring.rows(self.lake, monitoring.PERFORMANCE)
        records = [PerformanceRecord.from_dict(json.loads(row["details"])) for row in rows]
        return {record.partition: record for record in records}


Story = Callable[[Callable[[str], Running], SystemStack, Path], None]


@pytest.fixture(scope="module")
def ends(stack: SystemStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    """What came of each story; two at a time, because a stack mostly waits."""

    def live(story: Story) -> None:
        story(lambda name: Running(stack, name), stack, tmp_path_factory.mktemp("story"))

    with ThreadPoolExecutor(max_workers=2) as pool:
        yield {story.__name__: pool.submit(live, story) for story in STORIES}


def telco_churn(running: Callable[[str], Running], stack: SystemStack, tmp_path: Path) -> None:
    telco = running("telco_churn")
    customers = pd.read_parquet(FILES[telco.name])
    for number, rows in ((1, customers[:3_000]), (2, customers[3_000:3_500])):
        file = tmp_path / "customers.parquet"
        rows.to_parquet(file, index=False)
        land(stack.store, telco.pipeline, file, snapshot=number)

    run_id = telco.trigger(telco.train)
    telco.answer(run_id, REJECTED)
    stack.wait(telco.train, run_id, seconds=900)
    assert ledger.training_states(telco.lake) == {"snapshot-0001": "refused"}
    assert Registry(telco.lake).champion_as_of(monitoring.partitions.snapshot(2)) is None

    # Somebody thinks again: cleared, the question is asked again, and the other answer counts.
    stack.api.clear_task_instances(
        telco.train, run_id, ["approve_promotion"], include_downstream=True
    )
    telco.answer(run_id, APPROVED)
    stack.wait(telco.train, run_id, seconds=900)
    assert ledger.training_states(telco.lake) == {"snapshot-0001": "promoted"}

    run_id = telco.trigger(telco.score)
    stack.wait(telco.score, run_id, seconds=900)
    scored = telco.lake.read("predictions").to_pandas()
    assert set(scored["partition"]) == {"snapshot-0002"}
    assert len(scored) + _quarantined(telco, "customers", "snapshot-0002") == 500
    assert scored["score"].between(0, 1).all()
    record = telco.performance()["snapshot-0002"]
    assert record.value is not None
    assert record.value > 0.8
    assert not record.back_scored


def south_german_credit(
    running: Callable[[str], Running], stack: SystemStack, tmp_path: Path
) -> None:
    credit = running("south_german_credit")
    land_records(stack.settings.store, credit.name)
    credit.train_as_of("snapshot-0001")
    kept = credit.lake.row_counts("raw_applications")["snapshot-0001"]
    assert kept + _quarantined(credit, "applications", "snapshot-0001") == 1_020
    reasons = credit.lake.read(quarantine_table("applications")).to_pandas()["reasons"]
    assert (reasons.str.len() > 2).all()
    (verdict,) = ledger.entries(credit.lake, "promotion")
    assert verdict.decision == "promoted"
    assert verdict.evidence["evidence"]["challenger"]["roc_auc"]["value"] > 0.75
    trained = [
        task["rendered_map_index"]
        for task in stack.api.task_instances(credit.train, verdict.dag_run_id)
        if task["task_id"] == "train_candidate"
    ]
    assert sorted(trained) == sorted(credit.pipeline.training.candidates)
    assert len(trained) == 7


def trip_duration(running: Callable[[str], Running], stack: SystemStack, tmp_path: Path) -> None:
    trips = running("trip_duration")
    file = tmp_path / "trips.parquet"
    recorded = pq.read_table(
        FILES[trips.name],
        filters=[
            ("pickup_datetime", ">=", datetime(2019, 11, 1)),
            ("pickup_datetime", "<", datetime(2020, 7, 1)),
        ],
    )
    pq.write_table(recorded.take(list(range(0, recorded.num_rows, 3))), file)
    land(stack.store, trips.pipeline, file)
    trips.train_as_of("2020-01")
    trips.backfill(datetime(2020, 5, 2, 6, tzinfo=UTC), datetime(2020, 7, 2, 6, tzinfo=UTC), runs=3)
    states = ledger.training_states(trips.lake)
    begun = [name for name in states if name > "2020-01"]
    assert begun, "no retraining started by itself"
    assert "promoted" in {states[name] for name in begun}
    values = {name: record.value for name, record in trips.performance().items()}
    promoted = min(name for name in begun if states[name] == "promoted")
    after = [value for name, value in values.items() if name > promoted and value is not None]
    worst = max(value for name, value in values.items() if name <= promoted and value is not None)
    assert min(after) < worst - 0.5, values


def rodent_species(running: Callable[[str], Running], stack: SystemStack, tmp_path: Path) -> None:
    rodents = running("rodent_species")
    land_records(stack.settings.store, rodents.name)
    rodents.train_as_of("1993")
    rodents.backfill(
        datetime(1996, 1, 2, 6, tzinfo=UTC), datetime(1997, 1, 2, 6, tzinfo=UTC), runs=2
    )
    record = rodents.performance()["1995"]
    assert "PB" in record.unseen
    assert "PB" in record.reason
    decisions = [entry.reason for entry in ledger.entries(rodents.lake, "retraining")]
    assert any("new_class" in reason for reason in decisions), decisions
    scored = rodents.lake.read("predictions", partitions=["1995"]).to_pandas()
    assert set(scored.columns) >= {"record_id", "prediction", "score", "probabilities"}


# The longest first.
STORIES: tuple[Story, ...] = (trip_duration, telco_churn, rodent_species, south_german_credit)


def test_telco_churn_asks_a_person_and_numbers_its_snapshots(ends: Ends) -> None:
    ends["telco_churn"].result()


def test_south_german_credit_accounts_for_every_row_and_reaches_its_gate(ends: Ends) -> None:
    ends["south_german_credit"].result()


def test_trip_duration_answers_the_shock_of_2020_by_a_retraining_that_helps(ends: Ends) -> None:
    ends["trip_duration"].result()


def test_rodent_species_tells_of_a_class_that_the_model_has_never_seen(ends: Ends) -> None:
    ends["rodent_species"].result()


def _quarantined(running: Running, source: str, partition: str) -> int:
    return running.lake.row_counts(quarantine_table(source)).get(partition, 0)
