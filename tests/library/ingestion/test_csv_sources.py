"""CSV and JSON lines on a real store: which types they get, and what becomes of bad cells."""

from __future__ import annotations

import gzip
import io
import json
import uuid
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from include.calendar.partitions import Frequency, parse, snapshot
from include.errors import SourceError
from include.ingestion.cell_types import kind_of
from include.ingestion.csv_files import _Watched
from include.ingestion.landed_batch import LandedBatch, read_landed
from include.quality import data_docs, quarantine, validation
from include.specification.sections.sources import CsvDialect, Source
from include.storage.object_store import ObjectStore
from tests.stack.proxy import in_front_of

PARTITION = parse("2005-Q3", Frequency.QUARTERLY)
DIRTY = Path(__file__).parents[2] / "data" / "south_german_credit_dirty.csv"
# fmt: off
DIRTY_COLUMNS = (
    "laufkont", "laufzeit", "moral", "verw", "hoehe", "sparkont", "beszeit", "rate", "famges",
    "buerge", "wohnzeit", "verm", "alter", "weitkred", "wohn", "bishkred", "beruf", "pers",
    "telef", "gastarb", "kredit",
)
# fmt: on


class Landing:
    """One source folder of its own for one test."""

    def __init__(self, settings):
        self.settings = settings
        self.folder = f"s3://landing/{uuid.uuid4().hex}"
        self.store = ObjectStore(settings)

    def put(self, name: str, content: bytes | str) -> None:
        data = content.encode() if isinstance(content, str) else content
        if name.endswith(".gz"):
            data = gzip.compress(data)
        self.store.write(f"{self.folder}/2005-Q3/{name}", data)

    def read(self, expected: pa.Schema | None = None, **source) -> LandedBatch:
        described = Source(
            **{"uri": f"{self.folder}/{{partition}}/", "suite": "loans", "format": "csv", **source}
        )
        return read_landed(self.settings, "loans", described, PARTITION, expected)


@pytest.fixture
def landing(store_settings):
    return Landing(store_settings)


def check(table: pa.Table, *expectations):
    suite = {"name": "loans", "expectations": list(expectations), "meta": {}}
    return validation.validate(table, suite, source="loans", partition="2005-Q3")


HAS_ID = {
    "type": "expect_column_values_to_not_be_null",
    "kwargs": {"column": "id"},
    "severity": "critical",
    "meta": {},
}


def test_types_of_a_first_batch_are_found_out(landing):
    landing.put(
        "a.csv", "id,sum,day,at,ok,name,zip,rate\n1,1.5,2005-07-01,2005-07-01,True,x,01234,3.0\n"
    )
    landing.put(
        "b.csv",
        "id,sum,day,at,ok,name,zip,rate\n"
        '2,2,2005-07-02,2005-07-02T06:30:00+02:00,false,"5 ",98765,4\n'
        " 3 ,NA,,n/a,,null,,\n",
    )
    table = landing.read().table
    assert {field.name: field.type for field in table.schema} == {
        "id": pa.int64(),
        "sum": pa.float64(),
        "day": pa.date32(),
        "at": pa.timestamp("us"),
        "ok": pa.bool_(),
        "name": pa.string(),
        "zip": pa.string(),
        "rate": pa.int64(),
        "_file": pa.string(),
        "_row": pa.int64(),
        "_unparsed": pa.string(),
    }
    assert table.drop_columns(["_file"]).to_pylist()[1:] == [
        {
            "id": 2,
            "sum": 2.0,
            "day": date(2005, 7, 2),
            "at": datetime(2005, 7, 2, 4, 30),
            "ok": False,
            "name": "5",
            "zip": "98765",
            "rate": 4,
            "_row": 0,
            "_unparsed": None,
        },
        {
            **dict.fromkeys(("sum", "day", "at", "ok", "name", "zip", "rate", "_unparsed")),
            "id": 3,
            "_row": 1,
        },
    ]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "9223372036854775807"], pa.int64()),
        (["1", "9223372036854775808"], pa.string()),  # a float would change the number
        (["1.0", "-3"], pa.int64()),
        (["1.5", "-.5e-3"], pa.float64()),
        (["0", "1"], pa.int64()),
        (["0.5", "007"], pa.string()),
        (["1", "error"], pa.string()),
        (["2005-02-30"], pa.string()),
        (["inf"], pa.string()),
        (["true", "1"], pa.string()),
    ],
)
def test_a_type_must_fit_every_cell_without_loss(landing, cells, kind):
    landing.put("a.csv", "x,y\n" + "".join(f"{cell},1\n" for cell in cells))
    table = landing.read().table
    assert table.schema.field("x").type == kind
    if kind == pa.string():
        assert table["x"].to_pylist() == cells


