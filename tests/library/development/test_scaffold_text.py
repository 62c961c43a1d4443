"""How `new` reads text: with the code of ingestion, so both decide the same about every cell."""

from __future__ import annotations

import importlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import include.pipelines
from include.calendar.partitions import Frequency, parse
from include.development.checking import check
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Proposal, Wish, propose
from include.development.scaffold.sampling import read_file
from include.development.scaffold.text_columns import TextColumns, choose
from include.errors import SourceError
from include.ingestion.landed_batch import read_landed
from include.ingestion.landing import land
from include.ingestion.text_files import joined, read_pieces, typed, without_missing
from include.ingestion.text_pieces import TextPiece
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.specification.sections.sources import NULL_VALUES, CsvDialect, Source
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

ROWS = 400
ENTITY = {"time": "at", "entity": "id", "partition": Frequency.MONTHLY}


def chosen(
    cells: list[str | None], dialect: CsvDialect | None = None, missing: tuple[str, ...] = ()
) -> TextColumns:
    piece = TextPiece(pa.table({"c": pa.array(cells, pa.string())}))
    return choose(piece, dialect or CsvDialect(), NULL_VALUES, missing)


class TestTypes:
    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (["007", "123"], "string"),
            (["1", "2.0"], "integer"),
            (["1", "2.5"], "number"),
            (["100000000000000001", "1"], "integer"),
            (["9223372036854775807", "1"], "integer"),
            (["9223372036854775808", *["1"] * 99], "string"),  # a key that no integer holds
            (["2020-01-31", "2020-02-29"], "date"),
            (["2020-01-31 06:00", *["2020-02-29"] * 99], "timestamp"),
            (["true", "False"], "boolean"),
            (["true", "False", *["maybe"]], "string"),
            (["a", "b"], "string"),
            ([None, None], "string"),
            (["1,5", "2,25"], "number"),
            (["1,000.50", "2"], "number"),
            (["1.000,50", "2"], "number"),
            (["1 000,5", "2\u202f000"], "number"),
            (["$5", "$6.50"], "string"),
        ],
    )
    def test_a_column(self, cells: list[str | None], expected: str) -> None:
        assert chosen(cells).types == {"c": expected}

    def test_a_tenth_of_the_cells_may_be_wrong(self) -> None:
        found = chosen([*["1.5"] * 95, "?", "ERROR", None, "N/A", "many"])
        assert found.types == {"c": "number"}
        assert found.null_values == (*NULL_VALUES, "?", "error")
        assert found.unparsed.to_pylist() == [False] * 99 + [True]
        assert found.table["c"].null_count == 5

    @pytest.mark.parametrize(
        ("cells", "marks", "value"),
        [
            (["1,000.50", "999.5"], (".", ","), 1000.5),
            (["1.000,50", "999,5"], (",", "."), 1000.5),
            (["1'000.5", "9"], (".", "'"), 1000.5),
            (["1,5", "2"], (",", None), 1.5),
            (["1.5", "2"], (".", None), 1.5),
        ],
    )
    def test_the_marks_of_numbers(
        self, cells: list[str | None], marks: tuple[str, str | None], value: float
    ) -> None:
        found = chosen(cells)
        assert (found.dialect.decimal, found.dialect.thousands) == marks
        assert found.table["c"][0].as_py() == value
        assert bool(found.notes) == (marks[1] is not None)

    @pytest.mark.parametrize(("delimiter", "value"), [(",", 1234), (";", 1.234)])
    def test_a_comma_that_may_be_either(self, delimiter: str, value: float) -> None:
        found = chosen(["1,234", "5,678"], CsvDialect(delimiter=delimiter))
        assert found.table["c"][0].as_py() == value
        assert "numbers" in found.notes[0]

    @pytest.mark.parametrize("cell", ["31.01.2023", "1/31/23", "2023/1/31", "31-01-2023 06:00"])
    def test_dates_that_stay_text_are_told(self, cell: str) -> None:
        assert chosen([cell] * 20).notes == (
            f"c: such as {cell!r} it reads like a date, and is kept as text. Write dates like "
            "2005-07-14 to use it as a time.",
        )

    @pytest.mark.parametrize("cell", ["2023-01-31", "1.2.3.4", "12/34", "a 31.01.2023", None])
    def test_other_cells_are_no_such_dates(self, cell: str | None) -> None:
        assert chosen([cell] * 20).notes == ()

    def test_amounts_that_stay_text_are_told(self) -> None:
        assert chosen(["$1,000.50", "$7"]).notes == (
            "c: such as '$1,000.50' it reads like a number with marks or a unit, and is kept as "
            "text. Land plain numbers to use it as one.",
        )


