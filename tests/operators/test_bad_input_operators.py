"""Cases of the corpus of bad inputs that differ in kind, through the tasks of the DAG itself."""

from __future__ import annotations

import copy
import functools
import warnings
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from include.calendar.partitions import Partition
from include.quality import suites
from include.quality.suites import load_suite
from include.specification import pipeline_file
from include.storage.settings import StoreSettings
from relevo import dags
from tests.corpus import landed_cases
from tests.corpus.case import Landed
from tests.corpus.driving import Ground, drive, ground, write_suites
from tests.operators.running import small_json, store_connection

CHOSEN = (
    "a file of 0 bytes",
    "Parquet that was cut off",
    "a header without rows, where the file says allow_empty, after a good batch",
    "the same key twice in a batch of four",
    "mixed time zones: Z, an offset and none (which is UTC)",
    "whole numbers above 2^53 beside a null",
    "nested values",
    "a column renamed",
    "a column more",
    "thousands signs in every row from now on",
    "a suite that names a column that is gone",
    "a label twice, contradicting, known at one moment",
    "a label that is infinite",
)
CASES = [case for case in landed_cases() if case.what in CHOSEN]


class ByTheDag:
    """Execute the tasks that the factory declares for the source, with what XCom hands on."""

    failure = AirflowFailException

    def __init__(self, context: Any) -> None:
        self.context = context

    def ingest(self, place: Ground, partition: Partition) -> Any:
        """Ingest what landed; returns a reference."""
        return self._execute(place, "ingest", partition)

    def validate(self, place: Ground, partition: Partition, ingested: Any) -> None:
        """Validate what was ingested."""
        self._execute(place, "validate", partition, batch=ingested)

    def _execute(self, place: Ground, step: str, partition: Partition, **given: Any) -> Any:
        dag, _ = dags.declare(place.pipeline.name)
        named = "labels" if place.source == place.pipeline.label_source else place.source
        task = copy.copy(dag.get_task(f"{step}_{named}"))
        for name, value in {"partition": str(partition), **given}.items():
            setattr(task, name, value)
        return small_json(task.execute(self.context))


def test_all_of_them_are_in_the_corpus() -> None:
    assert {case.what for case in CASES} == set(CHOSEN)


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_a_task_keeps_quarantines_or_fails_at_once(
    case: Landed,
    store_settings: StoreSettings,
    context: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place = ground(store_settings, case)
    write_suites(tmp_path)
    monkeypatch.setattr(suites, "load_suite", functools.partial(load_suite, folder=tmp_path))
    monkeypatch.setattr(pipeline_file, "load", {place.pipeline.name: place.pipeline}.get)
    monkeypatch.setenv("AIRFLOW_CONN_RELEVO_STORE", store_connection(store_settings))
    with warnings.catch_warnings():
        drive(place, case, ByTheDag(context), caplog)
