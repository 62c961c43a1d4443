"""Feature functions on a real Spark: what they see, and what they may return."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as f
from pyspark.sql.connect.plan import LogicalPlan

from include.errors import FeatureError
from include.features.feature_function import _visible, compute, with_history_of_now
from include.spark.lake_source import read
from include.spark.session import connect
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import Labels, Source
from include.storage import drafts
from include.storage.lake_tables import Lake, with_partition
from include.storage.lineage import Origin, TableReference
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings

MakePipeline = Callable[..., Pipeline]
STARTS = {
    "2004-Q3": datetime(2004, 7, 1),
    "2004-Q4": datetime(2004, 10, 1),
    "2005-Q1": datetime(2005, 1, 1),
    "2005-Q2": datetime(2005, 4, 1),
}


@pytest.fixture
def lake(services: Settings) -> Lake:
    """Tables that the Spark workers reach as well."""
    return Lake(services.store, f"p{uuid.uuid4().hex[:12]}")


@pytest.fixture
def naming(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make a function importable as a pipeline's feature function."""

    def name(function: Callable[..., Any]) -> str:
        module = ModuleType(f"include.pipelines.p{uuid.uuid4().hex}")
        module.features = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return f"{module.__name__}:features"

    return name


@pytest.fixture
def computed(
    spark: Any, lake: Lake, origin: Any, make_pipeline: MakePipeline, naming: Any
) -> Callable[..., list[dict[str, Any]]]:
    """Compute features of partitions with a function, and read them back in order."""

    def run(
        function: Callable[..., Any],
        *wanted: str,
        changes: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        pipeline = make_pipeline(features={"function": naming(function)})
        pipeline = pipeline.model_copy(update=changes or {})
        sources = {name: reference(lake, f"raw_{name}") for name in pipeline.feature_sources}
        draft = compute(spark, lake, pipeline, sources, wanted, origin)
        made = drafts.load(lake, draft)
        lake.commit("features", made.files, made.schema, partitions=wanted, origin=origin)
        rows = lake.read("features").to_pylist()
        return sorted(rows, key=lambda row: (row["partition"], row[pipeline.entity]))

    return run


def reference(lake: Lake, table: str) -> TableReference:
    return TableReference(lake.pipeline, table, lake.open(table).version(), None, 0)


def put(lake: Lake, origin: Any, table: str, partition: str, **columns: Any) -> None:
    """Write a raw table's partition as ingesting does, with its own columns."""
    rows = pa.table(columns)
    count = rows.num_rows
    rows = (
        rows.append_column("_file", pa.array(["a.csv"] * count, pa.string()))
        .append_column("_row", pa.array(range(count), pa.int64()))
        .append_column("_unparsed", pa.nulls(count, pa.string()))
    )
    lake.write(table, with_partition(rows, partition), partitions=[partition], origin=origin)


@pytest.fixture
def loans(lake: Lake, origin: Any) -> None:
    """Three quarters with two, four and six loans."""
    for count, name in ((2, "2004-Q4"), (4, "2005-Q1"), (6, "2005-Q2")):
        put(
            lake,
            origin,
            "raw_loans",
            name,
            id=[f"{name}/{i}" for i in range(count)],
            at=pa.array(
                [STARTS[name] + timedelta(days=i) for i in range(count)], pa.timestamp("us")
            ),
            amount=[float(i) for i in range(count)],
            bad=[i % 2 for i in range(count)],
        )


def count_rows(loans: Any) -> Any:
    """Tell each loan how many there are."""
    number = loans.agg(f.count("*").alias("seen"))
    return loans.select("id", "at").crossJoin(number)


@pytest.mark.usefixtures("loans")
class TestWhatItSees:
    def test_one_partition_at_a_time(self, computed: Any) -> None:
        rows = computed(count_rows, "2004-Q4", "2005-Q1")
        assert [(row["partition"], row["seen"]) for row in rows] == [
            *[("2004-Q4", 2)] * 2,
            *[("2005-Q1", 4)] * 4,
        ]

    def test_the_same_alone_as_with_others(self, computed: Any, lake: Lake) -> None:
        together = computed(count_rows, "2004-Q4", "2005-Q1")
        assert lake.open("features").version() == 1  # one commit for all
        assert computed(count_rows, "2005-Q1") == together

    def test_a_partition_without_rows(self, computed: Any, lake: Lake) -> None:
        assert computed(lambda loans: loans.select("id", "at", "amount"), "2005-Q3") == []
        assert lake.read("features").column_names == ["id", "at", "amount", "partition"]

    def test_no_columns_of_our_own(self, computed: Any) -> None:
        seen: list[list[str]] = []

        def remember(loans: Any) -> Any:
            seen.append(loans.columns)
            return loans.select("id", "at", "amount")

        computed(remember, "2005-Q1")
        assert seen == [["id", "at", "amount", "bad"]]

    def test_no_labels_of_its_row(self, computed: Any) -> None:
        seen: list[list[str]] = []

        def remember(loans: Any) -> Any:
            seen.append(loans.columns)
            return loans.select("id", "at")

        labels = Labels(column="bad", known_at="amount")
        source = Source(uri="s3://landing/x/{partition}/", suite="loans", labels=labels)
        computed(remember, "2005-Q1", changes={"sources": {"loans": source}})
        assert seen == [["id", "at"]]

    def test_snapshots_need_no_time(self, computed: Any, lake: Lake, origin: Any) -> None:
        ids = [f"snapshot-0001/a.csv#{i}" for i in range(3)]
        put(lake, origin, "raw_people", "snapshot-0001", row_id=ids, age=[30, 40, None])
        source = Source(
            uri="s3://landing/x/{partition}/", suite="people", labels=Labels(column="bad")
        )
        changes = {
            "entity": "row_id",
            "event_time": None,
            "partition": "none",
            "sources": {"people": source},
        }
        rows = computed(
            lambda people: people.select("row_id", (f.col("age") / 10).alias("age")),
            "snapshot-0001",
            changes=changes,
        )
        assert rows == [
            {"row_id": ids[0], "age": 3.0, "partition": "snapshot-0001"},
            {"row_id": ids[1], "age": 4.0, "partition": "snapshot-0001"},
            {"row_id": ids[2], "age": None, "partition": "snapshot-0001"},
        ]


@pytest.mark.usefixtures("loans")
class TestHistory:
    """A second source, of payments, that is looked back on for two quarters."""

    @pytest.fixture
    def paid(self, computed: Any, make_pipeline: MakePipeline) -> Any:
        """Compute what was paid until each quarter."""

        def run(*wanted: str, **payments: Any) -> dict[str, float]:
            values = {"uri": "s3://landing/x/{partition}/", "suite": "p", "history": 2, **payments}
            sources = {**make_pipeline().sources, "payments": Source(**values)}

            def add_up(loans: Any, payments: Any) -> Any:
                total = payments.agg(f.coalesce(f.sum("sum"), f.lit(0.0)).alias("paid"))
                return loans.select("id", "at").crossJoin(total)

            rows = computed(add_up, *wanted, changes={"sources": sources})
            return {row["partition"]: row["paid"] for row in rows}

        return run

    def pay(self, lake: Lake, origin: Any, **sums: float) -> None:
        for name, value in sums.items():
            put(lake, origin, "raw_payments", name.replace("_", "-")[1:], sum=[value])

    def test_it_sees_the_partitions_before_and_none_after(
        self, lake: Lake, origin: Any, paid: Any
    ) -> None:
        self.pay(lake, origin, q2004_Q3=1.0, q2004_Q4=10.0, q2005_Q1=100.0, q2005_Q2=1000.0)
        assert paid("2004-Q4", "2005-Q1", "2005-Q2") == {
            "2004-Q4": 11.0,
            "2005-Q1": 111.0,
            "2005-Q2": 1110.0,
        }
        assert paid("2005-Q1", history=1)["2005-Q1"] == 110.0
        assert paid("2005-Q1", history=0)["2005-Q1"] == 100.0

    def test_a_gap_is_no_zero(self, lake: Lake, origin: Any, paid: Any) -> None:
        self.pay(lake, origin, q2004_Q3=1.0, q2005_Q1=100.0)
        with pytest.raises(FeatureError) as caught:
            paid("2005-Q1")
        assert str(caught.value) == (
            "source payments 2005-Q1: the 2 partitions before it must be ingested, got none for "
            "2004-Q4. Run those partitions first."
        )
        assert not lake.exists("features")

    def test_what_an_earlier_run_validates_meanwhile_is_seen(
        self, lake: Lake, origin: Origin, make_pipeline: MakePipeline
    ) -> None:
        payments = Source(uri="s3://landing/x/{partition}/", suite="p", history=2)
        pipeline = make_pipeline()
        pipeline = pipeline.model_copy(
            update={"sources": {**pipeline.sources, "payments": payments}}
        )
        self.pay(lake, origin, q2005_Q2=1000.0)
        own = {name: lake.reference(f"raw_{name}") for name in ("loans", "payments")}
        self.pay(lake, origin, q2005_Q1=100.0)
        sources = with_history_of_now(lake, pipeline, own)
        assert sources["loans"] == own["loans"]
        seen = _visible(lake, pipeline, "payments", sources["payments"], "2005-Q2")
        assert seen == ["2005-Q1", "2005-Q2"]

    def test_unless_partitions_may_come_without_rows(
        self, lake: Lake, origin: Any, paid: Any
    ) -> None:
        self.pay(lake, origin, q2004_Q3=1.0, q2005_Q1=100.0)
        assert paid("2005-Q1", "2005-Q2", allow_empty=True) == {"2005-Q1": 101.0, "2005-Q2": 100.0}

    def test_a_source_without_rows_in_the_partition_is_an_empty_frame(
        self, lake: Lake, origin: Any, paid: Any
    ) -> None:
        self.pay(lake, origin, q2004_Q3=1.0)
        assert paid("2005-Q1", allow_empty=True, history=0) == {"2005-Q1": 0.0}


@pytest.mark.usefixtures("loans")
class TestWhatItReturns:
    def test_two_layouts(self, computed: Any, lake: Lake) -> None:
        def choose(loans: Any) -> Any:
            kind = "int" if loans.count() == 2 else "double"
            return loans.select("id", "at", f.col("amount").cast(kind).alias("x"))

        with pytest.raises(FeatureError) as caught:
            computed(choose, "2004-Q4", "2005-Q1")
        assert "must return the same columns for every partition, got 2 layouts in 2004-Q4, " in (
            str(caught.value)
        )
        assert not lake.exists("features")

    @pytest.mark.parametrize("missing", ["id", "at"])
    def test_a_key_that_is_lost(self, computed: Any, missing: str) -> None:
        kept = "at" if missing == "id" else "id"
        with pytest.raises(FeatureError) as caught:
            computed(lambda loans: loans.select(kept, "amount"), "2005-Q1")
        assert str(caught.value).endswith(
            f": must return column {missing!r}, got {kept}, amount. Keep it in the last select."
        )

    @pytest.mark.parametrize(
        ("names", "told"),
        [
            (("amount", "Amount"), "got 'amount' and 'Amount'"),
            (("partition",), "got 'partition'"),
            (("_mine",), "got '_mine'"),
        ],
    )
    def test_names_that_no_table_can_hold(
        self, computed: Any, names: tuple[str, ...], told: str
    ) -> None:
        def features(loans: Any) -> Any:
            return loans.select("id", "at", *(f.lit(1.0).alias(name) for name in names))

        with pytest.raises(FeatureError, match=f"must .*{told}. Rename"):
            computed(features, "2005-Q1")

    def test_rows_of_another_time(self, computed: Any, lake: Lake) -> None:
        def postpone(loans: Any) -> Any:
            return loans.select("id", (f.col("at") + f.expr("interval 89 days")).alias("at"))

        with pytest.raises(FeatureError) as caught:
            computed(postpone, "2005-Q1")
        assert "must lie in the partition 2005-Q1, got 2005-Q2 (3 rows) by at." in str(caught.value)
        assert not lake.exists("features")

    def test_rows_that_stand_for_never_and_always(self, computed: Any, lake: Lake) -> None:
        def lose(loans: Any) -> Any:
            years = f.when(f.col("amount") > 1, f.lit("0001-01-01")).otherwise(f.lit("9999-12-31"))
            return loans.select("id", years.cast("timestamp").alias("at"))

        with pytest.raises(FeatureError) as caught:
            computed(lose, "2005-Q1")
        assert "got 0001-Q1 (2 rows), 9999-Q4 (2 rows) by at." in str(caught.value)
        assert not lake.exists("features")

    def test_rows_without_a_time(self, computed: Any) -> None:
        def forget(loans: Any) -> Any:
            return loans.select("id", f.when(f.col("amount") > 0, f.col("at")).alias("at"))

        with pytest.raises(FeatureError, match="at must be set, got 1 rows without"):
            computed(forget, "2005-Q1")

    def test_running_again_replaces_the_partition_and_no_other(
        self, computed: Any, lake: Lake
    ) -> None:
        computed(count_rows, "2004-Q4", "2005-Q1")
        rows = computed(
            lambda loans: count_rows(loans).withColumn("seen", f.lit(9).cast("long")), "2005-Q1"
        )
        assert [row["id"] for row in rows] == [
            *("2004-Q4/0", "2004-Q4/1"),
            *(f"2005-Q1/{number}" for number in range(4)),
        ]
        assert [row["seen"] for row in rows] == [2] * 2 + [9] * 4


def test_booleans_and_decimals_become_numbers_and_keys_stay(
    lake: Lake, origin: Any, computed: Any
) -> None:
    put(lake, origin, "raw_loans", "2005-Q1", id=["a", "b"], at=[STARTS["2005-Q1"]] * 2)

    def features(loans: Any) -> Any:
        return loans.select(
            "id",
            "at",
            f.when(f.col("id") == "a", f.lit(True)).alias("flag"),
            f.lit(1.25).cast("decimal(5,2)").alias("price"),
        )

    rows = computed(features, "2005-Q1")
    assert [(row["id"], row["flag"], row["price"]) for row in rows] == [
        ("a", 1, 1.25),
        ("b", None, 1.25),
    ]
    assert isinstance(rows[0]["price"], float)
    assert not isinstance(rows[0]["flag"], bool)


def test_a_table_that_begins_anew_is_read_anew(
    services: Settings, lake: Lake, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for number in (1, 2):
        rows = with_partition(pa.table({"id": [number]}), "2005-Q1")
        version = lake.write("rows", rows, partitions=["2005-Q1"], origin=origin).version
        # As another process numbers its plans, which then are the same to the byte.
        monkeypatch.setattr(LogicalPlan, "_nextPlanId", 0)
        with connect(services.spark_remote) as session:
            found += read(session, lake, "rows", version=version).select("id").collect()
        ObjectStore(services.store).delete_below(f"{lake.uri('rows')}/")
    assert [row.id for row in found] == [1, 2]