class TestWordsForMissing:
    def test_a_frequent_word_among_texts_is_a_value_and_told(self) -> None:
        found = chosen(["None"] * 30 + ["Mild"] * 60 + ["Severe"] * 10)
        assert found.null_values_by_column == {"c": ("NA", "N/A", "NULL", "NaN")}
        assert found.table["c"].null_count == 0
        assert found.notes == (
            "c: 'none' in 30 of 100 rows is taken for a value. If it means missing, begin again "
            "with --missing 'none'.",
        )

    def test_a_person_says_that_it_means_missing(self) -> None:
        found = chosen(["None"] * 30 + ["Mild"] * 60 + ["Severe"] * 10, missing=("none",))
        assert found.null_values_by_column == {}
        assert found.table["c"].null_count == 30
        assert found.notes == ("'none' means missing in c (30); see null_values.",)

    def test_a_rare_word_is_missing_and_told(self) -> None:
        found = chosen(["NA"] + ["Mild"] * 300 + ["Severe"] * 200)
        assert found.table["c"].null_count == 1
        assert found.notes == ("'na' means missing in c (1); see null_values.",)

    def test_one_of_many_values_is_as_frequent_as_they_are(self) -> None:
        cells = [f"c{n % 150}" for n in range(450)] + ["NA"] * 3  # Namibia
        assert chosen(cells).table["c"].null_count == 0

    def test_infinity_is_no_number_of_a_table(self) -> None:
        found = chosen(["1.5", "2.5", "inf", "-inf", "Infinity", "NaN"])
        assert found.types == {"c": "number"}
        assert found.table["c"].to_pylist() == [1.5, 2.5, None, None, None, None]
        assert found.null_values == (*NULL_VALUES, "-inf", "inf", "infinity")
        assert len(found.notes) == 4

    def test_a_word_for_missing_in_numbers_may_be_a_value_of_another_column(self) -> None:
        piece = TextPiece(
            pa.table({"n": ["None", "1", "2", "3"], "c": ["None", "Mild", "None", "Severe"]})
        )
        found = choose(piece, CsvDialect(), NULL_VALUES)
        assert found.table["n"].to_pylist() == [None, 1, 2, 3]
        assert found.table["c"].to_pylist() == ["None", "Mild", "None", "Severe"]


# Cells that somebody has read in two ways before.
# fmt: off
NASTY = [
    "1", "-1", "+1", "1.0", "1.", ".5", "1e3", "1E-3", "1e999", "0x10", "1_000", "007", "-007",
    "100000000000000001", "9223372036854775807", "9223372036854775808", "12345678901234567890123",
    "1,000", "1,000.50", "1.000,50", "1,00", "1 000", "1\u00a0000", "0,500", "inf", "-inf", "NaN",
    "Infinity", "None", "none", "NULL", "NA", "n/a", "?", "-", "", " ", " 7 ", "true", "FALSE",
    "yes", "2020-02-29", "2021-02-29", "2020-02-29T06:30", "2020-02-29 06:30:00+02:00", "20200229",
    "31.12.2020", "9999-12-31", "0001-01-01", "a\u2028b", "a\x85b", "\u00e4", "x\ny", 'say "no"',
]
# fmt: on


@pytest.mark.parametrize("kind", ["integer", "number", "date", "timestamp", "boolean", "string"])
@pytest.mark.parametrize("thousands", [None, ","])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_new_and_ingestion_read_every_cell_alike(
    tmp_path: Path, kind: str, thousands: str | None, ending: str
) -> None:
    usual = {
        "integer": "5",
        "number": "2.5",
        "date": "2020-01-01",
        "timestamp": "2020-01-01 05:00",
        "boolean": "true",
        "string": "word",
    }[kind]
    cells = [*NASTY, *[usual] * 10 * len(NASTY), *["9,999"] * (len(NASTY) if thousands else 0)]
    path = tmp_path / f"a.{ending}"
    if ending == "csv":
        quoted = ('"' + cell.replace('"', '""') + '"' for cell in cells)
        path.write_text("c,y\n" + "".join(f"{cell},{n}\n" for n, cell in enumerate(quoted)))
    else:
        path.write_text(
            "".join(
                json.dumps({"c": float(cell) if cell == "2.5" else cell, "y": n}) + "\n"
                for n, cell in enumerate(cells)
            )
        )
    sample = read_file(path)
    text = sample.text
    assert text is not None
    form = {"csv": "csv", "jsonl": "json_lines"}[ending]
    source = Source(
        uri="s3://landing/a/{partition}/",
        suite="s",
        format=form,
        types=text.types,
        **({"csv": text.dialect} if ending == "csv" else {}),
        null_values=text.null_values,
        null_values_by_column=text.null_values_by_column,
    )
    piece = joined(read_pieces(partial(pa.BufferReader, path.read_bytes()), "a", form, source.csv))
    read = typed(without_missing(piece, source.missing_words).cells, source.types, source.csv)
    assert read.rows.num_rows == len(cells)
    assert read.rows.equals(sample.table)
    assert read.unparsed.is_valid().equals(text.unparsed)


