"""Labels from columns and expressions, for every task, with the time at which they were known."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from include.calendar import partitions
from include.calendar.partitions import Frequency
from include.errors import SourceError
from include.features.labels import columns_of, contradictions, derive
from include.specification.pipeline import Pipeline

QUARTER = partitions.parse("2005-Q1", Frequency.QUARTERLY)


@pytest.fixture
def labelled(make_pipeline: Any) -> Any:
    """Make a pipeline whose labels are in the row (or in another source)."""

    def make(
        task: str, *, other: bool = False, partition: str = "quarterly", **labels: Any
    ) -> Pipeline:
        pipeline = make_pipeline(task=task, partition=partition)
        outcomes = pipeline.sources["outcomes"]
        assert outcomes.labels is not None
        values = {"column": None, "known_at": None, **labels}
        changed = outcomes.model_copy(update={"labels": outcomes.labels.model_copy(update=values)})
        sources = {"outcomes": changed}
        if other:
            sources = {"loans": pipeline.sources["loans"], **sources}
        return pipeline.model_copy(update={"sources": sources})

    return make


def rows(**columns: Any) -> pa.Table:
    length = len(next(iter(columns.values())))
    return pa.table({"id": [f"e{at}" for at in range(length)], **columns})


def test_an_expression_gives_minutes(labelled: Any) -> None:
    pipeline = labelled(
        "regression", expression="date_diff('second', began, ended) / 60.0", known_at="ended"
    )
    landed = rows(
        began=[datetime(2005, 1, 1, 10), datetime(2005, 3, 31, 23, 50)],
        ended=[datetime(2005, 1, 1, 10, 30), datetime(2005, 4, 1, 0, 20)],
    )
    found = derive(pipeline, landed, QUARTER)
    assert found["label"].to_pylist() == [30.0, 30.0]
    # The second trip ends when the quarter has closed: its label is landed, and not yet known.
    assert found["known_at"].to_pylist() == [
        datetime(2005, 1, 1, 10, 30),
        datetime(2005, 4, 1, 0, 20),
    ]


def test_an_expression_may_not_read_files(labelled: Any) -> None:
    pipeline = labelled("binary", expression="(select count(*) from read_text('/etc/hostname'))")
    with pytest.raises(SourceError, match=r"labels\.expression must be SQL over the source's"):
        derive(pipeline, rows(x=[1]), QUARTER)


def test_an_expression_over_a_column_that_is_not_there(labelled: Any) -> None:
    with pytest.raises(SourceError) as caught:
        derive(labelled("binary", expression="delay > 15"), rows(arr_delay=[1]), QUARTER)
    assert "source outcomes 2005-Q1: labels.expression must be SQL" in str(caught.value)
    assert "delay" in str(caught.value)


@pytest.mark.parametrize(
    ("expression", "labels"),
    [
        ("row_number() over (order by x desc)", [1, 4, 2, 3]),
        ("sum(x) over (partition by kind)", [12, 3, 12, 3]),
        ("lead(x) over (partition by kind order by x)", [None, 2, 8, None]),
        ("(select max(x) from landed) - x", [0, 7, 4, 6]),
        ("x -- as it is", [8, 1, 4, 2]),
    ],
)
def test_an_expression_may_look_at_other_rows_and_keeps_its_own(
    labelled: Any, expression: str, labels: list[float | None]
) -> None:
    landed = rows(x=[8, 1, 4, 2], kind=["a", "b", "a", "b"])
    found = derive(labelled("regression", expression=expression), landed, QUARTER)
    told = dict(zip(found["id"].to_pylist(), found["label"].to_pylist(), strict=True))
    expected = {f"e{at}": label for at, label in enumerate(labels) if label is not None}
    assert told == expected


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("max(x)", "it gives other than one value for each row. Correct"),
        ("unnest([x, x])", "it gives other than one value for each row. Correct"),
        ("*", "it gives other than one value for each row. Correct"),
        ("[x]", "it gives list<l: int64>, which no label can be. Correct the expression."),
        ("x, x", "which no label can be. Correct the expression."),
    ],
)
def test_an_expression_gives_one_plain_value_for_each_row(
    labelled: Any, expression: str, told: str
) -> None:
    with pytest.raises(SourceError) as caught:
        derive(labelled("multiclass", expression=expression), rows(x=[1, 2]), QUARTER)
    assert "source outcomes 2005-Q1: labels.expression must be SQL over" in str(caught.value)
    assert told in str(caught.value)


def test_the_positive_value_is_one_and_the_other_is_zero(labelled: Any) -> None:
    pipeline = labelled("binary", column="kredit", positive=0)
    found = derive(pipeline, rows(kredit=pa.array([1.0, 0.0, None, 1.0])), QUARTER)
    assert found["id"].to_pylist() == ["e0", "e1", "e3"]
    assert found["label"].to_pylist() == [0, 1, 0]
    assert found["known_at"].to_pylist() == [datetime(2005, 3, 31, 23, 59, 59)] * 3


def test_a_third_value_is_an_error_and_never_a_zero(labelled: Any) -> None:
    pipeline = labelled("binary", column="churn", positive="Yes")
    with pytest.raises(SourceError) as caught:
        derive(pipeline, rows(churn=["Yes", "No", "error"]), QUARTER)
    assert str(caught.value) == (
        "source outcomes 2005-Q1: churn must hold 'Yes' and one other value, got 2 others: No, "
        "error. Correct labels.positive, or let the suite move rows with other values to "
        "quarantine."
    )


def test_binary_labels_are_zero_and_one_or_true_and_false(labelled: Any) -> None:
    pipeline = labelled("binary", column="bad")
    assert derive(pipeline, rows(bad=[True, False]), QUARTER)["label"].to_pylist() == [1, 0]
    with pytest.raises(SourceError, match=r"got 2\. Name the value that means 1 in"):
        derive(pipeline, rows(bad=[0, 2]), QUARTER)


def test_classes_are_strings(labelled: Any) -> None:
    pipeline = labelled("multiclass", column="kind")
    assert derive(pipeline, rows(kind=[1.0, 2.0]), QUARTER)["label"].to_pylist() == ["1", "2"]
    assert derive(pipeline, rows(kind=["NL", None]), QUARTER)["label"].to_pylist() == ["NL"]


@pytest.mark.parametrize(
    ("values", "told"), [(["fast"], "must be a number"), ([float("inf")], "got 1 that are not")]
)
def test_a_number_must_be_one(labelled: Any, values: list[Any], told: str) -> None:
    with pytest.raises(SourceError, match=told):
        derive(labelled("regression", column="y"), rows(y=values), QUARTER)


def test_a_label_of_another_source_lands_when_it_is_known(labelled: Any) -> None:
    pipeline = labelled("binary", other=True, column="bad", known_at="known")
    late = rows(bad=[1], known=[datetime(2005, 4, 1)])
    with pytest.raises(SourceError, match="got 1 rows known later"):
        derive(pipeline, late, QUARTER)


def test_a_label_of_another_source_can_be_about_a_row_of_an_entity(labelled: Any) -> None:
    pipeline = labelled("binary", other=True, column="bad", event_time="month")
    found = derive(pipeline, rows(bad=[1], month=[datetime(2004, 1, 1)]), QUARTER)
    assert found.column_names == ["id", "at", "label", "known_at"]
    assert found["at"].to_pylist() == [datetime(2004, 1, 1)]


def test_labels_of_a_snapshot_are_known_with_it(labelled: Any) -> None:
    pipeline = labelled("binary", partition="none", column="churn")
    snapshot = partitions.snapshot(3)
    known_at = derive(pipeline, rows(churn=[0]), snapshot)["known_at"].to_pylist()[0]
    assert snapshot.start <= known_at < snapshot.end


def test_the_feature_function_sees_no_labels(labelled: Any) -> None:
    columns = ["id", "bad", "x", "known"]
    in_row = labelled("binary", column="bad", known_at="known")
    assert columns_of(in_row, columns) == ("bad", "known")
    other = labelled("binary", other=True, column="bad", known_at="known")
    assert columns_of(other, columns) == ()


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("known", [pa.timestamp("us"), pa.date32(), pa.string()])
@pytest.mark.parametrize(
    ("task", "kind"),
    [("binary", pa.int64()), ("multiclass", pa.string()), ("regression", pa.float64())],
)
def test_rows_without_a_label_leave_the_columns_as_they_are(
    labelled: Any, task: str, kind: pa.DataType, known: pa.DataType, count: int
) -> None:
    pipeline = labelled(task, column="y", known_at="known")
    landed = pa.table(
        {
            "id": pa.array(["a", "b"][:count], pa.string()),
            "y": pa.nulls(count, kind),
            "known": pa.nulls(count, known),
        }
    )
    found = derive(pipeline, landed, QUARTER)
    assert found.num_rows == 0
    expected = [("id", pa.string()), ("label", kind), ("known_at", pa.timestamp("us"))]
    assert found.schema.equals(pa.schema(expected))


def test_labels_known_at_the_start_of_a_year(labelled: Any) -> None:
    pipeline = labelled("binary", column="bad", known_at="year")
    found = derive(pipeline, rows(bad=[1, 0], year=pa.array([2004, None], pa.int64())), QUARTER)
    assert found["known_at"].to_pylist() == [datetime(2004, 1, 1)]


def test_a_column_that_is_not_there(labelled: Any) -> None:
    with pytest.raises(SourceError, match="must have a column bad, which the pipeline file names"):
        derive(labelled("binary", column="bad"), rows(good=[1]), QUARTER)


LONG = 2**53


@pytest.mark.parametrize("missing", ["entity", "label", "nothing"])
@pytest.mark.parametrize(
    "kind", [pa.int64(), pa.uint64(), pa.decimal128(38, 0), pa.string(), pa.timestamp("us")]
)
def test_entities_stay_what_they_are(labelled: Any, kind: pa.DataType, missing: str) -> None:
    numbers = pa.array([LONG + 1, LONG, LONG + 3], pa.int64())
    entities = numbers.cast(kind).to_pylist()
    labels: list[int | None] = [0, 1, 1]
    if missing == "entity":
        entities.append(None)
        labels.append(0)
    elif missing == "label":
        entities.append(entities[0])
        labels.append(None)
    landed = pa.table({"id": pa.array(entities, kind), "bad": labels})
    found = derive(labelled("binary", column="bad"), landed, QUARTER)
    assert found["id"].type == kind
    held = len(entities) - (missing == "label")
    assert found["id"].to_pylist() == entities[:held]
    assert found["label"].to_pylist() == labels[:held]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array([LONG, LONG + 1, None]), [str(LONG), str(LONG + 1)]),
        (pa.array([1, None, 2]), ["1", "2"]),
        (pa.array([1.0, None, 2.5]), ["1", "2.5"]),
        (pa.array([True, None, False]), ["True", "False"]),
        (pa.array([Decimal("1.00"), None, Decimal("2.50")]), ["1", "2.5"]),
        (pa.array([Decimal(10**18 + 1), None]), [str(10**18 + 1)]),
        (pa.array(["1", "1.0", None]), ["1", "1.0"]),
        (pa.array([date(2005, 7, 14), None]), ["2005-07-14"]),
    ],
)
def test_classes_do_not_hang_on_a_missing_one(
    labelled: Any, values: pa.Array, names: list[str]
) -> None:
    found = derive(labelled("multiclass", column="y"), rows(y=values), QUARTER)
    assert found["label"].to_pylist() == names


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, None, 0]),
        pa.array([1.0, None, 0.0]),
        pa.array([True, None, False]),
        pa.array([Decimal("1.00"), None, Decimal("0.00")]),
    ],
)
@pytest.mark.parametrize(("task", "kind"), [("binary", int), ("regression", float)])
def test_numbers_of_every_type(labelled: Any, values: pa.Array, task: str, kind: type) -> None:
    found = derive(labelled(task, column="y"), rows(y=values), QUARTER)
    assert found["label"].to_pylist() == [kind(1), kind(0)]


@pytest.mark.parametrize(
    ("expression", "hidden"),
    [
        ("arr_delay > 15", ["arr_delay"]),
        ("ARR_DELAY > 15 and landed.x < 1", ["arr_delay", "x"]),
        ('"a.b" + 1', ["a.b"]),
        ("date_diff('minute', \"at\", closed)", ["closed"]),  # the event time stays
        ("case when id is null then 1 else x end", ["x"]),
        ("(select max(q) from (select x as q))", ["x"]),
        ("greatest(*columns('x|y'))", ["arr_delay", "x", "a.b", "closed"]),
        ("hash(landed) % 2", ["arr_delay", "x", "a.b", "closed"]),
        ("1", []),
    ],
)
def test_the_feature_function_sees_nothing_that_the_label_is_computed_from(
    labelled: Any, expression: str, hidden: list[str]
) -> None:
    columns = ["id", "at", "arr_delay", "x", "a.b", "closed"]
    assert list(columns_of(labelled("binary", expression=expression), columns)) == hidden


def test_a_row_as_a_whole_by_any_spelling(labelled: Any) -> None:
    for expression in ("(LANDED).x", "(select any_value(t).x from landed as t)"):
        pipeline = labelled("binary", expression=expression)
        assert columns_of(pipeline, ["id", "x", "y"]) == ("x", "y")
    pipeline = labelled("binary", expression="landed > 1")
    assert columns_of(pipeline, ["id", "landed", "x"]) == ("landed",)


def test_what_an_expression_reads_must_be_sql(labelled: Any) -> None:
    with pytest.raises(SourceError, match="a number such as #2 is no column"):
        columns_of(labelled("binary", expression="#2 > 0"), ["id", "x"])
    with pytest.raises(SourceError, match=r"labels\.expression must be SQL over the source's"):
        columns_of(labelled("binary", expression="x >"), ["id", "x"])


class TestContradictions:
    def test_all_labels_of_one_entity_known_at_one_moment(self, labelled: Any) -> None:
        pipeline = labelled("binary", other=True, column="bad", known_at="known")
        first, later = datetime(2005, 1, 9), datetime(2005, 2, 9)
        landed = pa.table(
            {
                "id": pa.array([LONG, LONG + 1, LONG, LONG + 1, LONG, LONG + 2, None, None]),
                "bad": pa.array([0, 1, 1, 1, 0, None, 0, 1]),
                "known": [first, first, first, first, later, first, first, first],
            }
        )
        # The copy of a label is none, nor is a later correction, nor what is about nobody.
        assert contradictions(pipeline, landed, QUARTER) == {0: "0, 1", 2: "0, 1"}

    def test_an_entity_may_come_back_at_another_time(self, labelled: Any) -> None:
        pipeline = labelled("binary", other=True, column="bad", event_time="month")
        months = [datetime(2004, 1, 1), datetime(2004, 2, 1), datetime(2004, 3, 1)]
        landed = pa.table({"id": ["a", "a", "a"], "bad": [0, 1, 0], "month": months})
        assert contradictions(pipeline, landed, QUARTER) == {}
        twice = pa.concat_tables([landed, landed.set_column(1, "bad", pa.array([1, 1, 0]))])
        assert contradictions(pipeline, twice, QUARTER) == {0: "0, 1", 3: "0, 1"}

    @pytest.mark.parametrize("count", [0, 1])
    def test_few_rows(self, labelled: Any, count: int) -> None:
        pipeline = labelled("multiclass", column="kind")
        landed = pa.table({"id": pa.array(["a"][:count], pa.string()), "kind": ["x"][:count]})
        assert contradictions(pipeline, landed, QUARTER) == {}

    def test_of_computed_labels(self, labelled: Any) -> None:
        pipeline = labelled("regression", expression="x + 1")
        landed = pa.table({"id": ["a", "a", "b"], "x": [1.0, 2.0, 3.0]})
        assert contradictions(pipeline, landed, QUARTER) == {0: "2, 3", 1: "2, 3"}
