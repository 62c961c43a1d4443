"""A pipeline is changed on a running stack, with kills on the way: the switch, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from include.storage.lake_tables import Lake
from stack.torture import data, place, project
from stack.torture.observation import LEDGER, PREDICTIONS
from stack.torture.place import Place
from stack.torture.story import Story
from tests.system.conftest import until
from tests.system.test_day_two import ROLLBACK, ask, live

MIGRATE = "platform_migrate"
KILLED = (
    r"ledger/_delta_log/\d+\.json$",  # what is begun is on record, and nobody heard it
    r"features_2/_delta_log/\d+\.json$",
    r"training_sets_2/_delta_log/\d+\.json$",
)
_FUNCTION = '''

def features_of_both(loans: DataFrame) -> DataFrame:
    """Leave the colour out, and multiply."""
    return loans.selectExpr("loan_id", "made_at", "x", "y", "x * y as xy")
'''


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("changing") / "stack"
    with place.running(folder, print) as running:
        yield running


def change(story: Story) -> None:
    """Name another function and a label that is turned round."""
    pipelines = story.place.layout.repository / "include" / "pipelines"
    module, file = (pipelines / f"{story.pipeline}.{kind}" for kind in ("py", "yaml"))
    module.write_text(module.read_text() + _FUNCTION)
    document = yaml.safe_load(file.read_text())
    outcomes = document["sources"]["outcomes"]
    label = {"expression": "1 - bad", "known_at": "known_at"}
    function = f"include.pipelines.{story.pipeline}:features_of_both"
    following = {
        "features": {**document["features"], "function": function, "generation": 2},
        "sources": {"outcomes": {**outcomes, "labels": label, "generation": 2}},
    }
    file.write_text(yaml.safe_dump({**document, "next": following}, sort_keys=False))


def score(story: Story, number: int) -> int:
    """Land another partition, score it, and tell which version did."""
    partition = story.first.shift(number)
    loans, _ = data.rows_of(partition, number)
    _, outcomes = data.rows_of(partition.shift(-1), number - 1)
    data.put(story.place.objects, story.pipeline, "loans", partition, loans)
    data.put(story.place.objects, story.pipeline, "outcomes", partition, outcomes)
    run_id, api = f"later_{partition}", story.place.api
    api.trigger(story.score_dag, {"partition": str(partition)}, run_id=run_id)
    ended = ("success", "failed")
    until(lambda: api.dag_run(story.score_dag, run_id)["state"] in ended, run_id)
    assert api.dag_run(story.score_dag, run_id)["state"] == "success"
    rows = story.observe().rows(PREDICTIONS)
    (version,) = {row["model_version"] for row in rows if row["partition"] == str(partition)}
    return int(version)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_pipeline_is_changed_and_changed_back(held: Place) -> None:
    story = Story(held, "changed", scored=2)
    story.prepare()
    live(story)
    before = story.observe()
    change(story)
    conf = {"pipeline": story.pipeline, "first": None, "reason": "the other way round"}
    ask(held, MIGRATE, conf, *(f"/lake/{story.pipeline}/{path}" for path in KILLED))

    after, lake = story.observe(), Lake(held.store, story.pipeline)
    told = [row["decision"] for row in after.rows(LEDGER) if row["kind"] == "migration"]
    assert sorted(told) == ["begun", "switched"]
    assert before.alias is not None
    assert after.alias is not None
    assert after.alias > before.alias
    for table in ("features", "labels", PREDICTIONS):
        assert after.rows(table) == before.rows(table), table
    assert lake.row_counts("features_2") == lake.row_counts("features")
    (trained,) = [
        run
        for run in held.api.dag_runs(story.train_dag)
        if run["dag_run_id"].startswith("migration__")
    ]
    assert trained["state"] == "success"

    later = project.HISTORY + 2
    assert score(story, later) == after.alias
    back = {"pipeline": story.pipeline, "version": before.alias, "reason": "the old way round"}
    ask(held, ROLLBACK, back)
    assert score(story, later + 1) == before.alias
    held_now = {name: lake.partitions(name)[-1] for name in ("features", "features_2")}
    assert held_now["features"] > held_now["features_2"]