class Project:
    """A project of its own, from whose `new` to ingestion a test goes."""

    def __init__(self, root: Path, settings: StoreSettings) -> None:
        self.root = root
        self.settings = settings
        self.name = f"text_{uuid.uuid4().hex[:12]}"

    def new(self, path: Path, **wish: Any) -> tuple[Proposal, Pipeline]:
        """Propose, write, check and load."""
        place = Place(uri=writing.default_uri(self.name))
        proposal = propose(Wish(self.name, **{"target": "y", **wish}), place, read_file(path))
        writing.write(writing.render(proposal), self.root)
        importlib.invalidate_caches()
        folder = self.root / "include" / "pipelines"
        found = check(
            self.name,
            pipelines=folder,
            expectations=self.root / "expectations",
            dags=self.root / "dags",
        )
        assert [str(item) for item in found if item.level == "error"] == []
        return proposal, pipeline_file.load(self.name, folder)

    def ingest(self, path: Path, pipeline: Pipeline) -> pa.Table:
        """Land the file, then read every partition, the later ones as the first one was."""
        landed = land(ObjectStore(self.settings), pipeline, path)
        expected, parts = None, []
        for partition in landed.rows:
            batch = read_landed(
                self.settings,
                "records",
                pipeline.sources["records"],
                parse(partition, pipeline.partition),
                expected,
            )
            expected = batch.table.schema
            parts.append(batch.table)
        return pa.concat_tables(parts)


