"""A batch without rows goes through every step, where the file says that it may come."""

from __future__ import annotations

from typing import Any

import pytest

from include.registry.model_files import ModelVersion
from include.reports.drift_report import publish_drift_report
from include.steps import monitoring
from include.storage import ledger
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from tests.library.steps.world import ROWS, SCORED, World

EMPTY, AFTER = SCORED.shift(1), SCORED.shift(2)


@pytest.fixture
def world(
    surroundings: None, store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion
) -> World:
    """A trained pipeline, both of whose sources may come without rows."""
    made = World(store_settings, make_pipeline, version)
    sources = {
        name: source.model_copy(update={"allow_empty": True})
        for name, source in made.pipeline.sources.items()
    }
    made.pipeline = made.pipeline.model_copy(update={"sources": sources})
    return made.run()


@pytest.mark.usefixtures("imported")
def test_no_loans_then_no_outcomes(world: World) -> None:
    lake = world.lake
    world.land(5, EMPTY, loans=0)
    for _ in range(2):  # cleared and run again
        for _, run in world.scoring(EMPTY):
            run()
    for table in ("raw_loans", "features", "predictions", "quarantine_loans"):
        assert str(EMPTY) not in lake.partitions(table), table
    assert world.kept["score_batch"].predictions.rows == 0
    verdict, version = world.kept["detect_drift"]
    assert (verdict.verdict, verdict.current_rows) == ("cannot tell", 0)
    # The outcomes that came tell of the quarter before.
    assert [item.partition for item in world.kept["measure_performance"]] == [str(SCORED)]
    assert not world.kept["decide_retraining"].retrain
    drift = {row["partition"]: row["verdict"] for row in monitoring.rows(lake, "drift")}
    assert drift[str(EMPTY)] == "cannot tell"
    assert len(ledger.entries(lake, "retraining")) == 2
    batch = world.kept["validate_features"].reference
    page = publish_drift_report(lake, world.pipeline, verdict, version, batch)
    assert b"cannot tell" in ObjectStore(lake.settings).read(page)

    world.land(6, AFTER, outcomes=0)
    for _, run in world.scoring(AFTER):
        run()
    assert world.kept["score_batch"].predictions.rows == ROWS - 2
    assert str(AFTER) not in lake.partitions("labels")
    assert world.kept["measure_performance"] == ()


def test_rows_that_came_before_are_gone_when_the_partition_comes_without(world: World) -> None:
    lake = world.lake
    assert lake.row_counts("predictions")[str(SCORED)] == ROWS - 2
    world.land(4, SCORED, loans=0)
    for _, run in world.scoring(SCORED):
        run()
    for table in ("raw_loans", "features", "predictions", "quarantine_loans"):
        assert str(SCORED) not in lake.partitions(table), table
