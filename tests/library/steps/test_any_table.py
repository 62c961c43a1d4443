"""Tables of any kind, from a file to a training set and back.

Every table that hypothesis makes is equal at the end, or its rows are set aside with a reason, or
it is refused with a message, and refused only for what cannot be stored. Never other values, never
fewer rows.
"""

from __future__ import annotations

import csv
import functools
import json
import math
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any
from unicodedata import normalize

import hypothesis.strategies as st
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from include.calendar import partitions
from include.errors import SourceError
from include.features import feature_function
from include.ingestion.landing import land
from include.quality import suites
from include.quality.suites import load_suite
from include.specification.generations import quarantine_table
from include.specification.pipeline import Pipeline
from include.steps.preparation import (
    ingest,
    validate_features,
    validate_source,
)
from include.storage import drafts
from include.storage.drafts import Draft
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import Settings
from include.training.training_sets import build_training_set, read_training_set

ORIGIN = Origin("p_score", "run_1", "task_1", commit="abc1234")
ROWS = 40
FIRST = partitions.snapshot(1)
OUR_NAMES = ("id", "target")
ID = {"column": "id"}
EXPECTATIONS = [
    {"type": "expect_column_values_to_not_be_null", "kwargs": ID},
    {"type": "expect_column_values_to_be_unique", "kwargs": ID},
]
# The same examples in every run: a failure on one machine is a failure on all.
EXAMPLES = functools.partial(
    settings,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

_LARGEST = 2**63 - 1
_DAY = 86_400
_FIRST_DAY = (date.min - date(1970, 1, 1)).days
_LAST_DAY = (date.max - date(1970, 1, 1)).days
_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}

Strategy = st.SearchStrategy[Any]

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12),
    st.sampled_from(["", " ", "NA", "None", "null", "01014", "1,000.5", "\u2028", "é", "-0", "#"]),
)
WHOLE = {kind: (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for kind, bits in (
    (pa.int8(), 8), (pa.int16(), 16), (pa.int32(), 32), (pa.int64(), 64),
)} | {kind: (0, 2**bits - 1) for kind, bits in (
    (pa.uint8(), 8), (pa.uint16(), 16), (pa.uint32(), 32), (pa.uint64(), 64),
)}  # fmt: skip


def whole(kind: pa.DataType) -> Strategy:
    low, high = WHOLE[kind]
    return st.integers(low, high) | st.sampled_from([low, high, 0, min(high, 2**53 + 1)])


def decimals(precision: int, scale: int) -> Strategy:
    largest = 10**precision - 1
    return st.integers(-largest, largest).map(lambda n: Decimal(f"{n}e{-scale}"))


def times(unit: str) -> Strategy:
    """Ticks since 1970 in the years 1 to 9999; nanoseconds as far as they go."""
    if unit == "ns":
        return st.integers(-(2**63) + 2, _LARGEST)
    first, after = years(unit)
    return st.integers(first, after - 1) | st.sampled_from([first, after - 1, 0, -1])


def years(unit: str) -> tuple[int, int]:
    """First tick of year 1, and the first after year 9999."""
    return _FIRST_DAY * _DAY * _UNITS[unit], (_LAST_DAY + 1) * _DAY * _UNITS[unit]


# What a column may be, with what Python values (or ticks) make it.
KINDS: dict[pa.DataType, Strategy] = {
    **{kind: whole(kind) for kind in WHOLE},
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats() | st.sampled_from([math.inf, -math.inf, math.nan, 1e300, -0.0]),
    pa.bool_(): st.booleans(),
    pa.string(): TEXTS,
    pa.large_string(): TEXTS,
    pa.string_view(): TEXTS,
    pa.dictionary(pa.int32(), pa.string()): TEXTS,
    pa.decimal128(38, 0): decimals(38, 0),
    pa.decimal128(12, 2): decimals(12, 2),
    pa.decimal256(30, 10): decimals(30, 10),
    pa.date32(): st.integers(_FIRST_DAY, _LAST_DAY) | st.sampled_from([_FIRST_DAY, _LAST_DAY]),
    **{pa.timestamp(unit): times(unit) for unit in ("ms", "us", "ns")},
    pa.timestamp("us", "Europe/Paris"): times("us"),
}
# Features are numbers: what the library makes of other ones.
NUMBERS: dict[type, Callable[[Any], Any]] = {bool: int, Decimal: float}
KEYS = (pa.int64(), pa.uint64(), pa.string(), pa.decimal128(38, 0))
GOOD_NAMES = st.sampled_from(
    [
        *("petal.width", "`x`", "a/b", "label", "held_out", "x", "it's", " ", "score", "%s"),
        *('say "hi"', "{partition}", "\u2028", "index", "row_id", "class", "naïve", "🙂"),
    ]
) | st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=8).filter(
    lambda name: name[0] != "_" and folded(name) not in ("id", "long", "target", "partition")
)
BAD_NAMES = ("_own", "partition", "Partition", "ID", "Target", "", "a\0b")
# Columns that no table can hold, by what is wrong with them.
BAD_COLUMNS: tuple[tuple[str, pa.DataType, Any], ...] = (
    *((name, pa.int32(), 1) for name in BAD_NAMES),
    ("wrong", pa.null(), None),
    ("wrong", pa.binary(), b"bytes"),
    ("wrong", pa.list_(pa.int32()), [1]),
    ("wrong", pa.struct([("a", pa.int32())]), {"a": 1}),
    ("wrong", pa.time64("us"), 1),
    ("wrong", pa.uint64(), 2**63),
    ("wrong", pa.timestamp("ms"), years("ms")[0] - 1),
    ("wrong", pa.timestamp("us"), years("us")[1]),
)