@pytest.fixture
def project(
    tmp_path: Path, store_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    folder = tmp_path / "include" / "pipelines"
    monkeypatch.setattr(include.pipelines, "__path__", [*include.pipelines.__path__, str(folder)])
    made = Project(tmp_path, store_settings)
    yield made
    sys.modules.pop(f"include.pipelines.{made.name}", None)


def rows(column: str, cell: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Make four months of rows with one odd column; the target follows x, but not quite."""
    return [
        {
            "id": n + 1,
            "at": f"2025-{n // 100 + 1:02d}-01 {n % 24:02d}:00:00",
            "x": (37 * n) % 101 / 10,
            "y": int((37 * n) % 101 > 50) ^ (n % 5 == 0),
            column: cell(n),
        }
        for n in range(ROWS)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]], encoding: str = "utf-8") -> Path:
    lines = [",".join(rows[0]), *(",".join(f'"{v}"' for v in row.values()) for row in rows)]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
    return path


def write_json(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")
    return path


CASES: dict[str, tuple[str, Callable[[int], Any], pa.DataType]] = {
    "zip without a leading zero in the first month": (
        "csv",
        lambda n: str(10000 + n % 37) if n < 100 else f"{1000 + n % 37:05d}",
        pa.string(),
    ),
    "text that comes later": (
        "csv",
        lambda n: "" if n < 100 else ("spring", "summer")[n % 2],
        pa.string(),
    ),
    "null in JSON that comes later": (
        "jsonl",
        lambda n: None if n < 100 else ("spring", "summer")[n % 2],
        pa.string(),
    ),
    "fractions that come later": (
        "csv",
        lambda n: n if n < 100 else n / 2 + 0.25,
        pa.float64(),
    ),
    "amounts": ("csv", lambda n: f"{1000 + 7 * n:,}.50", pa.float64()),
    "infinities": ("csv", lambda n: "inf" if n % 10 == 0 else n / 7, pa.float64()),
    "numbers and words in JSON": (
        "jsonl",
        lambda n: "n/a" if n % 2 else float(n % 7),
        pa.float64(),
    ),
    "a class None": ("csv", lambda n: ("None", "Mild", "Severe")[n % 3], pa.string()),
    "odd line ends": (
        "jsonl",
        lambda n: "red\u2028rouge\x85\x1c" if n == 4 else "red",
        pa.string(),
    ),
    "odd line ends in cells": (
        "csv",
        lambda n: "red\u2028rouge\x85\x1cx\ry\nz" if n % 4 else "red",
        pa.string(),
    ),
    "a long cell": ("csv", lambda n: "w" * 140_000 if n == 3 else "w\nx", pa.string()),
}


@pytest.mark.parametrize("case", CASES)
def test_what_new_saw_is_what_is_ingested(project: Project, tmp_path: Path, case: str) -> None:
    ending, cell, kind = CASES[case]
    write = write_csv if ending == "csv" else write_json
    path = write(tmp_path / f"data.{ending}", rows("odd", cell))
    proposal, pipeline = project.new(path, **ENTITY)
    assert set(pipeline.sources["records"].types) == {"id", "at", "x", "y", "odd"}
    ingested = project.ingest(path, pipeline)
    assert ingested["_unparsed"].null_count == ROWS
    assert ingested.schema.field("odd").type == kind
    for name in proposal.sample.table.column_names:
        seen = proposal.sample.table[name]
        assert ingested[name].to_pylist() == seen.cast(ingested[name].type).to_pylist()


def test_a_class_that_is_spelt_like_missing(project: Project, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", rows("grade", lambda n: ("None", "Mild", "Bad")[n % 3]))
    proposal, pipeline = project.new(path, target="grade", **ENTITY)
    assert pipeline.task == "multiclass"
    assert sorted(proposal.target.classes) == ["Bad", "Mild", "None"]
    ingested = project.ingest(path, pipeline)
    assert ingested["grade"].null_count == 0
    assert ingested["grade"].to_pylist().count("None") == 134


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(
    project: Project, tmp_path: Path, encoding: str
) -> None:
    path = write_csv(tmp_path / "a.csv", rows("town", lambda n: ("Köln", "東京")[n % 2]), encoding)
    _, pipeline = project.new(path, **ENTITY)
    expected = encoding.removesuffix("-sig")
    assert pipeline.sources["records"].csv.encoding == expected
    assert set(project.ingest(path, pipeline)["town"].to_pylist()) == {"Köln", "東京"}


def test_utf_16_without_a_mark_is_named(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", rows("town", lambda n: "Bonn"), "utf-16-le")
    with pytest.raises(SourceError, match=r"file a\.csv must be utf-8, got NUL bytes.*encoding"):
        read_file(path)


def proposed(path: Path, **wish: Any) -> Proposal:
    return propose(Wish("p", **{"target": "y", **wish}), Place(uri="s3://a/b/"), read_file(path))


@pytest.mark.parametrize("entity", ["account", None])
def test_identifiers_of_18_digits_are_keys(tmp_path: Path, entity: str | None) -> None:
    path = write_csv(tmp_path / "a.csv", rows("account", lambda n: 100000000000000001 + n))
    text = path.read_text().replace("id,", "x2,", 1)
    path.write_text(text)
    proposal = proposed(path, entity=entity or "account")
    assert proposal.entity == "account"
    assert proposal.types["account"] == "integer"
    assert proposal.frame["account"].tolist() == [100000000000000001 + n for n in range(ROWS)]


def test_long_identifiers_that_come_back_are_no_measurement(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", rows("account", lambda n: 2**53 + 1 + n % 50))
    proposal = proposed(path)
    assert proposal.types["account"] == "integer"
    assert {item.name: item.reason for item in proposal.left_out} == {
        "account": "an identifier: whole numbers of more than 15 digits",
        "at": "a time: if the row came then, --time at; else turn it into a duration if it is "
        "known when the row comes",
    }


def test_amounts_are_no_keys(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", rows("amount", lambda n: f"${1000 + 7 * n:,}.50"))
    path.write_text(path.read_text().replace('"1"', '"2"'))  # id is no key either
    assert proposed(path, entity=None).entity == "row_id"


def test_times_are_read_as_ingestion_reads_them(tmp_path: Path) -> None:
    table = read_file(write_csv(tmp_path / "a.csv", rows("day", lambda n: "2025-01-31"))).table
    assert table["day"][0].as_py() == date(2025, 1, 31)
    assert table["at"][1].as_py() == datetime(2025, 1, 1, 1)
