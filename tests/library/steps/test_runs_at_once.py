"""A late run of a partition beside a later one that judges it: what was made then stays."""

from __future__ import annotations

from typing import Any

import pytest

from include.scoring import batch_scoring, made_then
from tests.library.steps.world import World, quarter

LATE, LATER = quarter("2005-Q2"), quarter("2005-Q3")
PREPARING = (
    *("ingest_loans", "validate_loans", "ingest_outcomes", "validate_outcomes"),
    *("compute_features", "validate_features"),
)


@pytest.mark.usefixtures("imported")
def test_its_own_run_ends_while_a_later_one_scores_it_to_judge_it(
    scored_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = scored_world
    for seed, partition in enumerate((LATE, LATER), 5):
        world.land(seed, partition)
    late, later = (dict(world.scoring(partition)) for partition in (LATE, LATER))
    for task in (*PREPARING, "score_batch", "detect_drift"):
        later[task]()
    for task in PREPARING:
        late[task]()
    real, interrupted = batch_scoring._run, []

    def interrupt(spark: Any, job: Any, paths: Any) -> Any:
        result = real(spark, job, paths)
        if job.partition == str(LATE) and not interrupted:
            interrupted.append(True)
            late["score_batch"]()
        return result

    monkeypatch.setattr(batch_scoring, "_run", interrupt)
    later["measure_performance"]()
    assert interrupted
    marks = world.lake.read("predictions", partitions=[str(LATE)])["back_scored"].to_pylist()
    assert set(marks) == {False}
    assert made_then.made_then(world.lake, str(LATE)) is not None
