"""What a migration ingests anew is what was known then, or it is told before anything begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from include.errors import SourceError
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps import migration
from include.steps.history_completion import prepare_again
from include.steps.stale import find_stale
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.library.steps.conftest import make_version
from tests.library.steps.test_migration import Changing, no_connections
from tests.library.steps.test_reprocessing import ASKED, ask
from tests.library.steps.world import HISTORY, SCORED, Beginnings

pytestmark = pytest.mark.usefixtures("surroundings")

Begin = Callable[..., Changing]


@pytest.fixture
def begin_with(
    store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion, beginnings: Beginnings
) -> Begin:
    """Make a world with a third source, at a place below the pipeline's landing."""

    def made(place: str) -> Changing:
        found = Changing(store_settings, make_pipeline, version)
        document = found.pipeline.model_dump(mode="json", exclude_unset=True)
        uri = f"s3://landing/{found.lake.pipeline}/{place}/"
        document["sources"]["rates"] = {"uri": uri, "suite": "loans"}
        found.pipeline = Pipeline.model_validate(document)
        found.challenger = make_version(store_settings, "y", reversed_labels=True)
        for partition in (*HISTORY, SCORED):
            land_rates(found, place.format(partition=partition), 1.0)
        for _, step in found.training():
            step()
        found.score(SCORED)
        return found

    def begun(place: str) -> Changing:
        world = beginnings.of(f"rates in {place}", lambda: made(place))
        section = world.pipeline.model_dump(mode="json", exclude_unset=True)["sources"]["rates"]
        return world.change(sources={"rates": {**section, "generation": 2}})

    return begun


def land_rates(world: Changing, place: str, amount: float) -> None:
    world._put(pa.table({"id": ["a", "b"], "amount": [amount, amount]}), place)


def fill(world: Changing) -> None:
    origin = Origin("platform_migrate", "change", "migrate")
    begun = world.begin()
    assert isinstance(begun, migration.Migration)
    migration.fill(None, world.lake, world.pipeline, begun, origin, connections=no_connections)


def test_what_every_run_reads_whole_and_has_not_changed_is_ingested_anew(begin_with: Begin) -> None:
    world = begin_with("rates")
    fill(world)
    for table in ("raw_rates", "raw_rates_2"):
        rows = world.lake.read(table)
        assert set(rows["partition"].to_pylist()) == {str(item) for item in (*HISTORY, SCORED)}
        assert set(rows["amount"].to_pylist()) == {1.0}


def test_but_not_what_is_another_one_by_now(begin_with: Begin) -> None:
    world = begin_with("rates")
    land_rates(world, "rates", 99.0)
    told = "rates: every run reads all of it, .* got another content since 2004-Q1, .* Take rates"
    with pytest.raises(SourceError, match=told):
        world.begin()
    assert world.decisions() == []
    assert not world.lake.exists("raw_rates_2")


def test_history_of_every_source_must_have_landed_before_anything_begins(begin_with: Begin) -> None:
    world = begin_with("rates/{partition}")
    store = ObjectStore(world.lake.settings)
    store.delete(f"s3://landing/{world.lake.pipeline}/rates/2004-Q3/rows.parquet")
    told = re.escape("source rates: history must have landed to be ingested anew, got nothing for")
    with pytest.raises(SourceError, match=f"{told} 2004-Q3"):
        world.begin()
    assert world.decisions() == []


def test_what_landed_empty_and_came_late_is_made_anew_in_every_generation(
    store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion
) -> None:
    world = Changing(store_settings, make_pipeline, version)
    document = world.pipeline.model_dump(mode="json", exclude_unset=True)
    document["sources"]["outcomes"]["allow_empty"] = True
    world.pipeline = Pipeline.model_validate(document)
    world.challenger = make_version(store_settings, "y", reversed_labels=True)
    world.land(4, SCORED, outcomes=0)
    world.run()
    world.change().migrate()
    world.land(4, SCORED)

    request = ask(world)

    assert request is not None
    origin = replace(ASKED, dag_run_id=request.run_id)
    prepare_again(None, world.lake, world.pipeline, request.corrected, request.history, origin)
    labels = [world.lake.row_counts(table)["2005-Q1"] for table in ("labels", "labels_2")]
    assert labels[0] == labels[1] > 0
    assert not find_stale(world.lake, world.pipeline).corrections
