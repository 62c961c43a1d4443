"""Feature functions of the corpus of bad inputs, on a real Spark: refused with nothing written."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import functions as f

from include.calendar.partitions import Partition
from include.errors import RelevoError
from include.features.feature_function import compute
from include.specification.pipeline import Pipeline
from include.storage import drafts
from include.storage.lake_tables import Lake, with_partition
from include.storage.settings import Settings
from tests.corpus.case import BEFORE, PARTITION
from tests.corpus.functions import CASES, SECOND, Function

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
def lake(services: Settings) -> Lake:
    return Lake(services.store, f"p{uuid.uuid4().hex[:12]}")


@pytest.fixture
def run(
    spark: Any,
    lake: Lake,
    origin: Any,
    make_pipeline: MakePipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Compute the features of four loans of a partition."""

    def compute_with(case: Function, partition: Partition = PARTITION) -> None:
        module = ModuleType(f"include.pipelines.p{uuid.uuid4().hex}")
        module.features = lambda loans: case.function(loans, f)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        pipeline = make_pipeline(features={"function": f"{module.__name__}:features"})
        loans = pa.table(
            {
                "id": [1, 2, 3, 4],
                "at": pa.array(case.at or [partition.start] * 4, pa.timestamp("us")),
                "amount": [1.5, 2.5, 3.5, 4.5],
            }
        )
        raw = lake.write(
            "raw_loans",
            with_partition(loans, str(partition)),
            partitions=[str(partition)],
            origin=origin,
        )
        names = [str(partition)]
        draft = compute(spark, lake, pipeline, {"loans": raw}, names, origin)
        made = drafts.load(lake, draft)  # what validating commits
        lake.commit("features", made.files, made.schema, partitions=names, origin=origin)

    return compute_with


def refuse(case: Function, run: Callable[..., None]) -> None:
    with pytest.raises(RelevoError) as caught:
        run(case)
    message = str(caught.value)
    for words in case.says or ():
        assert words in message, message
        message = message.partition(words)[2]


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_each_row_comes_out_once_or_nothing_is_written(
    case: Function, run: Callable[..., None], lake: Lake
) -> None:
    if case.says is None:
        run(case)
        assert sorted(lake.read("features")["id"].to_pylist()) == [1, 2, 3, 4]
    else:
        refuse(case, run)
        assert lake.row_counts("features") == {}


@pytest.mark.parametrize("case", SECOND, ids=[case.what for case in SECOND])
def test_what_it_returns_stays_as_it_was(
    case: Function, run: Callable[..., None], lake: Lake
) -> None:
    run(CASES[0], BEFORE)
    refuse(case, run)
    assert lake.row_counts("features") == {str(BEFORE): 4}
