"""What becomes of every Arrow type, and that nothing is bent on the way."""

from __future__ import annotations

import io
import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.ingestion.arrow_types import (
    BECOMES,
    EXTENSIONS,
    check_types,
    decode,
    stored_as,
    widest,
)
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

SECOND, MICRO = pa.timestamp("s"), pa.timestamp("us")
FIRST, LAST = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)
ID = uuid.uuid4()


def dictionary(values: pa.Array) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.int8()), values)


def extension(kind: pa.DataType, values: list[Any]) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))


# Column, the type that it is stored in, its values.
STORED: list[tuple[pa.Array, pa.DataType, list[Any]]] = [
    (pa.nulls(2), pa.null(), [None, None]),
    (pa.array([True, None]), pa.bool_(), [True, None]),
    (pa.array([-(2**7), 2**7 - 1], pa.int8()), pa.int8(), [-(2**7), 2**7 - 1]),
    (pa.array([-(2**15), 2**15 - 1], pa.int16()), pa.int16(), [-(2**15), 2**15 - 1]),
    (pa.array([-(2**31), 2**31 - 1], pa.int32()), pa.int32(), [-(2**31), 2**31 - 1]),
    (pa.array([-(2**63), 2**63 - 1]), pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.array([2**8 - 1, None], pa.uint8()), pa.int16(), [2**8 - 1, None]),
    (pa.array([2**16 - 1, None], pa.uint16()), pa.int32(), [2**16 - 1, None]),
    (pa.array([2**32 - 1, None], pa.uint32()), pa.int64(), [2**32 - 1, None]),
    (pa.array([2**63 - 1, None], pa.uint64()), pa.int64(), [2**63 - 1, None]),
    (pa.array([1.5, None], pa.float16()), pa.float32(), [1.5, None]),
    (pa.array([1.5, float("inf")], pa.float32()), pa.float32(), [1.5, float("inf")]),
    (pa.array([0.1, None]), pa.float64(), [0.1, None]),
    (pa.array([Decimal("1.20")], pa.decimal32(5, 2)), pa.decimal128(5, 2), [Decimal("1.20")]),
    (pa.array([Decimal("1.20")], pa.decimal64(15, 2)), pa.decimal128(15, 2), [Decimal("1.20")]),
    (pa.array([Decimal(10**37)], pa.decimal128(38)), pa.decimal128(38), [Decimal(10**37)]),
    (pa.array([Decimal(1200)], pa.decimal128(5, -2)), pa.decimal128(7, 0), [Decimal(1200)]),
    (
        pa.array([Decimal("0.00012")], pa.decimal128(5, 5)).cast(pa.decimal128(2, 5)),
        pa.decimal128(5, 5),
        [Decimal("0.00012")],
    ),
    (pa.array([Decimal("0.1")], pa.decimal256(38, 9)), pa.decimal128(38, 9), [Decimal("0.1")]),
    (pa.array(["a", None]), pa.string(), ["a", None]),
    (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
    (pa.array(["a", None], pa.string_view()), pa.string(), ["a", None]),
    (pa.array([date.min, date.max]), pa.date32(), [date.min, date.max]),
    (pa.array([date.min, date.max], pa.date64()), pa.date32(), [date.min, date.max]),
    (pa.array([FIRST, LAST], SECOND), MICRO, [FIRST, LAST]),
    (pa.array([FIRST, LAST], pa.timestamp("ms")), MICRO, [FIRST, LAST]),
    (pa.array([FIRST, LAST], MICRO), MICRO, [FIRST, LAST]),
    (pa.array([1000, None], pa.timestamp("ns")), MICRO, [datetime(1970, 1, 1, 0, 0, 0, 1), None]),
    (pa.array([FIRST, LAST], pa.timestamp("s", "America/New_York")), MICRO, [FIRST, LAST]),
    (pa.array([LAST, None], pa.timestamp("us", "+02:00")), MICRO, [LAST, None]),
    (dictionary(pa.array(["a"])), pa.string(), ["a", None, "a"]),
    (dictionary(pa.array(["a"], pa.large_string())), pa.string(), ["a", None, "a"]),
    (dictionary(pa.array(["a"], pa.string_view())), pa.string(), ["a", None, "a"]),
    (dictionary(pa.array([2**53 + 1])), pa.int64(), [2**53 + 1, None, 2**53 + 1]),
    (dictionary(pa.array([LAST], pa.timestamp("ms", "UTC"))), MICRO, [LAST, None, LAST]),
    (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", None]), pa.string(), ["a", "a", None]),
    (
        pa.RunEndEncodedArray.from_arrays(pa.array([2, 3], pa.int16()), [2**53 + 1, 0]),
        pa.int64(),
        [2**53 + 1, 2**53 + 1, 0],
    ),
    (extension(pa.uuid(), [ID.bytes, None]), pa.string(), [str(ID), None]),
    (extension(pa.json_(), ['{"a": 1}', None]), pa.string(), ['{"a": 1}', None]),
    (extension(pa.bool8(), [0, 2, None]), pa.bool_(), [False, True, None]),
]
REFUSED: list[pa.DataType] = [
    pa.decimal256(39, 2),
    pa.decimal128(38, -1),
    pa.binary(),
    pa.binary(16),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int8(), pa.binary()),
    pa.time32("s"),
    pa.time64("us"),
    pa.duration("us"),
    pa.month_day_nano_interval(),
    pa.list_(pa.int64()),
    pa.list_(pa.int64(), 3),
    pa.large_list(pa.int64()),
    pa.list_view(pa.int64()),
    pa.large_list_view(pa.int64()),
    pa.struct([("a", pa.int64())]),
    pa.map_(pa.string(), pa.int64()),
    pa.dense_union([pa.field("a", pa.int64())]),
    pa.sparse_union([pa.field("a", pa.int64())]),
    pa.run_end_encoded(pa.int32(), pa.list_(pa.int64())),
    pa.fixed_shape_tensor(pa.int64(), [2]),
    pa.opaque(pa.string(), "box", "vendor"),
]


def test_every_type_of_arrow_is_in_the_table() -> None:
    known = {name.removeprefix("Type_") for name in dir(pa.lib) if name.startswith("Type_")}
    assert set(BECOMES) == known
    built = {kind.id for kind in REFUSED} | {column.type.id for column, _, _ in STORED}
    intervals = {pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME}  # pyarrow makes none
    assert {getattr(pa.lib, f"Type_{name}") for name in known} <= built | intervals


def test_every_extension_type_of_arrow_is_stored_or_refused() -> None:
    offered = {
        name
        for name, kind in vars(pa).items()
        if isinstance(kind, type) and issubclass(kind, pa.BaseExtensionType)
    }
    assert offered == {
        *("BaseExtensionType", "ExtensionType", "UnknownExtensionType"),
        *("UuidType", "JsonType", "Bool8Type", "FixedShapeTensorType", "OpaqueType"),
    }
    assert set(EXTENSIONS) == {"arrow.uuid", "arrow.json", "arrow.bool8"}


@pytest.mark.parametrize(
    ("column", "kind", "values"), STORED, ids=[str(column.type) for column, _, _ in STORED]
)
def test_a_stored_type_keeps_its_values(
    column: pa.Array, kind: pa.DataType, values: list[Any]
) -> None:
    assert stored_as(column.type) == kind
    whole = pa.table({"c": column})
    check_types("file a", whole.schema)
    parts = {
        "whole": (whole, values),
        "a slice": (whole.slice(1), values[1:]),
        "no row": (whole.slice(0, 0), []),
        "no chunk": (pa.table({"c": pa.chunked_array([], column.type)}), []),
        "two chunks": (pa.concat_tables([whole, whole]), values * 2),
    }
    for name, (table, expected) in parts.items():
        decoded = decode("file a", table)
        assert decoded.rows.schema == pa.schema([("c", kind)]), name
        assert decoded.rows["c"].to_pylist() == expected, name
        assert decoded.rounded == frozenset(), name


@pytest.mark.parametrize("kind", REFUSED, ids=map(str, REFUSED))
def test_any_other_type_is_refused_at_first_sight(kind: pa.DataType) -> None:
    assert stored_as(kind) is None
    with pytest.raises(SourceError, match="file a: column c must be a number, string, boolean"):
        check_types("file a", pa.schema([("c", kind)]))


def test_a_period_of_pandas_is_refused_whatever_was_imported() -> None:
    metadata = {"ARROW:extension:name": "pandas.period", "ARROW:extension:metadata": "{}"}
    field = pa.field("month", pa.int64(), metadata=metadata)
    with pytest.raises(SourceError, match=r"column month must be .* got pandas\.period\. Flatten"):
        check_types("file a", pa.schema([field]))


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (
            pa.array([0, 2**63, 2**64 - 1], pa.uint64()),
            "must hold whole numbers up to 2**63 - 1, got 9223372036854775808 in row 12.",
        ),
        (
            pa.array([0, 253_402_300_800], SECOND),
            "must hold times of the years 1 to 9999, got 10000-01-01T00:00:00 in row 12.",
        ),
        (
            pa.array([0, -62_135_596_800_001], pa.timestamp("ms")),
            "must hold times of the years 1 to 9999, got 0000-12-31T23:59:59.999 in row 12.",
        ),
        (
            pa.array([0, 2_932_897], pa.int32()).cast(pa.date32()),
            "must hold times of the years 1 to 9999, got 10000-01-01 in row 12.",
        ),
        (pa.array([b"a", b"\xff"]).view(pa.string()), "must hold text in UTF-8, got others: "),
        (pa.array([0, 5], pa.date64()), "must hold values that date32[day] can, got date64[ms]"),
    ],
)
def test_a_value_that_does_not_fit_is_named(column: pa.Array, words: str) -> None:
    with pytest.raises(SourceError) as caught:
        decode("file a", pa.table({"c": column}), start=10)
    assert f"file a: column c {words}" in str(caught.value)