@pytest.mark.parametrize(
    ("first", "later", "found"),
    [
        (["10001", "2"], ["01014", "-007", "0", "-0"], [None, None, 0, 0]),
        (["1.5", "2"], ["01014", "00.5", "0.5", ".5"], [None, None, 0.5, 0.5]),
        (
            ["1.5", "2"],
            ["1234567890123456789", "12345678901234567168", "9" * 400, "1e22"],
            [None, 12345678901234567168.0, None, 1e22],
        ),
    ],
)
def test_no_first_batch_makes_a_number_of_a_code(landing, first, later, found):
    def text(cells):
        return "id,v\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))

    landing.put("a.csv", text(first))
    begun = landing.read().table
    landing.put("a.csv", text(later))
    for expected, types in ((begun.schema, {}), (None, {"v": kind_of(begun["v"].type)})):
        table = landing.read(expected, types=types).table
        assert table["v"].to_pylist() == found
        assert table["_unparsed"].to_pylist() == [
            json.dumps({"v": cell}) if value is None else None
            for cell, value in zip(later, found, strict=True)
        ]


def test_dialect_encoding_and_compression(landing):
    text = "Stadt;Betrag\r\n'Köln; Süd';1,5\r\n'Bad ''X''';+2\r\nWien;1.000\r\n"
    landing.put("a.csv.gz", text.encode("latin-1"))
    dialect = {"delimiter": ";", "quote": "'", "encoding": "latin-1", "decimal": ","}
    table = landing.read(csv=dialect, types={"Betrag": "number"}).table
    assert table["Stadt"].to_pylist() == ["Köln; Süd", "Bad 'X'", "Wien"]
    assert table["Betrag"].to_pylist() == [1.5, 2.0, None]
    assert table["_unparsed"].to_pylist() == [None, None, '{"Betrag": "1.000"}']


def test_a_byte_order_mark_and_utf_16(landing):
    landing.put("a.csv", "\ufeffid,name\n1,ä\n")
    assert landing.read().table["id"].to_pylist() == [1]
    landing.put("a.csv", "id,name\n1,ä\n".encode("utf-16"))
    assert landing.read(csv={"encoding": "utf-16"}).table["name"].to_pylist() == ["ä"]


@pytest.mark.parametrize(
    ("encoding", "said", "words"),
    [
        ("utf-16", "utf-8", "must be utf-8, got the byte order mark of utf-16. Write csv: {encod"),
        ("utf-8-sig", "latin-1", "must be latin-1, got the byte order mark of utf-8"),
        ("utf-16-le", "utf-8", "must be utf-8, got NUL bytes, as files of utf-16 have"),
        ("utf-16-le", "latin-1", "must be latin-1, got NUL bytes"),
        ("utf-8", "utf-16", "must begin with the byte order mark of utf-16, got none"),
    ],
)
def test_an_encoding_that_the_file_contradicts(landing, encoding, said, words):
    landing.put("a.csv", "id,name\n1,abc\n".encode(encoding))
    with pytest.raises(SourceError) as caught:
        landing.read(csv={"encoding": said})
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (gzip.compress(b"id,name\n1,a\n", mtime=0), "gzip. Let its name end in .gz"),
        (b"PK\x03\x04" + bytes(20), "a zip archive, as spreadsheets are. Land what is in it"),
        (b"PAR1" + bytes(20), "Parquet. Let its name end in .parquet"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "zstd. Land it decompressed"),
    ],
)
def test_what_is_no_text_at_all_is_named(landing, data, found):
    # Before, the advice was to name the encoding: UTF-16, as there are NUL bytes.
    landing.put("a.csv", data)
    with pytest.raises(SourceError) as caught:
        landing.read()
    assert f"file a.csv must hold text, got {found}" in str(caught.value)