# In every table, because few draws have both: whole numbers that no float holds, and a null.
LONG = pa.array([2**53 + row if row % 7 else None for row in range(ROWS)], pa.int64())


@st.composite
def columns(draw: Callable[..., Any], kind: pa.DataType) -> pa.Array:
    """Fill a column of ``ROWS`` rows with a few values, and nulls between them."""
    values = draw(st.lists(KINDS[kind], min_size=1, max_size=5))
    if draw(st.booleans()):
        values = [*values, None]
    cells = [values[row % len(values)] for row in range(ROWS)]
    return make(cells, kind)


def make(cells: list[Any], kind: pa.DataType) -> pa.Array:
    types = pa.types
    if types.is_dictionary(kind):
        return pa.array(cells, kind.value_type).dictionary_encode()
    if types.is_timestamp(kind) or types.is_time64(kind):
        return pa.array(cells, pa.int64()).view(kind)
    if types.is_date32(kind):
        return pa.array(cells, pa.int32()).view(kind)
    return pa.array(cells, kind)


@st.composite
def tables(draw: Callable[..., Any]) -> pa.Table:
    """Make a table of a key, a few columns of any kind and name, and a number to predict."""
    kind = draw(st.sampled_from(KEYS))
    start = draw(st.integers(0, 10**17))
    keys = [Decimal(start + row) if pa.types.is_decimal(kind) else start + row
            for row in range(ROWS)]  # fmt: skip
    cells: list[Any] = [f"{key:020d}" for key in keys] if pa.types.is_string(kind) else keys
    for row in draw(st.sets(st.integers(0, ROWS - 1), max_size=3)):
        cells[row] = draw(st.sampled_from([None, cells[0]]))
    names = draw(st.lists(GOOD_NAMES, min_size=1, max_size=4, unique_by=folded))
    kinds = st.sampled_from(list(KINDS))
    return pa.Table.from_arrays(
        [
            pa.array(cells, kind),
            LONG,
            *(draw(columns(draw(kinds))) for _ in names),
            pa.array([row + 0.5 for row in range(ROWS)]),
        ],
        names=["id", "long", *names, "target"],
    )


def folded(name: str) -> str:
    """Write a name as tables compare it."""
    return normalize("NFC", normalize("NFC", name).casefold())


