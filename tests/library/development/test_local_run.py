"""Pipelines of every task and calendar from landed files to a decision, in one process."""

from __future__ import annotations

import functools
import io
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

import include.pipelines
from include.calendar.partitions import Frequency, parse, span
from include.development.local_run import LocalRun, run
from include.errors import PartitionError, SourceError
from include.quality import suites
from include.quality.suites import load_suite
from include.registry.champions import TABLE as REGISTRY
from include.registry.champions import Registry
from include.registry.mlflow_runs import Tracking
from include.scoring import batch_scoring
from include.spark import lake_source
from include.specification import consistency
from include.specification.pipeline import Pipeline
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings

SENTINELS = (datetime(1, 1, 1), None, datetime(9999, 12, 31))
COLUMN = "expect_column_values_to_"
SUITES = {
    "tiny_rows": [
        {"type": f"{COLUMN}be_unique", "kwargs": {"column": "id"}},
        {"type": f"{COLUMN}be_between", "kwargs": {"column": "x", "min_value": -100}},
    ],
    "tiny_labels": [
        {"type": f"{COLUMN}be_in_set", "kwargs": {"column": "bad", "value_set": [0, 1]}}
    ],
    "tiny_rates": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "rate"}}],
    "tiny_features": [{"type": f"{COLUMN}not_be_null", "kwargs": {"column": "x"}}],
}
FUNCTIONS = """
from pyspark.sql import functions as f


def loans(loans):
    return loans.select("id", "at", "x", "colour")


def animals(animals):
    return animals.select("row_id", "seen", "x", (f.col("x") * f.col("x")).alias("squared"))


def trips(trips, rates):
    latest = rates.agg(f.max("rate").alias("rate"))
    began = f.to_timestamp("began").alias("began")
    return trips.select("id", began, "x").crossJoin(latest)


def customers(customers):
    return customers.select("id", "x", "colour")
"""
COMMON = {
    "description": "A pipeline of the tests.",
    "owner": "tests",
    "monitoring": {"drift": {"minimum_rows": 50}},
}
BEFORE_SCORING = [
    "build_training_set",
    "explore_training_set",
    "validate_training_set",
    "train_candidate {candidate}",
    "select_challenger",
    "evaluate_challenger",
]
AFTER_SCORING = [
    "compute_features",
    "score_batch",
    "detect_drift",
    "measure_performance",
    "decide_retraining",
]


def steps(candidate: str, *sources: str) -> list[str]:
    """Name the steps of a run whose challenger is promoted, in order."""
    return [
        *(step.format(candidate=candidate) for step in BEFORE_SCORING),
        "promote_challenger",
        *(f"ingest and validate {source}" for source in sources),
        *AFTER_SCORING,
    ]


@dataclass(frozen=True)
class Told:
    """A run and what it told, by step."""

    result: LocalRun
    steps: dict[str, str]
    lake: Lake


Start = Callable[..., Told]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put a module of feature functions and suites where a pipeline finds its own."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "tiny.py").write_text(FUNCTIONS)
    for name, expectations in SUITES.items():
        document = {"name": name, "expectations": expectations}
        (folder / f"{name}.json").write_text(json.dumps(document))
    with pytest.MonkeyPatch.context() as patch:
        path = [*include.pipelines.__path__, str(folder)]
        patch.setattr(include.pipelines, "__path__", path)
        patch.setattr(suites, "load_suite", functools.partial(load_suite, folder=folder))
        yield
    sys.modules.pop("include.pipelines.tiny", None)


@pytest.fixture(scope="module")
def store(services: Settings) -> ObjectStore:
    return ObjectStore(services.store)


@pytest.fixture(scope="module")
def start(spark: Any, services: Settings, project: None, imported: None) -> Start:
    """Run a pipeline and keep what it tells."""

    def begin(pipeline: Pipeline, **options: Any) -> Told:
        told: dict[str, str] = {}

        def report(step: str, outcome: str, seconds: float) -> None:
            assert seconds >= 0
            assert step not in told
            told[step] = outcome

        result = run(spark, services, pipeline, report, **options)
        return Told(result, told, Lake(services.store, result.pipeline))

    return begin