@pytest.mark.parametrize("said", ["cp1252", "latin-1", "iso8859-15", "cp1251"])
def test_utf_8_is_not_read_as_letters_of_single_bytes(landing, said):
    ascii_first = "id,name\n" + "1,Bonn\n" * 20_000
    landing.put("a.csv", f"{ascii_first}2,Köln\n")
    with pytest.raises(SourceError, match=rf"file a\.csv must be {said}, got UTF-8, whose letters"):
        landing.read(csv={"encoding": said})
    landing.put("a.csv", ascii_first)
    assert landing.read(csv={"encoding": said}).table.num_rows == 20_000


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "shift_jis", "gb18030", "ascii"])
def test_letters_of_the_encoding_that_is_said_are_read(landing, encoding):
    name = {"cp1252": "Köln", "cp1251": "Москва", "ascii": "Bonn"}.get(encoding, "東京")
    landing.put("a.csv", f"id,name\n1,{name}\n".encode(encoding))
    assert landing.read(csv={"encoding": encoding}).table["name"].to_pylist() == [name]


def test_utf_16_without_a_mark_is_read_if_it_is_said(landing):
    landing.put("a.csv", "id,name\n1,ä\n".encode("utf-16-be"))
    landing.put("b.csv", "\ufeffid,name\n1,ä\n".encode("utf-16-be"))
    table = landing.read(csv={"encoding": "utf-16-be"}).table
    assert table["name"].to_pylist() == ["ä", "ä"]


def test_marks_between_thousands(landing):
    landing.put("a.csv", 'x,n\n"1,000.50","1,000"\n"2,5",7\n"-12,345,678",x\n"0,500","1,00"\n')
    types = {"x": "number", "n": "integer"}
    table = landing.read(csv={"thousands": ","}, types=types).table
    assert table["x"].to_pylist() == [1000.5, None, -12345678.0, None]
    assert table["n"].to_pylist() == [1000, 7, None, None]
    assert landing.read(csv={"thousands": ","}).table.schema.field("x").type == pa.string()


def test_words_for_missing_of_a_single_column(landing):
    landing.put("a.csv", "n,grade\nNone,None\n1,NA\n")
    table = landing.read(null_values_by_column={"grade": ["NA"]}).table
    assert table["n"].to_pylist() == [None, 1]
    assert table["grade"].to_pylist() == ["None", None]


def test_a_long_cell_with_lines_and_one_that_is_too_long(landing, monkeypatch):
    landing.put("a.csv", f'id,note\n1,"{"w" * 140_000}\nx"\n')
    assert len(landing.read().table["note"][0].as_py()) == 140_002
    monkeypatch.setattr("include.ingestion.csv_files._BLOCK_BYTES", 1000)
    landing.put("a.csv", f"id,note\n1,a\n2,{'w' * 3000}\n")
    with pytest.raises(SourceError, match="a row must have at most 1,000 bytes, got more"):
        landing.read()


