"""What `new` proposes, `land` lands and Relevo reads back are the same rows in the same types."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.calendar.partitions import parse
from include.development.scaffold import writing
from include.development.scaffold.proposal import Place, Wish, propose
from include.development.scaffold.sampling import Sample, read_file, read_objects
from include.errors import SourceError
from include.ingestion.landed_batch import read_landed
from include.ingestion.landing import land
from include.specification import pipeline_file
from include.specification.consistency import problems
from include.specification.pipeline import Pipeline
from include.steps.landed_probe import probe
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

ROWS = 2_000


def visits() -> pd.DataFrame:
    generator = np.random.default_rng(5)
    at = pd.date_range("2021-01-01", "2021-06-30 20:00", periods=ROWS).floor("s")
    return pd.DataFrame(
        {
            "id": np.arange(ROWS) + 1,
            "at": at,
            "spent": generator.lognormal(size=ROWS).round(2),
            "town": generator.choice(["Köln", "Bonn"], ROWS),
            "back": generator.integers(0, 2, ROWS),
        }
    )


def save(frame: pd.DataFrame, path: Path) -> None:
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path)
        case ".csv":
            frame.to_csv(path, sep=";", decimal=",", encoding="latin-1", index=False)
        case ".jsonl":
            frame.astype({"at": str}).to_json(path, orient="records", lines=True)


def write(name: str, place: Place, sample: Sample, root: Path, **wish: Any) -> Pipeline:
    """Propose, write and load a pipeline."""
    proposal = propose(Wish(name, **{"target": "back", "time": "at", **wish}), place, sample)
    writing.write(writing.render(proposal), root)
    return pipeline_file.load(name, root / "include" / "pipelines")


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".jsonl"])
def test_a_local_file_comes_back(
    store_settings: StoreSettings, tmp_path: Path, ending: str
) -> None:
    path, name = tmp_path / f"visits{ending}", f"p{uuid.uuid4().hex[:12]}"
    save(visits(), path)
    pipeline = write(name, Place(uri=writing.default_uri(name)), read_file(path), tmp_path)
    assert (pipeline.entity, pipeline.partition) == ("id", "monthly")
    landed = land(ObjectStore(store_settings), pipeline, path)
    source = pipeline.sources["records"]
    expected, parts = None, []
    for partition in landed.rows:
        batch = read_landed(
            store_settings, "records", source, parse(partition, pipeline.partition), expected
        )
        expected = batch.table.schema
        parts.append(batch.table)
    rows = pa.concat_tables(parts)
    types = {field.name: field.type for field in rows.schema if not field.name.startswith("_")}
    assert types == {
        "id": pa.int64(),
        "at": pa.timestamp("us"),
        "spent": pa.float64(),
        "town": pa.string(),
        "back": pa.int64(),
    }
    assert rows["id"].to_pylist() == list(range(1, ROWS + 1))
    assert pc.sum(rows["spent"]).as_py() == pytest.approx(visits()["spent"].sum())
    assert set(rows["town"].to_pylist()) == {"Köln", "Bonn"}
    assert pd.Series(rows["at"].to_pandas()).equals(visits()["at"].astype("datetime64[us]"))


def test_data_on_the_store_are_read_where_they_are(
    store_settings: StoreSettings, tmp_path: Path
) -> None:
    name = f"p{uuid.uuid4().hex[:12]}"
    uri = f"s3://landing/{name}/visits/"
    save(visits(), tmp_path / "visits.parquet")
    store = ObjectStore(store_settings)
    store.write(f"{uri}visits.parquet", (tmp_path / "visits.parquet").read_bytes())
    pipeline = write(name, Place(uri=uri), read_objects(store_settings, uri), tmp_path)
    source = pipeline.sources["records"]
    assert (source.uri, source.time) == (uri, "at")
    partition = parse("2021-03", pipeline.partition)
    batch = read_landed(store_settings, "records", source, partition)
    inside = visits()["at"].between(partition.start, partition.end, inclusive="left")
    assert batch.table.num_rows == inside.sum() > 0


@pytest.mark.parametrize("time", ["at", None])
def test_a_query_keeps_its_text(tmp_path: Path, time: str | None) -> None:
    query = "select * from visits\nwhere town = 'Köln' -- \"all\""
    table = pa.Table.from_pandas(visits().drop(columns="at" if time is None else []))
    pipeline = write(
        "visits",
        Place(connection="shop", query=query),
        Sample(table, ROWS, None),
        tmp_path,
        time=time,
    )
    source = pipeline.sources["records"]
    assert (source.connection, source.query, source.time) == ("shop", query, time)
    assert problems(pipeline) == ()


def test_numbers_that_were_texts_are_told_before_they_are_stored(
    store_settings: StoreSettings, tmp_path: Path
) -> None:
    """A frame that went through pandas: "1" became 1, and beside a null 1.0."""
    path, name = tmp_path / "visits.parquet", f"p{uuid.uuid4().hex[:12]}"
    save(visits().assign(vendor=np.resize(["1", "2", None], ROWS)), path)
    pipeline = write(name, Place(uri=writing.default_uri(name)), read_file(path), tmp_path)
    save(visits().assign(vendor=np.resize([1.0, 2.0, np.nan], ROWS)), path)
    landed = land(ObjectStore(store_settings), pipeline, path)
    last = parse(list(landed.rows)[-1], pipeline.partition)
    with pytest.raises(SourceError, match=r"column vendor must be string as in .*, got double"):
        probe(Lake(store_settings, name), pipeline, "records", last)


def test_codes_are_whole_whoever_saved_the_file(
    store_settings: StoreSettings, tmp_path: Path
) -> None:
    path, name = tmp_path / "visits.parquet", f"p{uuid.uuid4().hex[:12]}"
    save(visits().assign(vendor=np.resize([1.0, 2.0, np.nan], ROWS)), path)
    pipeline = write(name, Place(uri=writing.default_uri(name)), read_file(path), tmp_path)
    for kind in ("float64", "Int8"):
        save(visits().assign(vendor=pd.array(np.resize([1, 2, np.nan], ROWS), kind)), path)
        landed = land(ObjectStore(store_settings), pipeline, path, replace=True)
        last = parse(list(landed.rows)[-1], pipeline.partition)
        column = probe(Lake(store_settings, name), pipeline, "records", last).table["vendor"]
        assert column.type == pa.int64()
        assert set(column.to_pylist()) == {1, 2, None}
