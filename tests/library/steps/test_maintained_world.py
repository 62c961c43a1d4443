"""A world that is maintained between any two things that people do is that of one that never is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.registry.model_files import MODEL, ModelVersion, load_model, load_reference
from include.scoring.made_then import made_then
from include.scoring.predictions import read, scored_then
from include.steps.maintenance import AirflowRuns, Maintenance
from include.steps.stale import find_stale
from include.storage.settings import StoreSettings
from include.training.training_sets import TrainingSet, load_training_set
from tests.library.steps.test_reprocessing import NEXT, ask, correct, reprocess, tables
from tests.library.steps.world import SCORED, World

DAYS_90 = timedelta(days=90)
NOBODY = AirflowRuns(lambda dag_ids: None, lambda dag_id, run_id: False)

pytestmark = pytest.mark.usefixtures("surroundings")


@pytest.mark.proof  # its short forms: each way of removing, in test_maintenance.py
def test_nothing_that_people_do_comes_out_otherwise(
    store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion
) -> None:
    untouched, maintained = (World(store_settings, make_pipeline, version) for _ in range(2))
    removed: dict[str, int] = {}

    def maintain() -> None:
        """As if all that was replaced so far had been so longer ago than the retention."""
        now = datetime.now(UTC) + DAYS_90 + timedelta(seconds=2)
        maintenance = Maintenance(maintained.lake, NOBODY, DAYS_90)
        maintenance.plan(now.isoformat(), now)
        for kind, (count, _) in maintenance.carry_out(now.isoformat(), now).won().items():
            removed[kind] = removed.get(kind, 0) + count

    def both(action: Callable[[World], object]) -> None:
        action(untouched)
        action(maintained)
        maintain()

    both(lambda world: world.land(5, NEXT))
    both(World.run)
    both(again)
    for world in (untouched, maintained):
        correct(world)
    both(take_over)
    # Scored once more, all is compared with what was scored then.
    both(again)

    assert tables(maintained) == tables(untouched)
    assert find_stale(maintained.lake, maintained.pipeline).is_nothing
    assert then(maintained) == then(untouched)
    for row in maintained.registry.events():
        model = maintained.registry.get(row["version"])
        load_model(maintained.lake.settings, model.files[MODEL], model.trusted)
        load_reference(maintained.lake.settings, model)
        training_set = TrainingSet.from_dict(model.training_set)
        load_training_set(maintained.lake, maintained.pipeline, training_set)
    assert removed["data file"] > 10
    assert removed["draft"] > 10


def again(world: World) -> None:
    """Clear the scoring runs as a whole."""
    for partition in (SCORED, NEXT):
        for _, step in world.scoring(partition):
            step()


def take_over(world: World) -> None:
    request = ask(world)
    assert request is not None
    reprocess(world, request)


def then(world: World) -> list[float]:
    """The predictions made then of the partition that was corrected."""
    assert made_then(world.lake, str(SCORED)) is not None
    rows = read(world.lake, scored_then(world.lake, str(SCORED)), str(SCORED))
    return sorted(rows["score"].to_pylist())