def test_a_wrong_encoding_is_named(landing):
    landing.put("a.csv", "id,name\n1,ä\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"file a\.csv must be readable as CSV, .* encoding"):
        landing.read()


def test_cells_that_do_not_fit_the_table_are_told_beside_the_row(landing):
    landing.put("a.csv", "id,amount,at,extra\n1,error,2005-07-01,x\n2,7,soon,y\n3,?,2005-07-03,z\n")
    expected = pa.schema(
        [
            ("id", pa.int64()),
            ("amount", pa.int64()),
            ("at", pa.date32()),
            ("partition", pa.string()),
        ]
    )
    batch = landing.read(expected, null_values=["?"])
    assert batch.table.column_names == ["id", "amount", "at", "_file", "_row", "_unparsed"]
    assert batch.table["amount"].to_pylist() == [None, 7, None]
    assert batch.table["_unparsed"].to_pylist() == ['{"amount": "error"}', '{"at": "soon"}', None]
    assert "column extra (string) is not in the table" in batch.warnings[0]


def test_declared_types_win_over_what_the_cells_look_like(landing):
    landing.put(
        "a.csv", "code,flag,n,day\n17,1,3.0,2005-07-01 00:00:00\n18,no,3.5,2005-07-01 06:00\n"
    )
    types = {"code": "string", "flag": "boolean", "n": "integer", "day": "date"}
    table = landing.read(types=types).table
    assert table["code"].to_pylist() == ["17", "18"]
    assert table["flag"].to_pylist() == [True, None]
    assert table["n"].to_pylist() == [3, None]
    assert table["day"].to_pylist() == [date(2005, 7, 1), None]
    assert json.loads(table["_unparsed"][1].as_py()) == {
        "flag": "no",
        "n": "3.5",
        "day": "2005-07-01 06:00",
    }


def test_a_type_of_a_column_that_is_not_there(landing):
    landing.put("a.csv", "id,amount\n1,2\n")
    with pytest.raises(
        SourceError, match=r"called amuont \(perhaps now 'amount'\) among id, amount\. Land it"
    ):
        landing.read(types={"amuont": "number"})


def test_a_column_without_any_cell_needs_a_type(landing):
    landing.put("a.csv", "id,note\n1,\n")
    with pytest.raises(SourceError, match=r"column note must have a type .* under types"):
        landing.read()
    assert landing.read(types={"note": "string"}).table["note"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "a,b\n1,2\n\n3\n4,5\n",
            "every line must have 2 cells as the first one has, got 1 in line 4",
        ),
        ('a,b\n1,"x\ny"\n1,2,3\n', "got 3 in line 4"),
        ('a,b\n1,"x\n2,y\n3,z\n', "at the end of its cell, got unexpected end of data in the"),
        ('a,b\n0,0\n1,"x\n2,"y"\n', "in the row that begins in line 3"),
        ('a,b\n0,0\n1,"Smith" Jr\n', "in the row that begins in line 3"),
        ('a,b\n0,0\n1,"cut o', "got unexpected end of data in the row that begins in line 3"),
        ('a,b\n0,0\n1,""Smith""\n', "in the row that begins in line 3"),
        ('a,b\n0,0\n"1,"2,x\n', "in the row that begins in line 3"),
        ("a,b\n" + '0,"0"\n' * 200_000 + '1,"Sm"ith\n', "row that begins in line 200002"),
        ("a,b\n" + "0,0\n" * 200_000 + "1,\0\0\n", "got a NUL character in line 200002"),
        ("a,\n1,2\n", "must name every column, got none for column 2"),
        ("a,a\n1,2\n", "must hold each column once, got 'a' more than once"),
        ("a,_row\n1,2\n", "got '_row'. Rename"),
        ("sep=,\na,b\n1,2\n", "got 'sep=', by which Excel is told the delimiter. Remove that line"),
        ("\ufeffsep=;\r\na;b\r\n1;2\r\n", "got 'sep=;', by which Excel is told the delimiter."),
    ],
)
def test_a_malformed_file_loses_no_row_silently(landing, text, words):
    landing.put("sub/a.csv", text)
    with pytest.raises(SourceError, match=r"source loans 2005-Q3: file sub/a\.csv") as caught:
        landing.read()
    assert words in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_header_alone_is_a_file_without_rows_whether_its_line_ends_or_not(landing, encoding):
    expected = pa.schema([("größe", pa.int64()), ("b", pa.string())])
    dialect = {"encoding": encoding.removesuffix("-sig")}
    for text in ("größe,b", "größe,b\n"):
        landing.put("a.csv", text.encode(encoding))
        table = landing.read(expected, csv=dialect, allow_empty=True).table
        assert (table.num_rows, table.column_names[:2]) == (0, ["größe", "b"])
    landing.put("a.csv", "größe,c".encode(encoding))
    landing.put("b.csv", "größe,b\n1,x\n".encode(encoding))
    with pytest.raises(SourceError, match="all files must have the same columns"):
        landing.read(expected, csv=dialect)


def test_a_cell_may_hold_lines_and_quotes(landing):
    landing.put("a.csv", 'id,note\n1,"two\nlines, ""quoted"""\n2,5" pipe\n')
    assert landing.read().table["note"].to_pylist() == ['two\nlines, "quoted"', '5" pipe']


QUOTED = 'id,note\n1,"a, ""b"",c"\n"2" ,"""d"\n3,""\n'


@pytest.mark.parametrize("size", [*range(24, len(QUOTED)), 8 * 1024 * 1024])
def test_quotes_are_followed_over_pieces_of_a_file(landing, monkeypatch, size):
    monkeypatch.setattr("include.ingestion.csv_files._BLOCK_BYTES", size)
    landing.put("a.csv", QUOTED)
    notes = landing.read().table["note"].to_pylist()
    assert notes == ['a, "b",c', '"d', None]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_pieces_may_cut_quotes_and_characters(size, encoding):
    for text, is_suspicious in ((QUOTED, False), (QUOTED.replace('c"', 'c" ü'), True)):
        watched = _Watched(io.BytesIO(text.encode(encoding)), "a", CsvDialect(encoding=encoding))
        while watched.read(size):
            pass
        assert watched.is_suspicious is is_suspicious


