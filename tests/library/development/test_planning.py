"""What a pipeline file makes, and how that differs from before."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from include.development.planning import (
    PlannedDag,
    PlannedTask,
    champions_file,
    dag_changes,
    file_changes,
    landing_places,
    next_runs,
    next_steps,
    next_tables,
    table_uri,
    tables,
    traffic,
)
from include.specification.pipeline_file import load
from include.specification.sections.decision import Decision
from include.storage import ledger
from include.storage.lineage import Origin

INGEST = PlannedTask("ingest", "IngestOperator", ())
LABELS = PlannedTask("labels", "IngestOperator", ())
SCORE = PlannedTask("score", "ScoreOperator", ("ingest",))
JUDGE = PlannedTask("judge", "JudgeOperator", ("labels", "score"))
DAG = PlannedDag("p_score", "0 6 1 * *", (INGEST, LABELS, SCORE, JUDGE))


class TestDag:
    def test_steps_are_what_can_run_side_by_side(self) -> None:
        assert DAG.steps() == ((INGEST, LABELS), (SCORE,), (JUDGE,))

    def test_a_dag_without_tasks_has_no_steps(self) -> None:
        assert PlannedDag("empty", "None", ()).steps() == ()

    def test_it_survives_json(self) -> None:
        mapped = replace(DAG, tasks=(replace(INGEST, mapped=("a", "b")),))
        assert PlannedDag.from_dict(mapped.to_dict()) == mapped


class TestChanges:
    def test_none(self) -> None:
        assert dag_changes([DAG], {"p_score": DAG}) == []

    def test_the_order_of_tasks_is_no_change(self) -> None:
        other = replace(DAG, tasks=DAG.tasks[::-1])
        assert dag_changes([DAG], {"p_score": other}) == []

    def test_a_dag_that_airflow_does_not_know(self) -> None:
        assert dag_changes([DAG], {}) == ["p_score: new"]

    def test_each_change_is_a_line(self) -> None:
        deployed = PlannedDag(
            "p_score",
            "0 6 2 * *",
            (
                replace(INGEST, operator="OldOperator"),
                replace(SCORE, upstream=()),
                replace(JUDGE, upstream=("score", "labels")),
                PlannedTask("report", "ReportOperator", ("judge",)),
            ),
        )
        assert dag_changes([DAG], {"p_score": deployed}) == [
            "p_score: schedule 0 6 2 * * -> 0 6 1 * *",
            "p_score: - report",
            "p_score: ingest: OldOperator -> IngestOperator",
            "p_score: + labels",
            "p_score: score: follows nothing -> ingest",
        ]


class TestFileChanges:
    def test_key_by_key(self) -> None:
        before = {
            "owner": "a",
            "training": {"window": 8, "candidates": {"ridge": {"trials": 3}, "xgboost": {}}},
        }
        after = {
            "owner": "a",
            "entity": "id",
            "training": {"window": 6, "candidates": {"ridge": {"trials": 3}, "trees": {}}},
        }
        assert file_changes(before, after) == [
            "- training.candidates.xgboost: {}",
            "+ entity: 'id'",
            "training.window: 8 -> 6",
            "+ training.candidates.trees: {}",
        ]

    def test_another_rule_of_decisions_is_told(self) -> None:
        before, after = (
            load("loan_default").model_copy(update={"decision": decision})
            for decision in (None, Decision(maximize="f1"))
        )
        dumped = [item.model_dump(mode="json", exclude_defaults=True) for item in (before, after)]
        assert file_changes(*dumped) == ["+ decision.maximize: 'f1'"]

    def test_a_file_that_went_through_the_ledger_is_the_same(
        self, lake: Any, origin: Origin
    ) -> None:
        pipeline = load("loan_default")
        current = pipeline.model_dump(mode="json", exclude_defaults=True)
        for decision in ("started", "promoted"):
            ledger.record(
                lake,
                "training",
                "2005-Q1",
                decision,
                "",
                origin=origin,
                evidence={"pipeline": current} if decision == "started" else {},
            )
        trained = champions_file(ledger.entries(lake))
        assert trained is not None
        assert file_changes(trained, current) == []
        changed = {**current, "training": {**current["training"], "window": 4}}
        assert file_changes(trained, changed) == ["training.window: 8 -> 4"]


class TestChampionsFile:
    @staticmethod
    def entry(decision: str, run: str, file: dict[str, Any] | None = None) -> ledger.Entry:
        evidence = {} if file is None else {"pipeline": file}
        return ledger.Entry("training", "2005", decision, "", evidence, run, datetime(2005, 1, 1))

    def test_the_run_of_the_latest_promotion_counts(self) -> None:
        entries = [
            self.entry("started", "a", {"owner": "a"}),
            self.entry("promoted", "a"),
            self.entry("started", "b", {"owner": "b"}),
            self.entry("promoted", "b"),
            self.entry("started", "c", {"owner": "c"}),
            self.entry("refused", "c"),
        ]
        assert champions_file(entries) == {"owner": "b"}

    def test_after_a_rollback_that_of_the_version_in_use_counts(self) -> None:
        def judged(run: str, version: int) -> ledger.Entry:
            evidence = {"challenger": version}
            return replace(self.entry("promoted", run), kind="promotion", evidence=evidence)

        entries = [
            self.entry("started", "a", {"owner": "a"}),
            judged("a", 1),
            self.entry("promoted", "a"),
            self.entry("started", "b", {"owner": "b"}),
            judged("b", 2),
            self.entry("promoted", "b"),
            replace(self.entry("rolled back", "c"), kind="rollback", evidence={"restored": 1}),
        ]
        assert champions_file(entries) == {"owner": "a"}
        later = [self.entry("started", "d", {"owner": "d"}), self.entry("promoted", "d")]
        assert champions_file([*entries, *later]) == {"owner": "d"}

    def test_so_after_a_promotion_by_hand_and_not_after_a_refusal(self) -> None:
        judged = replace(self.entry("refused", "a"), kind="promotion", evidence={"challenger": 1})
        entries = [
            self.entry("started", "a", {"owner": "a"}),
            judged,
            self.entry("started", "b", {"owner": "b"}),
            self.entry("promoted", "b"),
            replace(self.entry("refused", "c"), kind="by_hand", evidence={"version": 3}),
        ]
        assert champions_file(entries) == {"owner": "b"}
        by_hand = replace(self.entry("promoted", "d"), kind="by_hand", evidence={"restored": 1})
        assert champions_file([*entries, by_hand]) == {"owner": "a"}

    @pytest.mark.parametrize("count", [0, 1])
    def test_no_champion_no_file(self, count: int) -> None:
        assert champions_file([self.entry("started", "a", {"owner": "a"})][:count]) is None

    def test_a_champion_of_before_files_were_recorded(self) -> None:
        assert champions_file([self.entry("started", "a"), self.entry("promoted", "a")]) is None


def test_next_runs_and_their_partitions() -> None:
    pipeline = load("loan_default")
    runs = next_runs(pipeline, datetime(2008, 7, 5, 6))
    # The run that is due now is under way; the schedule ends after two more.
    assert [(run.due, run.partition) for run in runs] == [
        (datetime(2008, 10, 5, 6), "2008-Q3"),
        (datetime(2009, 1, 5, 6), "2008-Q4"),
    ]
    assert next_runs(pipeline, datetime(2026, 1, 1)) == ()
    assert next_runs(pipeline.model_copy(update={"schedule": None}), datetime(2008, 1, 1)) == ()


def test_where_data_land_and_tables_are() -> None:
    pipeline = load("loan_default")
    assert landing_places(pipeline) == {
        "loans": "s3://landing/loan_default/loans/{partition}/",
        "outcomes": "s3://landing/loan_default/outcomes/{partition}/",
    }
    assert table_uri(pipeline, "labels") == "s3://lake/loan_default/labels/"
    assert set(tables(pipeline)) == {
        *("raw_loans", "raw_outcomes", "quarantine_loans", "quarantine_outcomes"),
        *("quarantine_features", "features", "labels", "training_sets", "predictions"),
        *("profiles", "drift", "performance", "ledger", "registry"),
    }


def test_traffic_of_a_pipeline_with_labels_in_its_rows() -> None:
    pipeline = load("loan_default")
    source = pipeline.sources["loans"].model_copy(update={"labels": pipeline.labels})
    pipeline = pipeline.model_copy(update={"sources": {"loans": source}})
    found = traffic(pipeline)
    assert "ingest_labels" not in found
    assert found["validate_loans"].writes == ("raw_loans", "quarantine_loans", "labels")
    assert found["validate_loans"].reads == found["ingest_loans"].writes == ("draft of raw_loans",)
    assert found["ingest_loans"].reads == ("landed loans",)


class TestNext:
    def test_a_file_without_it_has_none(self) -> None:
        assert next_tables(load("loan_default")) == ()
        assert next_steps(load("loan_default"), None) == []

    def test_what_it_writes_and_leaves(self, make_pipeline: Any, lake: Any) -> None:
        now = make_pipeline()
        outcomes = now.sources["outcomes"].model_dump(exclude_unset=True)
        pipeline = make_pipeline(
            next={
                "features": {**now.features.model_dump(exclude_unset=True), "generation": 2},
                "sources": {"outcomes": {**outcomes, "generation": 2}},
            }
        )
        written = (
            *("raw_outcomes_2", "quarantine_outcomes_2", "labels_2"),
            *("features_2", "quarantine_features_2", "training_sets_2"),
        )
        assert next_tables(pipeline) == written
        assert tables(pipeline) == tables(now)
        steps = next_steps(pipeline, None)
        assert steps[0] == f"writes {', '.join(written)}"
        assert "as of the latest partition that was scored" in steps[1]
        told = "nothing was prepared yet: put the content of `next:` in its place"
        assert next_steps(pipeline, lake) == [told]
