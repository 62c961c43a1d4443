"""What the code of commit b08a5da wrote, before its modules moved into rooms, is read as it was."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from include.calendar.partitions import Frequency, parse
from include.registry.champions import Registry
from include.registry.model_files import ModelVersion, load_reference, predict
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings

PIPELINE = "moved_rooms"
ARCHIVE = Path(__file__).parents[2] / "data" / "before_rooms.tar.gz"


@pytest.fixture(scope="module")
def expected(store_settings: StoreSettings) -> Any:
    """Put the lake of before on the store; returns what was true of it then."""
    store = ObjectStore(store_settings)
    told = {}
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            if member.name == "expected.json":
                told = json.load(content)
            else:
                store.write(f"s3://lake/{member.name}", content.read())
    return told


@pytest.mark.parametrize("number", [1, 2, 3], ids=["logistic", "boosting", "xgboost"])
def test_a_model_scores_to_the_digit(
    store_settings: StoreSettings, expected: Any, number: int
) -> None:
    before = expected["expected"][str(number)]
    version = Registry(Lake(store_settings, PIPELINE)).get(number)
    assert version == ModelVersion.from_dict(before["version"])
    frame = pd.DataFrame(expected["frame"])
    frame["rare"] = frame["rare"].astype("float64")
    scores = predict(store_settings, version, frame)
    assert scores.tolist() == before["scores"]


def test_the_reference_of_a_model_is_read(store_settings: StoreSettings, expected: Any) -> None:
    version = Registry(Lake(store_settings, PIPELINE)).get(2)
    reference = load_reference(store_settings, version)
    assert set(reference.profile.numeric) == {"x", "rare"}
    assert reference.profile.rows == 240
    assert reference.to_bytes() == ObjectStore(store_settings).read(
        version.files["reference.json"][0]
    )


def test_tables_ledger_and_champion_are_read(store_settings: StoreSettings, expected: Any) -> None:
    lake = Lake(store_settings, PIPELINE)
    champion = Registry(lake).champion_as_of(parse("2005-Q1", Frequency.QUARTERLY))
    assert champion is not None
    assert champion.version == 1
    assert expected["ledger"] == [
        [entry.kind, entry.partition, entry.decision, entry.reason, entry.dag_run_id]
        for entry in ledger.entries(lake)
    ]
    rows = lake.read("features").to_pylist()
    assert [row["id"] for row in rows] == [1, 2**53 + 1, 3]
    assert [row["x"] for row in rows] == [0.1, None, 0.3]


def test_the_values_are_not_all_alike(expected: Any) -> None:
    assert all(np.std(item["scores"]) > 0.01 for item in expected["expected"].values())