def test_a_file_of_quotes_is_not_suspicious_wherever_its_pieces_end():
    for length in range(80, 200):
        watched = _Watched(io.BytesIO(b'"a","b"\n' * 40), "a", CsvDialect())
        while watched.read(length):
            pass
        assert not watched.is_suspicious, length


@pytest.mark.parametrize(
    ("name", "row", "source"),
    [
        ("a.csv", '"{}","b, c"\n', {}),
        ("a.csv", '{},5" pipe\n', {"csv": {"encoding": "cp1252"}}),  # read strictly as well
        ("a.csv.gz", '"{}","b, c"\n', {}),
        ("a.jsonl", '{{"id": {}}}\n', {"format": "json_lines"}),
    ],
    ids=["csv", "strict", "gzip", "json lines"],
)
def test_the_store_is_asked_for_large_pieces(landing, name, row, source):
    landing.put(
        name, ("id,b\n" if "csv" in name else "") + "".join(map(row.format, range(200_000)))
    )
    asked = []

    def count(request):
        asked.append(request.path)

    with in_front_of(landing.settings.endpoint_url, intercept=count) as address:
        landing.settings = landing.settings.model_copy(update={"endpoint_url": address})
        assert landing.read(**source).table.num_rows == 200_000
    assert sum(f"/{name}" in path for path in asked) <= 40, "2 MB in pieces of 8 kB are 250"


def test_blanks_after_a_quoted_cell_are_left_out(landing):
    landing.put("a.csv", 'id,note\n"1" ,"a, b" \n"2",""\n')
    batch = landing.read()
    assert batch.table["id"].to_pylist() == [1, 2]
    assert batch.table["note"].to_pylist() == ["a, b", None]


@pytest.mark.parametrize("types", [{}, {"at": "timestamp"}])
def test_what_is_finer_than_a_microsecond_is_cut_off_and_told(landing, types):
    landing.put("a.csv", "id,at\n1,2005-07-01T00:00:00.123456789\n2,2005-07-01 00:00:00.5\n")
    batch = landing.read(types=types)
    assert batch.table["at"].to_pylist()[0] == datetime(2005, 7, 1, 0, 0, 0, 123456)
    (warning,) = batch.warnings
    assert "file a.csv: at: times are kept to the microsecond" in warning