def make(name: str, **sections: Any) -> Pipeline:
    document = {**COMMON, "name": name, **sections}
    features = {"function": f"include.pipelines.tiny:{sections.pop('function')}"}
    document["features"] = {**features, "suite": "tiny_features"}
    del document["function"]
    pipeline = Pipeline.model_validate(document)
    assert consistency.problems(pipeline) == ()
    return pipeline


def land(store: ObjectStore, uri: str, rows: pd.DataFrame, *, old_times: bool = False) -> None:
    """Write a Parquet file, with times as old versions of Spark do if ``old_times``."""
    buffer = io.BytesIO()
    table = pa.Table.from_pandas(rows, preserve_index=False)
    fields = [
        field.with_type(pa.timestamp("us")) if pa.types.is_timestamp(field.type) else field
        for field in table.schema
    ]
    table = table.cast(pa.schema(fields))
    pq.write_table(table, buffer, use_deprecated_int96_timestamps=old_times)
    store.write(uri, buffer.getvalue())


def draw(seed: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Draw a feature, and a class that mostly follows its sign."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=count)
    return x, (x + generator.normal(scale=0.5, size=count) > 0).astype(int)


def columns(lake: Lake, table: str) -> list[str]:
    return [field.name for field in lake.open(table).schema().fields]


@pytest.fixture(scope="module")
def loans(store: ObjectStore, start: Start) -> Told:
    """Run a binary, quarterly pipeline whose labels come half a year later, from another source."""
    root = "s3://landing/tiny_loans"
    first, last = (parse(name, Frequency.QUARTERLY) for name in ("2004-Q1", "2005-Q2"))
    for number, partition in enumerate(span(first, last)):
        x, bad = draw(number, 120)
        ids = [f"{partition}/{i}" for i in range(120)]
        colours = [("red", "blue", None)[i % 3] for i in range(120)]
        rows = pd.DataFrame({"id": ids, "at": partition.start, "x": x, "colour": colours})
        rows["until"] = [SENTINELS[i % 3] for i in range(120)]
        if partition == last:
            rows.loc[:1, "x"] = -1000.0
        land(store, f"{root}/loans/{partition}/a.parquet", rows, old_times=True)
        land(store, f"{root}/loans/{partition}/_temporary/0/a.parquet", rows)  # would double them
        known = partition.shift(2)
        land(store, f"{root}/loans/{partition}_old/a.parquet", rows)  # no partition
        if known <= last:
            outcomes = pd.DataFrame({"id": ids, "bad": bad, "known": known.start})
            land(store, f"{root}/outcomes/{known}/a.parquet", outcomes)
    pipeline = make(
        "tiny_loans",
        task="binary",
        entity="id",
        event_time="at",
        partition="quarterly",
        function="loans",
        sources={
            "loans": {"uri": f"{root}/loans/{{partition}}/", "suite": "tiny_rows"},
            "outcomes": {
                "uri": f"{root}/outcomes/{{partition}}/",
                "suite": "tiny_labels",
                "labels": {"column": "bad", "known_at": "known"},
            },
        },
        training={"window": 3, "holdout": 1, "candidates": {"logistic_regression": {}}},
        promotion={"require": {"roc_auc": 0.7}, "guard": {"calibration": 0.3}},
        retraining={"when": ["drift", "performance"]},
    )
    return start(pipeline)


class TestLabelsThatComeLater:
    def test_steps_in_the_order_of_the_dags(self, loans: Told) -> None:
        assert list(loans.steps) == steps("logistic_regression", "loans", "outcomes")
        assert loans.result.pipeline == "tiny_loans_dev"
        assert (loans.result.promoted, loans.result.scored) == (True, "2005-Q2")
        assert loans.steps["promote_challenger"] == "in use from 2005-Q2 on"

    def test_it_trains_as_of_the_partition_before(self, loans: Told) -> None:
        # As of 2005-Q1 the latest mature quarter is 2004-Q3, so that it has to look back further
        # than the window is long.
        assert loans.steps["build_training_set"] == (
            "3 partitions, 240 rows to train, 120 held out"
        )
        (entry,) = ledger.entries(loans.lake, "promotion")
        assert (entry.partition, entry.decision) == ("2005-Q1", "promoted")
        assert entry.evidence["evidence"]["partitions"] == ["2004-Q3"]

    def test_bad_rows_are_counted_and_kept_aside(self, loans: Told) -> None:
        assert loans.steps["ingest and validate loans"] == "118 rows, 2 quarantined"
        assert loans.steps["compute_features"] == "118 rows, 0 quarantined"
        assert loans.lake.row_counts("quarantine_loans") == {"2005-Q2": 2}

    def test_times_that_stand_for_never_and_always_are_exact(self, loans: Told) -> None:
        rows = loans.lake.read("raw_loans", partitions=["2004-Q4"]).sort_by("_row")
        assert rows["until"].to_pylist() == [SENTINELS[i % 3] for i in range(120)]

    def test_predictions(self, loans: Told) -> None:
        assert columns(loans.lake, "predictions") == [
            "id",
            "at",
            "score",
            "model_version",
            "back_scored",
            "partition",
        ]
        assert loans.lake.row_counts("predictions") == {"2004-Q4": 120, "2005-Q2": 118}
        rows = loans.lake.read("predictions").to_pandas()
        assert rows.groupby("partition")["back_scored"].unique().map(list).to_dict() == {
            "2004-Q4": [True],
            "2005-Q2": [False],
        }
        assert rows["score"].between(0, 1).all()

    def test_what_matured_in_it_is_judged(self, loans: Told) -> None:
        assert loans.steps["measure_performance"].startswith("2004-Q4: roc_auc 0.")
        (entry,) = ledger.entries(loans.lake, "retraining")
        assert (entry.partition, entry.reason) == ("2005-Q2", loans.steps["decide_retraining"])

    def test_pages(self, loans: Told, store: ObjectStore) -> None:
        assert all(store.exists(uri) for uri in loans.result.pages)
        kinds = {uri.removeprefix("s3://reports/tiny_loans_dev/") for uri in loans.result.pages}
        assert {kind.partition("/")[0] for kind in kinds} >= {"data_docs", "drift", "evidence"}


@pytest.fixture(scope="module")
def animals(store: ObjectStore, start: Start) -> Told:
    """Run a multiclass, yearly pipeline over one file, whose rows bring labels and no entity."""
    parts = []
    for year in range(2001, 2006):
        generator = np.random.default_rng(year)
        species = [*["ant"] * 50, *["bee"] * 50, "rat", "rat"]
        species += ["newt"] * 12 if year == 2005 else []
        centre = pd.Series(species).map({"ant": -2.0, "bee": 2.0, "rat": 0.0, "newt": 5.0})
        x = centre + generator.normal(scale=0.5, size=len(species))
        seen = [datetime(year, 1, 1) + timedelta(days=i) for i in range(len(species))]
        ids = [f"{year}/{i}" for i in range(len(species))]
        parts.append(pd.DataFrame({"id": ids, "seen": seen, "x": x, "species": species}))
    # In no partition: nobody knows when they were seen.
    never = pd.DataFrame({"id": ["?", "!"], "seen": [SENTINELS[0], SENTINELS[2]], "species": "ant"})
    parts.append(never)
    together = pd.concat([part.astype({"seen": "datetime64[us]"}) for part in parts])
    land(store, "s3://landing/tiny_animals/all.parquet", together)
    pipeline = make(
        "tiny_animals",
        task="multiclass",
        event_time="seen",
        partition="yearly",
        function="animals",
        sources={
            "animals": {
                "uri": "s3://landing/tiny_animals/all.parquet",
                "time": "seen",
                "suite": "tiny_rows",
                "labels": {"column": "species"},
            }
        },
        training={"window": 3, "holdout": 1, "candidates": {"logistic_regression": {}}},
        promotion={"require": {"balanced_accuracy": 0.5}, "guard": {"calibration": 0.3}},
        retraining={"when": ["new_class"]},
    )
    return start(pipeline)


class TestClassesOfOneFile:
    def test_steps(self, animals: Told) -> None:
        assert list(animals.steps) == steps("logistic_regression", "animals")
        assert (animals.result.promoted, animals.result.scored) == (True, "2005")

    def test_rare_classes_are_told_and_not_learned(self, animals: Told) -> None:
        assert animals.steps["build_training_set"] == (
            "3 partitions, 204 rows to train, 102 held out; too rare to be learned: {'rat': 4}"
        )
        (registered, _) = sorted(
            animals.lake.read(REGISTRY).to_pylist(), key=lambda row: row["event"], reverse=True
        )
        assert json.loads(registered["details"])["classes"] == ["ant", "bee"]

    def test_predictions(self, animals: Told) -> None:
        rows = animals.lake.read("predictions").to_pandas()
        assert list(rows.columns) == [
            "row_id",
            "seen",
            "prediction",
            "score",
            "probabilities",
            "model_version",
            "back_scored",
            "partition",
        ]
        assert (len(rows), set(rows["partition"])) == (114, {"2005"})
        assert set(rows["prediction"]) == {"ant", "bee"}
        assert rows["row_id"].str.startswith("2005/all.parquet#").all()
        assert rows["row_id"].is_unique
        likeliest = rows["probabilities"].map(max).to_numpy()
        assert (likeliest == rows["score"].to_numpy()).all()

    def test_a_class_that_was_never_seen_calls_for_a_retraining(self, animals: Told) -> None:
        assert "does not know" in animals.steps["measure_performance"]
        (entry,) = ledger.entries(animals.lake, "retraining")
        assert entry.evidence["triggers"] == ["new_class"]


@pytest.fixture(scope="module")
def trips(store: ObjectStore, start: Start, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Run a monthly regression over a query, with a source that is looked back on."""
    file = tmp_path_factory.mktemp("database") / "trips.db"
    first, last = (parse(name, Frequency.MONTHLY) for name in ("2020-01", "2020-05"))
    rows = []
    for number, partition in enumerate(span(first, last)):
        generator = np.random.default_rng(number)
        for i, x in enumerate(generator.uniform(1, 10, 60)):
            began = partition.start + timedelta(hours=i)
            ended = began + timedelta(seconds=int(180 * x + generator.integers(0, 60)))
            rows.append((f"{partition}/{i}", str(began), str(ended), float(x)))
        rates = pd.DataFrame({"rate": [1.0 + number]})
        land(store, f"s3://landing/tiny_trips/rates/{partition}/a.parquet", rates)
    with sqlite3.connect(file) as connection:
        connection.execute("create table trips (id text, began text, ended text, x real)")
        connection.executemany("insert into trips values (?, ?, ?, ?)", rows)
    connection.close()
    pipeline = make(
        "tiny_trips",
        task="regression",
        entity="id",
        event_time="began",
        partition="monthly",
        function="trips",
        sources={
            "trips": {
                "connection": "taxis",
                "query": "select * from trips where began >= :start and began < :end",
                "time": "began",
                "suite": "tiny_rows",
                "labels": {
                    "expression": "date_diff('second', began::timestamp, ended::timestamp) / 60",
                    "known_at": "ended",
                },
            },
            "rates": {
                "uri": "s3://landing/tiny_trips/rates/{partition}/",
                "suite": "tiny_rates",
                "history": 1,
            },
        },
        training={"window": 3, "holdout": 1, "candidates": {"ridge": {}}},
        promotion={"require": {"mean_absolute_error": 2.0}},
        retraining={"when": ["performance"]},
    )
    return start(pipeline, connections={"taxis": f"sqlite:///{file}"}.__getitem__, sample=50)


class TestNumbersOfAQuery:
    def test_steps(self, trips: Told) -> None:
        assert list(trips.steps) == steps("ridge", "trips", "rates")
        assert (trips.result.promoted, trips.result.scored) == (True, "2020-05")

    def test_a_sample_of_every_partition(self, trips: Told) -> None:
        assert trips.steps["build_training_set"] == "3 partitions, 100 rows to train, 50 held out"
        assert trips.steps["ingest and validate trips"] == "50 rows, 0 quarantined"
        assert trips.lake.row_counts("raw_rates") == dict.fromkeys(
            ("2020-01", "2020-02", "2020-03", "2020-04", "2020-05"), 1
        )

    def test_predictions(self, trips: Told) -> None:
        rows = trips.lake.read("predictions").to_pandas()
        assert list(rows.columns) == [
            "id",
            "began",
            "prediction",
            "model_version",
            "back_scored",
            "partition",
        ]
        assert (len(rows), set(rows["partition"])) == (50, {"2020-05"})
        assert rows["prediction"].between(0, 40).all()

    def test_labels_of_the_row_judge_it_at_once(self, trips: Told) -> None:
        assert trips.steps["measure_performance"].startswith("2020-05: mean_absolute_error ")


def churn(**changes: Any) -> Pipeline:
    """Make a pipeline about snapshots, of which two have landed."""
    sections: dict[str, Any] = {
        "task": "binary",
        "entity": "id",
        "partition": "none",
        "function": "customers",
        "sources": {
            "customers": {
                "uri": "s3://landing/tiny_churn/{partition}/",
                "suite": "tiny_rows",
                "labels": {"column": "churn", "positive": "Yes"},
            }
        },
        "training": {"window": 1, "holdout": 0.4, "candidates": {"logistic_regression": {}}},
        "promotion": {"require": {"roc_auc": 0.7}, "guard": {"calibration": 0.3}},
        **changes,
    }
    return make(sections.pop("name", "tiny_churn"), **sections)


@pytest.fixture(scope="module")
def customers(store: ObjectStore) -> None:
    """Land two snapshots; of the second, half came back."""
    for number, first in ((1, 0), (2, 100)):
        x, label = draw(number, 200)
        rows = pd.DataFrame(
            {
                "id": [f"c{first + i}" for i in range(200)],
                "x": x,
                "colour": [("red", "blue")[i % 2] for i in range(200)],
                "churn": np.where(label == 1, "Yes", "No"),
            }
        )
        land(store, f"s3://landing/tiny_churn/snapshot-000{number}/a.parquet", rows)


@pytest.fixture(scope="module")
def snapshots(customers: None, start: Start) -> Told:
    return start(churn())


@pytest.mark.usefixtures("customers")
class TestSnapshots:
    def test_it_trains_on_the_one_before(self, snapshots: Told) -> None:
        assert list(snapshots.steps) == steps("logistic_regression", "customers")
        assert (snapshots.result.promoted, snapshots.result.scored) == (True, "snapshot-0002")
        (entry,) = ledger.entries(snapshots.lake, "promotion")
        assert entry.partition == "snapshot-0001"

    def test_predictions(self, snapshots: Told) -> None:
        assert columns(snapshots.lake, "predictions") == [
            "id",
            "score",
            "model_version",
            "back_scored",
            "partition",
        ]
        assert snapshots.lake.row_counts("predictions") == {"snapshot-0002": 200}

    def test_old_acquaintances_are_not_judged(self, snapshots: Told) -> None:
        lake = snapshots.lake
        rows = lake.read("training_sets").to_pandas()
        fitted = set(rows.loc[~rows["_held_out"], "id"])
        strangers = {f"c{i}" for i in range(100, 300)} - fitted
        (row,) = lake.read("performance").to_pylist()
        assert 100 < len(strangers) < 200
        assert json.loads(row["details"])["rows"] == len(strangers)

    def test_again_begins_anew(
        self, snapshots: Told, start: Start, store: ObjectStore, services: Settings
    ) -> None:
        def outside() -> list[tuple[str, str]]:
            return [
                (item.uri, item.etag)
                for bucket in ("lake", "reports", "landing")
                for item in store.list(f"s3://{bucket}")
                if not item.uri.startswith(f"s3://{bucket}/tiny_churn_dev/")
            ]

        before = outside()
        again = start(churn(), partition="snapshot-0001", sample=150)
        assert outside() == before
        client = Tracking(services.mlflow, "").client
        names = {model.name for model in client.search_registered_models()}
        assert {name for name in names if "churn" in name} == {"tiny_churn_dev"}

        # The only snapshot there is: it is trained on, and scored.
        assert (again.result.promoted, again.result.scored) == (True, "snapshot-0001")
        assert again.lake.row_counts("predictions") == {"snapshot-0001": 150}
        assert [entry.decision for entry in ledger.entries(again.lake, "promotion")] == ["promoted"]
        events = again.lake.read(REGISTRY)["event"].to_pylist()
        assert sorted(events) == ["promoted", "registered"]
        (row,) = again.lake.read("performance").to_pylist()
        held_out = again.steps["build_training_set"].split(", ")[2]
        assert held_out == f"{json.loads(row['details'])['rows']} held out"

    def test_decisions_from_training_to_what_spark_reads(
        self, start: Start, spark: Any, services: Settings
    ) -> None:
        monitored = {**COMMON["monitoring"], "performance": {"metric": "f1"}}
        pipeline = churn(name="tiny_decided", decision={"maximize": "f1"}, monitoring=monitored)
        told = start(pipeline)
        lake = told.lake
        version = Registry(lake).get(1)
        assert version.decision is not None
        at = version.decision.threshold
        assert version.decision.describe() in told.steps["train_candidate logistic_regression"]
        # All rows of the snapshot that were not held out, each validated once.
        assert f"{version.decision.rows} rows to train" in told.steps["build_training_set"]

        scored = lake.read("predictions").to_pandas()
        assert scored["prediction"].tolist() == (scored["score"] >= at).astype(int).tolist()
        assert 0 < scored["prediction"].sum() < 200
        (row,) = lake.read("performance").to_pylist()
        labels = lake.read("labels", partitions=["snapshot-0002"]).to_pandas()
        fitted = lake.read("training_sets").to_pandas()
        known = set(fitted.loc[~fitted["_held_out"], "id"])
        judged = scored.merge(labels[["id", "label"]], on="id")
        judged = judged[~judged["id"].isin(known)]
        expected = f1_score(judged["label"], judged["prediction"])
        assert json.loads(row["details"])["value"] == pytest.approx(expected)

        # A version of before scores another partition: Spark reads both.
        features = lake.reference("features", "snapshot-0001")
        made = batch_scoring.score(
            spark,
            lake,
            pipeline,
            features,
            replace(version, decision=None),
            Origin("tests", "run", "score"),
        )
        both = lake_source.read(
            spark, lake, "predictions", version=made.predictions.version
        ).toPandas()
        assert set(both.columns) == set(scored.columns)
        older = both["partition"] == "snapshot-0001"
        assert (older.sum(), both.loc[older, "prediction"].notna().sum()) == (200, 0)
        newer = both[~older].set_index("id").loc[scored["id"], "prediction"]
        assert newer.tolist() == scored["prediction"].tolist()

    def test_a_refused_challenger_scores_nothing(self, start: Start) -> None:
        promotion = {"require": {"roc_auc": 0.9999}}
        told = start(churn(name="tiny_refused", promotion=promotion))
        assert list(told.steps) == [
            step.format(candidate="logistic_regression") for step in BEFORE_SCORING
        ]
        assert (told.result.promoted, told.result.scored) == (False, None)
        assert told.steps["evaluate_challenger"].startswith("refused: roc_auc 0.")
        assert not told.lake.exists("predictions")
        assert [entry.decision for entry in ledger.entries(told.lake, "training")][-1] == "refused"
        assert any("/evidence/" in uri for uri in told.result.pages)

    @pytest.mark.parametrize(
        ("name", "error", "told"),
        [
            ("2005-Q1", PartitionError, "partition '2005-Q1': a snapshot reads like"),
            (
                "snapshot-0003",
                SourceError,
                "partition snapshot-0003 must have landed, got snapshot-0001 to snapshot-0002",
            ),
        ],
    )
    def test_a_partition_that_is_not_there(
        self, start: Start, name: str, error: type[Exception], told: str
    ) -> None:
        with pytest.raises(error, match=told):
            start(churn(name="tiny_missing"), partition=name)

    def test_nothing_landed(self, start: Start) -> None:
        pipeline = churn(name="tiny_nothing")
        source = pipeline.sources["customers"].model_copy(
            update={"uri": "s3://landing/tiny_nothing/{partition}/"}
        )
        pipeline = pipeline.model_copy(update={"sources": {"customers": source}})
        with pytest.raises(SourceError) as caught:
            start(pipeline)
        assert str(caught.value) == (
            "source customers: at least one partition must have landed, got none in "
            "s3://landing/tiny_nothing/{partition}/. Land it with ./relevo land tiny_nothing FILE."
        )
