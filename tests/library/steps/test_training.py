"""A training run from its start to its end, cleared in between, on a real store and MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, parse
from include.registry.champions import CHAMPION, RETIRED_TAG, TABLE, Registry
from include.registry.mlflow_runs import (
    CLOSED_BECAUSE,
    DAG_RUN,
    PARENT,
    PARTITION,
    SUPERSEDED_BY,
    Tracking,
)
from include.registry.model_files import predict
from include.specification.pipeline import Pipeline
from include.specification.sections.decision import Decision
from include.steps import promotion, retirement, training, training_course
from include.steps.interventions import freeze, unfreeze
from include.steps.maintenance import AirflowRuns, Maintenance
from include.storage import ledger
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from include.training.training_sets import TrainingSet, build_training_set

AS_OF = parse("2005-Q2", Frequency.QUARTERLY)
NEXT = AS_OF.shift(1)
CANDIDATE = "logistic_regression"
# Sixty rows are too few to say anything about calibration.
RULES = {"require": {"roc_auc": 0.6}, "guard": {"calibration": 1.0}}
LOOSE = {**RULES, "require": {"f1": 0.01}}
HARD = {**RULES, "require": {"roc_auc": 0.999999}}


class Story:
    """One DAG run that trains as of a quarter, whose tasks can be cleared."""

    def __init__(self, settings: Settings, make: Callable[..., Pipeline], lake: Lake) -> None:
        self.lake = Lake(settings.store, lake.pipeline)
        self.tracking = Tracking(settings.mlflow, lake.pipeline)
        self.registry = Registry(self.lake, self.tracking)
        self.origin = Origin(f"{lake.pipeline}_train", "train_1", "task", commit="abc")
        self.make = make
        self.pipeline = self.file()

    def file(self, **sections: Any) -> Pipeline:
        """Write the pipeline file, with some sections changed."""
        self.pipeline = self.make(**{"promotion": RULES, **sections})
        return self.pipeline

    def land(self, *, flipped: int = 0) -> None:
        """Write features and labels of three mature quarters; some labels the wrong way round."""
        generator = np.random.default_rng(0)
        for number, name in enumerate(("2004-Q3", "2004-Q4", "2005-Q1")):
            quarter = parse(name, Frequency.QUARTERLY)
            x = generator.normal(size=60)
            bad = (x + generator.normal(scale=0.4, size=60) > 0).astype(np.int8)
            bad[:flipped] = 1 - bad[:flipped]
            ids = [f"{number}/{row}" for row in range(60)]
            at = pd.Series([quarter.start] * 60, dtype="datetime64[us]")
            known = pd.Series([quarter.end + timedelta(days=1)] * 60, dtype="datetime64[us]")
            self._write("features", name, pd.DataFrame({"id": ids, "at": at, "x": x}))
            self._write("labels", name, pd.DataFrame({"id": ids, "label": bad, "known_at": known}))

    def _write(self, table: str, name: str, frame: pd.DataFrame) -> None:
        rows = with_partition(pa.Table.from_pandas(frame, preserve_index=False), name)
        self.lake.write(table, rows, partitions=[name], origin=self.origin)

    def parent(self) -> str:
        run_id = self.origin.dag_run_id
        return self.tracking.parent(run_id, {PARTITION: str(AS_OF), DAG_RUN: run_id})

    def build(self) -> TrainingSet:
        training_course.start(self.lake, self.pipeline, AS_OF, self.origin)
        return build_training_set(self.lake, self.pipeline, AS_OF, self.origin)

    def fit(self, built: TrainingSet) -> training.CandidateResult:
        return training.fit(
            self.lake, self.tracking, self.pipeline, built, CANDIDATE, self.parent()
        )

    def choose(self, built: TrainingSet, result: training.CandidateResult) -> int:
        """Register and judge; returns the version."""
        version = training.select(
            self.lake, self.registry, self.pipeline, built, [result], self.origin
        )
        training.evaluate(self.lake, self.registry, self.pipeline, version, AS_OF, self.origin)
        return version.version

    def end(self) -> str:
        """Carry out what the ledger says, and close; returns the outcome."""
        promotion.carry_out(self.lake, self.registry, self.pipeline, AS_OF, self.origin)
        return self.close()

    def close(self) -> str:
        outcome, _ = training.close(self.lake, self.registry, self.pipeline, AS_OF, self.origin)
        self.tracking.close(self.parent(), failed=outcome == "failed")
        return outcome

    def nested(self) -> dict[str, Any]:
        """Find the runs below the parent."""
        found = self.tracking._search(f"tags.`{PARENT}` = '{self.parent()}'")
        return {run.info.run_id: run for run in found}

    def champion(self) -> int | None:
        """The version in use for the next partition; the alias must say the same."""
        found = self.registry.champion_as_of(NEXT)
        model = self.tracking.client.get_registered_model(self.lake.pipeline)
        alias = model.aliases.get(CHAMPION)
        number = None if found is None else found.version
        assert (None if alias is None else int(alias)) == number
        return number

    def told(self, kind: Any) -> list[tuple[str, bool]]:
        """What the ledger holds of a kind: the decision, and whether it counts."""
        return [(item.decision, not item.superseded) for item in ledger.entries(self.lake, kind)]


@pytest.fixture
def story(
    services: Settings, lake: Lake, make_pipeline: Callable[..., Pipeline], imported: None
) -> Iterator[Story]:
    told = Story(services, make_pipeline, lake)
    told.land()
    yield told
    open_runs = [run for run in told.nested().values() if run.info.status == "RUNNING"]
    assert open_runs == []
    assert told.tracking.client.get_run(told.parent()).info.status in ("FINISHED", "FAILED")


@pytest.fixture
def store_settings(services: Settings) -> Any:
    """The store of the shared servers, so that no second one is started."""
    return services.store


def test_cleared_tasks_do_what_is_true_now(story: Story) -> None:
    """Unchanged, with other data, and back: each is the version of its own data."""
    built = story.build()
    first = story.fit(built)
    assert story.choose(built, first) == 1
    assert story.end() == "promoted"
    assert story.champion() == 1

    # Everything cleared, nothing changed: the same run, version, verdict and promotion.
    again = story.build()
    assert story.fit(again) == first
    assert story.choose(again, first) == 1
    assert story.end() == "promoted"
    assert story.told("promotion") == [("promoted", True)]
    assert list(story.nested()) == [first.run_id]
    assert story.registry.lake.read(TABLE).num_rows == 2

    # The labels were corrected: another run, another version, which takes the place of the first.
    story.land(flipped=6)
    corrected = story.build()
    second = story.fit(corrected)
    assert second.run_id != first.run_id
    assert second.file != first.file
    assert story.choose(corrected, second) == 2
    assert story.end() == "promoted"
    assert story.champion() == 2
    assert story.told("promotion") == [("promoted", False), ("promoted", True)]
    runs = story.nested()
    assert runs[first.run_id].data.tags[SUPERSEDED_BY] == second.run_id
    assert SUPERSEDED_BY not in runs[second.run_id].data.tags

    # And were right after all.
    story.land()
    built = story.build()
    assert story.fit(built) == first
    assert story.choose(built, first) == 1
    assert story.end() == "promoted"
    assert story.champion() == 1
    runs = story.nested()
    assert len(runs) == 2
    assert SUPERSEDED_BY not in runs[first.run_id].data.tags
    assert runs[second.run_id].data.tags[SUPERSEDED_BY] == first.run_id


def test_a_verdict_that_changed_moves_the_alias_and_the_ledger(story: Story) -> None:
    built = story.build()
    result = story.fit(built)
    story.file(promotion=HARD)
    story.choose(built, result)
    assert story.end() == "refused"
    assert story.champion() is None

    story.file()  # `require` lowered, evaluate_challenger cleared
    story.choose(built, result)
    assert story.end() == "promoted"
    assert story.champion() == 1
    assert story.told("promotion") == [("refused", False), ("promoted", True)]
    assert story.told("training") == [("started", True), ("refused", False), ("promoted", True)]

    story.file(promotion=HARD)  # raised again
    story.choose(built, result)
    assert story.end() == "refused"
    assert story.champion() is None
    assert ledger.training_states(story.lake) == {"2005-Q2": "refused"}

    story.file()
    story.choose(built, result)
    assert story.end() == "promoted"
    assert story.champion() == 1
    assert [row["event"] for row in story.registry.events()] == [
        "registered",
        "promoted",
        "rolled_back",
        "promoted",
    ]


def test_a_verdict_of_a_freeze_takes_nothing_back_when_that_is_over(story: Story) -> None:
    """Frozen by Ada; its training is cleared, on other labels; unfrozen before the verdict acts."""
    built = story.build()
    assert story.choose(built, story.fit(built)) == 1
    assert story.end() == "promoted"
    later, by_hand = datetime(2100, 1, 1), replace(story.origin, dag_run_id="by_hand")
    freeze(story.lake, story.registry, "an audit", "Ada", later, by_hand)
    story.land(flipped=6)
    built = story.build()
    assert story.choose(built, story.fit(built)) == 2
    unfreeze(story.lake, story.registry, "over", "Ada", later, by_hand)
    assert story.end() == "refused"
    assert story.champion() == 1
    story.choose(built, story.fit(built))  # cleared: it is judged anew
    assert story.end() == "promoted"
    assert story.champion() == 2


COSTS = {"costs": {"false_negative": 5, "false_positive": 1}}


def test_a_threshold_belongs_to_the_version_and_another_rule_makes_another(story: Story) -> None:
    """Told by the version, MLflow and the evidence; and the one of before stays what it was."""
    built = story.build()
    plain = story.fit(built)
    assert story.choose(built, plain) == 1
    assert story.end() == "promoted"

    story.file(decision=COSTS)
    deciding = story.fit(built)
    assert deciding.run_id != plain.run_id
    assert story.fit(built) == deciding  # found again, not made again
    handed_on = json.loads(json.dumps(deciding.to_dict()))
    assert training.CandidateResult.from_dict(handed_on) == deciding
    assert story.choose(built, deciding) == 2
    assert story.choose(built, deciding) == 2
    first, second = (story.registry.get(number) for number in (1, 2))
    assert first.decision is None
    assert second.decision == deciding.decision
    assert second.decision is not None
    assert second.decision.section == Decision.model_validate(COSTS)
    # Of three quarters one is held out; the second is validated by a model of the first.
    assert second.decision.rows == 60
    # The model is the same, so that nothing but its decisions differs.
    rows = pd.DataFrame({"x": np.linspace(-2, 2, 50)})
    scores = [predict(story.lake.settings, model, rows) for model in (first, second)]
    assert scores[0].tobytes() == scores[1].tobytes()

    client = story.tracking.client
    run = client.get_run(deciding.run_id)
    assert run.data.metrics["decision_threshold"] == second.threshold
    assert run.data.params["decision"] == second.decision.section.told()
    assert "decision_threshold" not in client.get_run(plain.run_id).data.metrics
    tags = client.get_model_version(story.lake.pipeline, "2").tags
    assert tags["relevo.decision"] == second.decision.describe()
    assert "relevo.decision" not in client.get_model_version(story.lake.pipeline, "1").tags

    *_, verdict = ledger.entries(story.lake, "promotion")
    decided = verdict.evidence["evidence"]["decided"]
    # It is judged against nobody: the version before was of this run.
    assert list(decided) == ["challenger"]
    assert decided["challenger"]["threshold"] == second.threshold
    counts = [value for name, value in decided["challenger"].items() if "ive" in name]
    assert sum(counts) == 60

    # Another rule, and none again.
    story.file(decision={"threshold": 0.35})
    third = story.fit(built)
    assert story.choose(built, third) == 3
    assert story.registry.get(3).threshold == 0.35
    story.file()
    assert story.choose(built, story.fit(built)) == 1
    assert story.end() == "promoted"
    assert story.champion() == 1
    assert story.registry.get(2) == second


def test_a_challenger_and_the_champion_are_judged_each_by_its_own_threshold(story: Story) -> None:
    story.file(decision={"threshold": 0.9}, training={"metric": "f1"}, promotion=LOOSE)
    built = story.build()
    assert story.choose(built, story.fit(built)) == 1
    assert story.end() == "promoted"

    story.origin = replace(story.origin, dag_run_id="train_2")
    story.file(decision={"threshold": 0.5}, training={"metric": "f1"}, promotion=LOOSE)
    built = story.build()
    assert story.choose(built, story.fit(built)) == 2
    first, second = ledger.entries(story.lake, "promotion")
    before, now = (entry.evidence["evidence"] for entry in (first, second))
    # The same model on the same rows, by the threshold of then.
    assert now["champion"]["f1"] == before["challenger"]["f1"]["value"]
    assert now["comparison"]["champion"] == now["champion"]["f1"]
    assert now["challenger"]["f1"]["value"] > now["champion"]["f1"]
    assert now["champion"]["roc_auc"] == now["challenger"]["roc_auc"]["value"]
    assert {name: item["threshold"] for name, item in now["decided"].items()} == {
        "challenger": 0.5,
        "champion": 0.9,
    }
    assert story.end() == "promoted"
    assert story.champion() == 2


def test_two_tasks_at_once_make_one_parent_and_one_nested_run(story: Story) -> None:
    others = [Tracking(story.tracking.settings, story.lake.pipeline) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        parents = set(
            pool.map(lambda tracking: tracking.parent("train_1", {"relevo.x": "1"}), others)
        )
        parent = story.parent()
        list(pool.map(lambda tracking: tracking.candidate(parent, CANDIDATE, "00"), others))
    assert parent in parents
    story.tracking.candidate(parent, CANDIDATE, "00")
    assert len(story.nested()) == 1
    assert len(story.tracking._search("tags.`relevo.pipeline` != ''")) == 2
    story.tracking.close(parent, failed=True)


def test_mlflow_follows_when_a_run_that_told_no_end_is_given_up(story: Story) -> None:
    training_course.start(story.lake, story.pipeline, AS_OF, story.origin)
    given_up = (story.parent(), story.tracking.candidate(story.parent(), CANDIDATE, "00"))
    other = story.tracking.parent("other", {PARTITION: str(AS_OF), DAG_RUN: "under way"})
    training_course.end_abandoned(story.lake, story.tracking)
    assert {run_id for run_id, *_ in story.tracking.running()} == {given_up[0], other}

    training_course.give_up(story.lake, story.pipeline, str(AS_OF), story.origin)
    training_course.end_abandoned(story.lake, story.tracking)
    states = [story.tracking.client.get_run(run_id).info.status for run_id in (*given_up, other)]
    assert states == ["FAILED", "FAILED", "RUNNING"]

    # A candidate was cleared alone and killed: its parent has ended, and tells no other end.
    orphan = story.tracking.candidate(given_up[0], CANDIDATE, "01")
    under_way = story.tracking.candidate(other, CANDIDATE, "02")
    training_course.end_abandoned(story.lake, story.tracking)
    states = [story.tracking.client.get_run(run_id).info.status for run_id in (orphan, under_way)]
    assert states == ["FAILED", "RUNNING"]


def test_maintenance_ends_what_belongs_to_no_open_run(story: Story) -> None:
    story.close()
    runs = {}
    for dag_run_id in ("gone", "open"):
        name = f"{story.lake.pipeline}_train/{dag_run_id}"
        tags = {PARTITION: str(AS_OF), DAG_RUN: dag_run_id}
        runs[dag_run_id] = story.tracking.parent(name, tags)
        runs[f"below {dag_run_id}"] = story.tracking.candidate(runs[dag_run_id], CANDIDATE, "00")
    airflow = AirflowRuns(lambda dag_ids: None, lambda dag_id, run_id: run_id == "open")
    maintenance = Maintenance(story.lake, airflow, timedelta(days=90), story.tracking)
    maintenance.plan("night", datetime.now(UTC))
    done = maintenance.carry_out("night", datetime.now(UTC)).done
    assert {item.name for item in done if item.kind == "MLflow run"} == {
        runs["gone"],
        runs["below gone"],
    }
    found = {name: story.tracking.client.get_run(run_id) for name, run_id in runs.items()}
    assert {name: run.info.status for name, run in found.items()} == {
        "gone": "FAILED",
        "below gone": "FAILED",
        "open": "RUNNING",
        "below open": "RUNNING",
    }
    told = found["gone"].data.tags[CLOSED_BECAUSE]
    assert told == (
        f"Run gone of {story.lake.pipeline}_train has ended or is gone: closed by maintenance."
    )


def test_a_fit_whose_file_expired_is_taken_from_mlflow(story: Story) -> None:
    built = story.build()
    first = story.fit(built)
    store = ObjectStore(story.lake.settings)
    before = store.read(first.file[0])
    store.delete(first.file[0])
    assert story.fit(built) == first
    assert store.read(first.file[0]) == before
    story.choose(built, first)
    assert story.end() == "promoted"


def test_mlflow_follows_a_retirement_and_its_end(story: Story) -> None:
    built = story.build()
    version = story.choose(built, story.fit(built))
    assert story.end() == "promoted"
    asked, client = Origin("platform_retire", "manual__1", "retire"), story.tracking.client
    now = datetime.now(UTC).replace(tzinfo=None)

    retirement.retire(story.lake, story.registry, 90, "no product", "Ada", now, asked)
    for _ in range(2):
        archive = retirement.follow(story.lake, story.registry)
        assert archive is not None
        assert list(archive.versions) == [version]
        model = client.get_registered_model(story.lake.pipeline)
        assert model.aliases == {}
        assert "by Ada: no product" in model.tags[RETIRED_TAG]
    assert story.registry.champion_as_of(NEXT) == story.registry.get(version)

    later = datetime.now(UTC).replace(tzinfo=None)
    asked = replace(asked, dag_run_id="manual__2")
    retirement.reinstate(story.lake, story.registry, "it comes back", "Bob", later, asked)
    for _ in range(2):
        assert retirement.follow(story.lake, story.registry) is None
        assert client.get_registered_model(story.lake.pipeline).tags == {}
        assert story.champion() == version

    client.delete_registered_model(story.lake.pipeline)
    asked = replace(asked, dag_run_id="manual__3")
    later = datetime.now(UTC).replace(tzinfo=None)
    retirement.retire(story.lake, story.registry, 90, "no product", "Ada", later, asked)
    assert retirement.follow(story.lake, story.registry) is not None