def plain(column: pa.ChunkedArray) -> list[Any]:
    """Say the values of a landed column as Python has them in a table."""
    kind = column.type
    if not pa.types.is_timestamp(kind):
        return list(column.to_pylist())
    ticks = column.cast(pa.int64()).to_pylist()
    per = _UNITS[kind.unit]
    # Naive UTC; what is finer than a microsecond is cut off.
    micros = [tick if tick is None else tick * 10**6 // per for tick in ticks]
    return list(pa.array(micros, pa.timestamp("us")).to_pylist())


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(found, float) and math.isnan(found)
    return bool(found == expected) and not isinstance(found, float) ^ isinstance(expected, float)


def assert_equal(found: pa.Table, name: str, expected: list[Any]) -> None:
    got = found[name].to_pylist()
    wrong = [(g, e) for g, e in zip(got, expected, strict=True) if not same(g, e)]
    assert not wrong, (name, found.schema.field(name).type, wrong[:3])


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with suites that ask for a key of its own in every row."""
    folder = tmp_path_factory.mktemp("any")
    for name in ("rows", "features"):
        document = {"name": name, "expectations": EXPECTATIONS}
        (folder / f"{name}.json").write_text(json.dumps(document))
    module = ModuleType("include.pipelines.any_table")
    module.features = lambda rows: rows  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suites, "load_suite", functools.partial(load_suite, folder=folder))
        patch.setitem(__import__("sys").modules, module.__name__, module)
        yield folder


def a_pipeline(**source: Any) -> Pipeline:
    """Make a pipeline over snapshots that no other example knows."""
    name = f"p{uuid.uuid4().hex[:12]}"
    return Pipeline.model_validate(
        {
            "name": name,
            "description": "Tests.",
            "owner": "tests",
            "task": "regression",
            "entity": "id",
            "partition": "none",
            "sources": {
                "rows": {
                    "uri": f"s3://landing/{name}/rows/{{partition}}/",
                    "suite": "rows",
                    "max_quarantined": 1.0,
                    "labels": {"column": "target"},
                    **source,
                }
            },
            "features": {
                "function": "include.pipelines.any_table:features",
                "suite": "features",
            },
            "training": {"window": 1, "holdout": 0.3, "candidates": {"ridge": {}}},
            "promotion": {"require": {"mean_absolute_error": 100.0}},
        }
    )


def stored(
    store: ObjectStore, lake: Lake, pipeline: Pipeline, file: Path
) -> tuple[Draft, pa.Table] | str:
    """Land and ingest a file; returns the raw rows in the file's order, or why it was refused."""
    try:
        land(store, pipeline, file)
        draft = ingest(lake, pipeline, "rows", [FIRST], ORIGIN)
    except SourceError as error:
        return str(error)
    rows = drafts.read(lake, draft, drafts.load(lake, draft), str(FIRST))
    return draft, rows.sort_by("_row")


def is_good(keys: list[Any]) -> list[bool]:
    return [key is not None and keys.count(key) == 1 for key in keys]


@EXAMPLES(max_examples=15)
@given(table=tables())
def test_parquet_comes_back_as_it_was_and_rows_without_a_key_are_set_aside(
    table: pa.Table, services: Settings, begun: Path
) -> None:
    file = begun / "rows.parquet"
    pq.write_table(table, file)
    pipeline = a_pipeline()
    lake = Lake(services.store, pipeline.name)
    found = stored(ObjectStore(services.store), lake, pipeline, file)
    assert not isinstance(found, str), found
    draft, raw = found
    for name, column in zip(table.column_names, table.columns, strict=True):
        assert_equal(raw, name, plain(column))

    keys = table["id"].to_pylist()
    good = is_good(keys)
    validated = validate_source(lake, pipeline, "rows", draft, FIRST, ORIGIN)
    assert validated.quarantined == good.count(False)
    assert validated.reference.rows == good.count(True)
    kept = lake.read("raw_rows").sort_by("_row")
    for name, column in zip(table.column_names, table.columns, strict=True):
        values = plain(column)
        assert_equal(kept, name, [v for v, g in zip(values, good, strict=True) if g])
    aside = lake.read(quarantine_table("rows")).sort_by("_row")
    assert aside["_row"].to_pylist() == [row for row in range(ROWS) if not good[row]]
    assert all(reasons for reasons in aside["reasons"].to_pylist())
    for row, text in zip(aside["_row"].to_pylist(), aside["row"].to_pylist(), strict=True):
        assert json.loads(text)["id"] in (keys[row], str(keys[row]))


@EXAMPLES(max_examples=15)
@given(table=tables(), wrong=st.sampled_from(BAD_COLUMNS), row=st.integers(0, ROWS - 1))
def test_what_no_table_can_hold_is_refused_with_its_name(
    table: pa.Table, wrong: tuple[str, pa.DataType, Any], row: int, services: Settings, begun: Path
) -> None:
    name, kind, value = wrong
    bad = make([value if number == row else None for number in range(ROWS)], kind)
    table = table.append_column(name, bad)
    file = begun / "rows.parquet"
    pq.write_table(table, file)
    pipeline = a_pipeline()
    lake = Lake(services.store, pipeline.name)
    told = stored(ObjectStore(services.store), lake, pipeline, file)
    assert isinstance(told, str), "it was not refused"
    assert repr(name)[1:-1] in told or f"column {table.num_columns}" in told, told
    assert told.endswith(".")
    assert not lake.exists("raw_rows")


CELLS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], Callable[[Any], str]]] = {
    "integer": (pa.int64(), whole(pa.int64()), str),
    "number": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False), repr),
    "string": (pa.string(), TEXTS, str),
    "boolean": (pa.bool_(), st.booleans(), lambda value: str(value).lower()),
    "date": (pa.date32(), st.dates(), date.isoformat),
    "timestamp": (pa.timestamp("us"), st.datetimes(), datetime.isoformat),
}