def test_no_whole_number_is_rounded(landing):
    """Beside a fraction they are text; in a column that is called a number they are told."""
    cells = ["12345678901234567", "1e16", "0.5", "1234567890123456"]
    landing.put("a.csv", "id,x\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert landing.read().table["x"].to_pylist() == cells
    batch = landing.read(types={"x": "number"})
    assert batch.table["x"].to_pylist() == [None, 1e16, 0.5, 1234567890123456.0]
    assert batch.table["_unparsed"].to_pylist() == ['{"x": "12345678901234567"}', None, None, None]


def test_a_file_that_is_cut_off_is_named(landing):
    whole = gzip.compress(b"id,name\n" + b"1,abcdefgh\n" * 1000)
    landing.store.write(f"{landing.folder}/2005-Q3/a.csv.gz", whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"file a\.csv\.gz must be readable as CSV"):
        landing.read()


def test_files_of_another_format(landing):
    landing.put("a.jsonl", '{"id": 1}\n')
    with pytest.raises(SourceError, match=r"must be CSV and end in \.csv.*got a\.jsonl\."):
        landing.read()


def test_blocks_of_a_large_file_join(landing, monkeypatch):
    monkeypatch.setattr("include.ingestion.csv_files._BLOCK_BYTES", 64)
    rows = 100
    landing.put("a.csv", "id,v\n" + "".join(f"{i},{'x' if i == 77 else i}\n" for i in range(rows)))
    table = landing.read(types={"v": "integer"}).table
    assert table["_row"].to_pylist() == list(range(rows)) == table["id"].to_pylist()
    assert [i for i, text in enumerate(table["_unparsed"].to_pylist()) if text] == [77]


class TestJsonLines:
    def read(self, landing, expected=None, **source):
        return landing.read(expected, format="json_lines", **source).table

    def test_compressed_objects_with_missing_keys(self, landing):
        landing.put(
            "a.jsonl.gz",
            '{"id": "01", "n": 1, "x": 1.5, "at": "2005-07-01T06:30:00Z", "ok": true}\n'
            "\n"
            '{"id": "2", "n": 12345678901234567, "late": "ü", "x": NaN, "ok": null}\n',
        )
        table = self.read(landing)
        assert table["id"].to_pylist() == ["01", "2"]  # text, because it was written as text
        assert table["n"].to_pylist() == [1, 12345678901234567]
        assert table["x"].to_pylist() == [1.5, None]
        assert table["at"].to_pylist() == [datetime(2005, 7, 1, 6, 30), None]
        assert table["ok"].to_pylist() == [True, None]
        assert table["late"].to_pylist() == [None, "ü"]
        assert table["_row"].to_pylist() == [0, 1]
        assert table["_unparsed"].to_pylist() == [None, None]

    def test_only_a_line_feed_ends_a_line(self, landing):
        landing.put("a.jsonl", '{"c": "a\u2028b\x85c"}\r\n{"c": "d"}')
        assert self.read(landing)["c"].to_pylist() == ["a\u2028b\x85c", "d"]

    def test_an_infinity_is_told_and_not_taken_for_missing(self, landing):
        landing.put("a.jsonl", '{"x": Infinity}\n{"x": -Infinity}\n{"x": NaN}\n{"x": 1.5}\n')
        table = self.read(landing, types={"x": "number"})
        assert table["x"].to_pylist() == [None, None, None, 1.5]
        unparsed = ['{"x": "Infinity"}', '{"x": "-Infinity"}', None, None]
        assert table["_unparsed"].to_pylist() == unparsed

    def test_utf_16_by_its_mark(self, landing):
        landing.put("a.jsonl", '{"c": "ä"}\n'.encode("utf-16"))
        assert self.read(landing)["c"].to_pylist() == ["ä"]

    def test_words_for_missing_count_only_where_the_file_names_them(self, landing):
        landing.put("a.jsonl", '{"c": "None", "n": "n/a"}\n{"c": "x", "n": 1}\n')
        types = {"c": "string", "n": "number"}
        assert self.read(landing, types=types)["c"].to_pylist() == ["None", "x"]
        table = self.read(landing, types=types, null_values=["n/a"])
        assert table["n"].to_pylist() == [None, 1]
        assert table["_unparsed"].null_count == 2

    def test_a_key_that_no_line_has_is_null_and_told(self, landing):
        landing.put("a.jsonl", '{"c": "x"}\n')
        batch = landing.read(format="json_lines", types={"promo": "string", "c": "string"})
        assert batch.table["promo"].to_pylist() == [None]
        assert "no line has a key promo, which types names" in batch.warnings[0]

    def test_values_that_do_not_fit(self, landing):
        landing.put("a.json", '{"n": "many", "s": 1.50}\n{"n": 2, "s": true}\n')
        table = self.read(landing, pa.schema([("n", pa.int64()), ("s", pa.string())]))
        assert table["n"].to_pylist() == [None, 2]
        assert table["s"].to_pylist() == ["1.50", "true"]
        assert table["_unparsed"].to_pylist() == ['{"n": "many"}', None]

    def test_chunks_with_different_keys_join(self, landing, monkeypatch):
        monkeypatch.setattr("include.ingestion.json_lines_files._JSON_LINES", 2)
        landing.put("a.ndjson", "".join(f'{{"id": {i}, "k{i // 2}": {i}}}\n' for i in range(5)))
        table = self.read(landing)
        assert table["id"].to_pylist() == [0, 1, 2, 3, 4] == table["_row"].to_pylist()
        assert table["k0"].to_pylist() == [0, 1, None, None, None]
        assert table["k2"].to_pylist() == [None] * 4 + [4]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"a": 1}\n{"a": }\n', "line 2 must be one JSON object, got '{\"a\": }'"),
            ('[{"a": 1}]\n', "line 1 must be one JSON object"),
            ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2 must have each key once, got 'a' more"),
            ('{"a": {"b": 1}}\n', "column a must be a number, string, boolean, date or timestamp"),
            ('{"a": [1]}\n', "got a nested value in line 1. Flatten"),
            ('{"_file": 1}\n', "got '_file'. Rename"),
            ("{}\n{}\n", "objects must have keys, got 2 without any"),
            ('{"a": "\\ud83d\\ude00"}\n\n{"a": "\\ud83d"}\n', "line 3 must hold whole characters"),
            ('{"\\udc00": 1}\n', "got half of one, '\\udc00', as of a text that was cut. Write"),
        ],
    )
    def test_what_is_refused(self, landing, text, words):
        landing.put("a.jsonl", text)
        with pytest.raises(SourceError, match=r"file a\.jsonl") as caught:
            self.read(landing)
        assert words in str(caught.value)