def test_nanoseconds_are_cut_off_downwards_and_named() -> None:
    column = pa.array([-1, 1_999, None], pa.timestamp("ns", "Europe/Berlin"))
    decoded = decode(
        "file a", pa.table({"at": column, "to": pa.array([0, 1000, None], column.type)})
    )
    assert decoded.rows["at"].cast(pa.int64()).to_pylist() == [-1, 1, None]
    assert decoded.rounded == {"at"}


def test_nanoseconds_reach_to_both_ends_of_what_they_can_say() -> None:
    ends = pa.array([-(2**63) + 1, 2**63 - 1], pa.int64()).view(pa.timestamp("ns"))
    rows = decode("file a", pa.table({"at": ends})).rows
    assert rows["at"].cast(pa.int64()).to_pylist() == [
        -9_223_372_036_854_776,
        9_223_372_036_854_775,
    ]


@pytest.mark.parametrize(
    ("kinds", "widest_kind"),
    [
        ([pa.int32(), pa.int64()], pa.int64()),
        ([pa.null(), pa.string(), pa.null()], pa.string()),
        ([pa.null(), pa.null()], pa.null()),
        ([pa.date32(), MICRO], MICRO),
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.float32(), pa.float64()], pa.float64()),
        ([pa.decimal128(5, 2), pa.decimal128(10, 3)], pa.decimal128(10, 3)),
        ([pa.decimal128(38, 2), pa.decimal128(38, 10)], None),
        ([pa.int64(), pa.decimal128(5, 2)], pa.decimal128(20, 2)),
        ([pa.string(), pa.int64()], None),
        ([pa.bool_(), pa.int8()], None),
        ([pa.date32(), pa.int32()], None),
    ],
)
def test_files_that_differ_meet_in_a_type_that_holds_both(
    kinds: list[pa.DataType], widest_kind: pa.DataType | None
) -> None:
    assert widest(kinds) == widest_kind
    assert widest(kinds[::-1]) == widest_kind


def test_what_parquet_can_write_comes_back() -> None:
    for column, kind, values in STORED:
        buffer = io.BytesIO()
        try:
            pq.write_table(pa.table({"c": column}), buffer)
        except (pa.ArrowNotImplementedError, OSError):
            continue  # run ends, views in dictionaries, odd scales: from elsewhere than Parquet
        rows = decode("file a", pq.ParquetFile(buffer).read()).rows
        assert (rows["c"].type, rows["c"].to_pylist()) == (kind, values)


def test_tables_hold_every_type_that_is_stored(lake: Lake, origin: Origin) -> None:
    columns = {
        f"c{number}": pa.array([*values, None, None, None][:3], kind)
        for number, (_, kind, values) in enumerate(STORED)
        if not pa.types.is_null(kind)
    }
    rows = pa.table({**columns, "partition": ["2005"] * 3})
    lake.write("raw_types", rows, partitions=["2005"], origin=origin)
    held = lake.read("raw_types")
    assert held.select(rows.column_names).to_pydict() == rows.to_pydict()
    for name, column in columns.items():
        assert stored_as(held.schema.field(name).type) == column.type, name