@EXAMPLES(max_examples=15)
@given(data=st.data())
def test_cells_of_text_are_read_as_their_types(
    data: st.DataObject, services: Settings, begun: Path
) -> None:
    names = data.draw(st.lists(st.sampled_from(list(CELLS)), min_size=1, max_size=4, unique=True))
    columns: dict[str, list[Any]] = {"id": [f"{row:05d}" for row in range(ROWS)]}
    for name in names:
        values = data.draw(st.lists(CELLS[name][1] | st.none(), min_size=1, max_size=5))
        columns[name] = [values[row % len(values)] for row in range(ROWS)]
    columns["target"] = [row + 0.5 for row in range(ROWS)]
    write = {name: CELLS[name][2] for name in names}
    file = begun / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for cells in zip(*columns.values(), strict=True):
            writer.writerow(
                "" if cell is None else write.get(name, str)(cell)
                for name, cell in zip(columns, cells, strict=True)
            )
    types = {"id": "string", "target": "number", **{name: name for name in names}}
    pipeline = a_pipeline(format="csv", null_values=(), types=types)
    lake = Lake(services.store, pipeline.name)
    found = stored(ObjectStore(services.store), lake, pipeline, file)
    assert not isinstance(found, str), found
    _, raw = found
    assert set(raw["_unparsed"].to_pylist()) == {None}
    for name, cells in columns.items():
        # An empty cell and one of nothing but spaces are missing.
        missing = [isinstance(cell, str) and not cell.strip(" ") for cell in cells]
        assert_equal(raw, name, [None if m else c for c, m in zip(cells, missing, strict=True)])
        if name in names:
            assert raw.schema.field(name).type == CELLS[name][0]


@EXAMPLES(max_examples=5)
@given(table=tables())
def test_features_and_training_set_hold_what_was_landed(
    table: pa.Table, spark: Any, services: Settings, begun: Path
) -> None:
    numbers = [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type)
    ]
    table = table.drop_columns(numbers)  # features are numbers and texts
    file = begun / "rows.parquet"
    pq.write_table(table, file)
    pipeline = a_pipeline()
    lake = Lake(services.store, pipeline.name)
    found = stored(ObjectStore(services.store), lake, pipeline, file)
    assert not isinstance(found, str), found
    draft, _ = found
    validated = validate_source(lake, pipeline, "rows", draft, FIRST, ORIGIN)

    sources = {"rows": validated.reference}
    computed = feature_function.compute(spark, lake, pipeline, sources, [str(FIRST)], ORIGIN)
    checked = validate_features(lake, pipeline, computed, FIRST, ORIGIN)
    assert checked.quarantined == 0
    training_set = build_training_set(lake, pipeline, FIRST, ORIGIN)
    learned = read_training_set(lake, training_set).sort_by("id")

    kept = lake.read("raw_rows").sort_by("id")
    features = lake.read("features").sort_by("id")
    assert learned.num_rows == features.num_rows == kept.num_rows
    assert learned["_label"].to_pylist() == kept["target"].to_pylist()
    for name in set(table.column_names) - {"target"}:
        expected = kept[name].to_pylist()
        number = NUMBERS.get(type(next(filter(None, expected), None)))
        if name != "id" and number:
            expected = [value if value is None else number(value) for value in expected]
        assert_equal(features, name, expected)
        assert_equal(learned, name, expected)