class TestUnparsedRows:
    @pytest.fixture
    def table(self, landing):
        landing.put("a.csv", "id,n,at\n1,error,2005-07-01\n2,5,2005-07-01\n,x,soon\n4,error,\n")
        return landing.read(types={"id": "integer", "n": "integer", "at": "date"}).table

    def test_they_go_to_quarantine_with_a_reason_per_cell(self, table):
        report = check(table, HAS_ID)
        assert report.reasons == {
            0: ("n: must be an integer, got 'error'",),
            2: (
                "at: must be a date, got 'soon'",
                "id: expect_column_values_to_not_be_null",
                "n: must be an integer, got 'x'",
            ),
            3: ("n: must be an integer, got 'error'",),
        }
        assert report.quarantined_share == 0.75
        kept, quarantined = quarantine.split(table, report)
        assert kept["id"].to_pylist() == [2]
        assert quarantined["_row"].to_pylist() == [0, 2, 3]
        assert json.loads(quarantined["row"][1].as_py()) == {"id": None, "n": "x", "at": "soon"}

    def test_the_summary_and_the_page_count_them(self, table, tmp_path):
        report = check(table, HAS_ID)
        parse_n = next(failure for failure in report.failures if failure.column == "n")
        assert (parse_n.expectation, parse_n.severity, parse_n.level) == (
            "parse",
            "critical",
            "row",
        )
        assert (parse_n.unexpected, parse_n.examples) == (3, ("'error'", "'x'"))
        assert (parse_n.files, parse_n.stops) == (("a.csv",), False)
        assert {"parse"} <= {item["expectation"] for item in report.summary()["failures"]}
        page = data_docs.build_data_docs(report, tmp_path).read_text()
        assert "&#39;error&#39;" in page or "'error'" in page

    def test_limits_count_them(self, table):
        report = check(table, HAS_ID)
        with pytest.raises(validation.QualityError, match=r"got 3 \(75\.00%\).*n: parse\(type=int"):
            quarantine.enforce(report, on_failure="quarantine", max_quarantined=0.5)
        with pytest.raises(validation.QualityError, match="3 that stop it"):
            quarantine.enforce(report, on_failure="fail", max_quarantined=1.0)

    def test_a_frame_is_checked_alike(self, table):
        assert check(table.to_pandas(), HAS_ID).quarantined == 3


def test_every_row_of_a_really_dirty_file_is_accounted_for(store_settings):
    folder = f"s3://landing/{uuid.uuid4().hex}"
    ObjectStore(store_settings).write(f"{folder}/snapshot-0001/credit.csv", DIRTY.read_bytes())
    source = Source(
        uri=f"{folder}/{{partition}}/",
        suite="credit",
        format="csv",
        null_values=["?", "N/A", "NULL", "NaN"],
        types={**dict.fromkeys(DIRTY_COLUMNS, "integer"), "mixed_type_col": "string"},
    )
    landed = read_landed(store_settings, "credit", source, snapshot(1), row_id=True).table

    assert landed.num_rows == 1020
    assert landed["_row"].to_pylist() == list(range(1020))
    assert landed["row_id"][7].as_py() == "snapshot-0001/credit.csv#7"
    words = [
        word
        for text in landed["_unparsed"].drop_null().to_pylist()
        for word in json.loads(text).values()
    ]
    # Counted in the file by a plain Python script: cells that are neither numbers nor missing.
    assert sorted(map(str.lower, words)) == ["error"] * 16 + ["invalid"] * 27
    missing = sum(landed[name].null_count for name in DIRTY_COLUMNS) - len(words)
    assert missing == 208 + 22 + 23 + 19 + 6  # blank, ?, N/A, NULL, NaN

    report = check(landed)
    kept, quarantined = quarantine.split(landed, report)
    assert kept.num_rows + quarantined.num_rows == 1020
    assert quarantined.num_rows == 1020 - landed["_unparsed"].null_count == 43
    assert all("must be an integer, got '" in why for why in quarantined["reasons"].to_pylist())
    first = json.loads(quarantined["row"][0].as_py())
    assert first["pers"] == "error"
    assert list(first) == [*DIRTY_COLUMNS, "mixed_type_col", "row_id"]
