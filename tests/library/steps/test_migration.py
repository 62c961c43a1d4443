"""A pipeline is changed: a renamed feature, another label, on a real store, with kills on the way.

The label is turned round, so that a model which knows that beats the one in use, and one that does
not know it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.development.planning import next_steps
from include.errors import RegistryError, SourceError, TrainingError
from include.features import feature_function
from include.registry.model_files import ModelVersion
from include.specification.pipeline import Pipeline
from include.steps import (
    erasure,
    generations,
    history_completion,
    interventions,
    migration,
    monitoring,
    preparation,
    promotion,
    rollback,
    training,
    training_course,
)
from include.steps.maintenance import Maintenance
from include.steps.repairs import Repair, add_repairs
from include.steps.stale import find_stale
from include.storage import ledger
from include.storage.inventory import take_inventory
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.storage.settings import StoreSettings
from include.training import training_sets
from tests.library.steps.conftest import make_version
from tests.library.steps.test_killed_steps import Killed, killing
from tests.library.steps.test_maintained_world import NOBODY
from tests.library.steps.world import HISTORY, ROWS, SCORED, Beginnings, World, quarter, rows_of

pytestmark = pytest.mark.usefixtures("surroundings")

LATER, LATEST = quarter("2005-Q2"), quarter("2005-Q3")
AS_OF = str(SCORED)
NEW_TABLES = ("features_2", "labels_2", "raw_outcomes_2", "training_sets_2")
NEW = {"features": 2, "outcomes": 2}


def no_connections(name: str) -> Any:
    raise AssertionError(name)


class Changing(World):
    """A world with a champion, whose file then says what comes next."""

    challenger: ModelVersion

    def change(self, **sections: Any) -> Changing:
        """Write what comes next into the pipeline file."""
        document = self.pipeline.model_dump(mode="json", exclude_unset=True)
        outcomes = document["sources"]["outcomes"]
        label = {"expression": "1 - bad", "known_at": "known"}
        following = {
            "features": {**document["features"], "suite": "f_2", "generation": 2},
            "sources": {"outcomes": {**outcomes, "labels": label, "generation": 2}},
        }
        text = json.dumps({**document, "next": {**following, **sections}})
        self.pipeline = Pipeline.model_validate(json.loads(text))
        return self

    def adopt(self) -> None:
        """Put what comes next in its place, as a person does after the switch."""
        adopted = self.pipeline.to_be()
        assert adopted is not None
        self.pipeline = adopted

    def begin(self, run: str = "change", **how: Any) -> Any:
        return migration.begin(
            *(self.lake, self.pipeline, how.get("first"), "A better label", "Ana"),
            *(Origin("platform_migrate", run, "migrate"),),
            connections=no_connections,
        )

    def migrating(self, run: str = "change") -> Iterator[tuple[str, Callable[[], Any]]]:
        """Name the steps of a migration, its training among them."""
        lake, registry, kept = self.lake, self.registry, self.kept
        own = Origin("platform_migrate", run, "migrate", commit="abc1234")
        train = Origin(f"{lake.pipeline}_train", f"migration__{run}", "t", commit="abc1234")

        def begun() -> migration.Migration:
            found = self.begin(run)
            assert isinstance(found, migration.Migration)
            return found

        def trained() -> Pipeline:
            return generations.of_training(
                lake, self.pipeline, SCORED, train.dag_run_id, begun().after
            )

        def fill() -> None:
            migration.fill(None, lake, self.pipeline, begun(), own, connections=no_connections)

        def build() -> None:
            training_course.start(lake, trained(), SCORED, train)
            history_completion.complete_history(None, lake, trained(), SCORED, train)
            kept["set"] = training_sets.build_training_set(lake, trained(), SCORED, train)

        def select() -> None:
            values = {
                **self.challenger.to_dict(),
                "partition": AS_OF,
                "pipeline": lake.pipeline,
                "training_set": kept["set"].to_dict(),
                "generations": trained().generations,
            }
            found = registry.register(ModelVersion.from_dict(values), "models:/2", train)
            kept["challenger"] = found

        def evaluate() -> None:
            training.evaluate(lake, registry, trained(), kept["challenger"], SCORED, train)

        def promote() -> None:
            promotion.carry_out(lake, registry, self.pipeline, SCORED, train)

        def close() -> None:
            training.close(lake, registry, self.pipeline, SCORED, train)

        def finish() -> None:
            kept["done"] = migration.finish(lake, self.pipeline, begun(), own)

        yield "begin", begun
        yield "fill", fill
        yield "build", build
        yield "select", select
        yield "evaluate", evaluate
        yield "promote", promote
        yield "close", close
        yield "finish", finish

    def migrate(self, run: str = "change") -> Any:
        for _, step in self.migrating(run):
            step()
        return self.kept["done"]

    def score(self, partition: Any, *, switch: Callable[[], Any] | None = None) -> int:
        """Run the tasks about a partition as the operators do; returns who scored it.

        Args:
            partition: The partition.
            switch: Done when its features are prepared and nobody has scored them yet.
        """
        lake, origin = self.lake, Origin("p", f"score_{partition}", "task", commit="abc1234")
        one = generations.in_use(lake, self.pipeline, partition)
        sources = {}
        for source in one.sources:
            draft = preparation.ingest(lake, one, source, [partition], origin)
            same = generations.of_table(self.pipeline, source, draft.table)
            done = preparation.validate_source(lake, same, source, draft, partition, origin)
            sources[source] = done.reference
        loans = {"loans": sources["loans"]}
        read = generations.sources_to_read(
            lake, one, loans, partition, origin, connections=no_connections
        )
        draft = feature_function.compute(None, lake, one, read, [str(partition)], origin)
        features = preparation.validate_features(lake, one, draft, partition, origin).reference
        if switch is not None:
            switch()
        scored = monitoring.score_batch(
            None, lake, self.registry, self.pipeline, features, partition, origin
        )
        monitoring.watch_drift(lake, self.registry, self.pipeline, scored, partition, origin)
        monitoring.measure_performance(None, lake, self.registry, self.pipeline, partition, origin)
        return scored.model_version

    def performance(self, partition: Any) -> dict[str, tuple[int, float]]:
        """Tell by partition whom a run judged, and how good that is."""
        found = {}
        for row in monitoring.rows(self.lake, monitoring.PERFORMANCE):
            if row["partition"] == str(partition):
                record = json.loads(row["details"])
                found[row["measured"]] = (record["model_version"], record["value"])
        return found

    def decisions(self) -> list[tuple[str, str]]:
        return [
            (entry.partition, entry.decision) for entry in ledger.entries(self.lake, "migration")
        ]


@pytest.fixture
def world(
    store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion, beginnings: Beginnings
) -> Changing:
    """A world whose champion is version 1, and where a good challenger is to come."""
    return beginnings.of("changing", lambda: changing(store_settings, make_pipeline, version))


def changing(store_settings: StoreSettings, make_pipeline: Any, version: ModelVersion) -> Changing:
    found = Changing(store_settings, make_pipeline, version)
    found.challenger = make_version(store_settings, "y", reversed_labels=True)
    found.run()
    found.land(5, LATER)
    found.land(6, LATEST)
    return found


def test_the_next_generation_takes_over_by_the_gate(world: Changing) -> None:
    before = world.content()
    world.change()
    done = world.migrate()
    assert done.told.startswith("Switched. From 2005-Q2 on, where nobody scored yet, generation 2")
    assert world.decisions() == [(AS_OF, "begun"), (AS_OF, "switched")]
    # What there was stays as it was.
    for table in ("features", "labels", "raw_outcomes", "training_sets", "predictions"):
        assert world.content()[table] == before[table], table
    assert world.lake.schema("features_2").names == ["id", "at", "y", "partition"]
    assert world.lake.row_counts("features_2") == world.lake.row_counts("features")
    assert world.lake.row_counts("labels_2") == world.lake.row_counts("labels")
    # The loans did not change.
    assert not world.lake.exists("raw_loans_2")
    assert dict(world.registry.get(2).generations) == NEW
    assert "generations" not in world.registry.get(1).to_dict()

    (verdict,) = [
        entry
        for entry in ledger.entries(world.lake, "promotion")
        if entry.dag_run_id == "migration__change"
    ]
    assert verdict.evidence["champion"] == 1
    assert "left_out" not in verdict.evidence

    again = world.migrate()
    assert again == done
    assert len(world.decisions()) == 2

    held = world.lake.row_counts("features")
    assert world.score(LATER) == 2
    assert world.lake.row_counts("features") == held
    assert str(LATER) in world.lake.partitions("features_2")
    # 2005-Q1 was scored by version 1, which takes the label for its opposite.
    ((judged, (by, value)),) = world.performance(LATER).items()
    assert (judged, by) == (AS_OF, 1)
    assert value < 0.3

    world.adopt()
    assert world.score(LATEST) == 2
    ((judged, (by, value)),) = world.performance(LATEST).items()
    assert (judged, by) == (str(LATER), 2)
    assert value > 0.7
    assert world.begin("another").told.startswith("The file of")


def test_killed_anywhere_and_run_again_it_ends_the_same(
    store_settings: StoreSettings,
    make_pipeline: Any,
    version: ModelVersion,
    world: Changing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world.change().migrate()
    harmed = Changing(store_settings, make_pipeline, version)
    harmed.challenger = world.challenger
    harmed.run()
    harmed.change()
    kills = 0
    for _, step in harmed.migrating():
        write = 0
        while True:
            write += 1
            with killing(monkeypatch, write):
                try:
                    step()
                except Killed:
                    kills += 1
                else:
                    break
    assert kills > 15
    for table in (*NEW_TABLES, "quarantine_outcomes_2", "quarantine_features_2", "ledger"):
        assert rows_of(harmed.lake, table) == rows_of(world.lake, table), table
    for table in ("features", "labels", "registry", "predictions"):
        assert rows_of(harmed.lake, table) == rows_of(world.lake, table), table


def test_what_the_gate_refuses_leaves_the_old_one_in_use(
    world: Changing, store_settings: StoreSettings
) -> None:
    world.challenger = make_version(store_settings, "y")
    done = world.change().migrate()
    assert done.told.startswith("Refused. Generation 1 of features stays in use.")
    assert world.decisions() == [(AS_OF, "begun"), (AS_OF, "refused")]
    assert world.score(LATER) == 1
    assert str(LATER) in world.lake.partitions("features")
    assert str(LATER) not in world.lake.partitions("features_2")
    trained = generations.of_training(world.lake, world.pipeline, LATER, "asked", None)
    assert trained.generations == {}

    # Another attempt takes what the first one has prepared, and adds what came since.
    world.challenger = make_version(store_settings, "y", reversed_labels=True)
    begun = world.begin("second")
    assert (begun.as_of, list(begun.features)) == (str(LATER), [str(LATER)])


def test_whoever_comes_into_use_scores_its_own_generation(world: Changing) -> None:
    world.change()
    # The switch comes when the features of the old generation are prepared.
    assert world.score(LATER, switch=world.migrate) == 2
    assert str(LATER) in world.lake.partitions("features")
    assert str(LATER) in world.lake.partitions("features_2")
    ((judged, (by, _)),) = world.performance(LATER).items()
    assert (judged, by) == (AS_OF, 1)

    rollback.roll_back(
        *(world.lake, world.registry, world.pipeline, 1, "Too bold", "Ana"),
        *(_now(), Origin("r", "back", "t")),
    )
    assert (
        generations.of_training(world.lake, world.pipeline, LATER, "asked", None).generations == {}
    )
    assert world.score(LATEST) == 1
    # Of the labels of the old generation too: those of 2005-Q2 had landed for the new one.
    ((judged, (by, _)),) = world.performance(LATEST).items()
    assert (judged, by) == (str(LATER), 2)
    assert world.lake.row_counts("labels") == world.lake.row_counts("labels_2") | {
        str(LATEST): world.lake.row_counts("labels")[str(LATEST)]
    }


def test_a_generation_that_nobody_describes_any_more(world: Changing) -> None:
    world.change()
    world.adopt()  # too early: version 1 is in use
    with pytest.raises(RegistryError, match=r"must describe generation 1 of features, on which ve"):
        world.score(LATER)
    # What is there all the same is scored.
    assert world.score(SCORED) == 1


def test_the_plan_tells_what_was_begun_and_what_is_left_behind(world: Changing) -> None:
    world.change()
    assert next_steps(world.pipeline, world.lake)[0].startswith("writes ")
    repair = Repair("request", '{"entity": "a"}', '{"entity": "a"}')
    origin = Origin("platform_release", "r", "release")
    add_repairs(world.lake, world.pipeline, "outcomes", AS_OF, [repair], origin)
    add_repairs(world.lake, world.pipeline, "loans", AS_OF, [repair], origin)
    world.begin("second")
    lines = next_steps(world.pipeline, world.lake)
    assert "by run second of platform_migrate, which has not ended: look there" in lines[0]
    assert [line for line in lines if "behind" in line] == [
        "leaves 1 repair of outcomes behind: its rows are ingested as they landed, so release "
        "those of quarantine anew"
    ]


def test_what_nobody_describes_any_more_is_not_put_in_use(world: Changing) -> None:
    world.change().migrate()
    described, before = world.pipeline, world.registry.events()
    world.adopt()
    for deed, decision in ((rollback.roll_back, "back"), (rollback.promote, "hand")):
        with pytest.raises(
            RegistryError, match=r"must describe generation 1 of features, on .* `ne"
        ):
            deed(
                *(world.lake, world.registry, world.pipeline, 1, "Too bold", "Ana"),
                *(_now(), Origin("r", decision, "t")),
            )
    assert world.registry.events() == before
    done = rollback.roll_back(
        *(world.lake, world.registry, described, 1, "Too bold", "Ana"),
        *(_now(), Origin("r", "back", "t")),
    )
    assert done.version == 1


def test_an_approval_that_comes_when_nobody_describes_it_promotes_nothing(world: Changing) -> None:
    old = world.pipeline
    world.change()
    steps = dict(world.migrating())
    for name in ("begin", "fill", "build", "select", "evaluate"):
        steps[name]()
    changed, world.pipeline = world.pipeline, old
    before = world.registry.events()
    with pytest.raises(RegistryError, match="must describe generation 2 of features"):
        steps["promote"]()
    assert world.registry.events() == before
    world.pipeline = changed
    for name in ("promote", "close", "finish"):
        steps[name]()
    assert world.kept["done"].told.startswith("Switched.")
    world.pipeline = old
    steps["promote"]()  # cleared alone: it is in use already


def test_a_training_goes_on_with_what_it_began(world: Changing) -> None:
    old = world.pipeline
    world.change()
    assert generations.of_training(world.lake, world.pipeline, SCORED, "a", None).generations == {}
    origin = Origin("train", "a", "t")
    training_course.start(world.lake, old, SCORED, origin)
    world.migrate()
    found = generations.of_training(world.lake, world.pipeline, SCORED, "a", None)
    assert found.generations == {}
    found = generations.of_training(world.lake, world.pipeline, SCORED, "b", None)
    assert found.generations == NEW
    world.adopt()
    with pytest.raises(TrainingError, match="must describe generation 1 of features, which this"):
        generations.of_training(world.lake, world.pipeline, SCORED, "a", None)
    with pytest.raises(TrainingError, match="must describe generation 3 of features"):
        generations.of_training(world.lake, world.pipeline, SCORED, "c", {"features": 3})


def test_history_that_is_gone_is_named(world: Changing) -> None:
    store = ObjectStore(world.lake.settings)
    store.delete_below(f"s3://landing/{world.lake.pipeline}/outcomes/2004-Q2/")
    world.change()
    with pytest.raises(SourceError, match=r"source outcomes: history must have landed .* 2004-Q2"):
        world.begin()
    assert world.decisions() == []
    begun = world.begin(first="2004-Q3")
    assert begun.features[0] == begun.labels[0] == "2004-Q3"


def test_a_frozen_champion_is_not_migrated(world: Changing) -> None:
    interventions.freeze(
        *(world.lake, world.registry, "Audit", "Ana", _now(), Origin("f", "freeze", "t"))
    )
    with pytest.raises(RegistryError, match="frozen"):
        world.change().begin()


def test_another_definition_of_a_source_needs_another_number(world: Changing) -> None:
    world.change()
    for name, step in world.migrating():
        step()
        if name == "fill":
            break
    world.change(
        features={**world.pipeline.features.model_dump(), "suite": "f_2", "generation": 2},
        sources={
            "outcomes": {
                **world.pipeline.sources["outcomes"].model_dump(exclude_unset=True),
                "labels": {"column": "bad", "known_at": "known", "positive": 0},
                "generation": 2,
            }
        },
    )
    with pytest.raises(SourceError, match=r"Write generation: 3 under next\.sources\.outcomes"):
        world.begin("second")


def test_nothing_to_migrate(world: Changing) -> None:
    assert world.begin().told == (
        f"The file of {world.lake.pipeline} names nothing under `next:`. There is nothing to "
        "migrate."
    )
    world.change().migrate()
    done = world.begin("second")
    assert not done.changed
    assert done.told.startswith("Version 2, which was trained on generation 2 of features")
    assert len(world.decisions()) == 2


def _now() -> Any:
    return datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=5)


class TestEveryGeneration:
    """What looks through all tables finds those of the next generation as well."""

    @pytest.fixture
    def migrated(self, world: Changing, beginnings: Beginnings) -> Changing:
        def migrate() -> Changing:
            world.change().migrate()
            return world

        return beginnings.of("migrated", migrate)

    def test_what_was_made_from_corrected_data_is_made_anew(self, migrated: Changing) -> None:
        assert find_stale(migrated.lake, migrated.pipeline).is_nothing
        migrated.land(1, HISTORY[1], loans=ROWS - 2)
        found = find_stale(migrated.lake, migrated.pipeline)
        assert [(item.source, item.partition) for item in found.corrections] == [
            ("loans", "2004-Q2")
        ]
        assert found.history["2004-Q2"] == (
            *("raw_loans", "quarantine_loans", "features", "features_2"),
        )
        assert set(found.versions) == {1, 2}
        assert {run.run_id for run in found.runs if run.kind == "train"} == {
            "train",
            "migration__change",
        }
        history_completion.prepare_again(
            *(None, migrated.lake, migrated.pipeline, [("loans", "2004-Q2")], found.history),
            Origin("platform_reprocess", "again", "prepare_history"),
        )
        for table in ("features", "features_2"):
            assert migrated.lake.row_counts(table)["2004-Q2"] == ROWS - 4
        found = find_stale(migrated.lake, migrated.pipeline)
        assert not found.corrections
        assert not {"features", "features_2"} & {t for ts in found.history.values() for t in ts}

    def test_labels_that_only_one_has_are_ingested_for_that(self, migrated: Changing) -> None:
        migrated.land(2, HISTORY[2], outcomes=ROWS - 5)
        found = find_stale(migrated.lake, migrated.pipeline)
        own = ("raw_outcomes", "quarantine_outcomes", "labels")
        assert set(found.history["2004-Q3"]) == {*own, *(f"{name}_2" for name in own)}

    def test_who_is_erased_is_in_none_of_them(self, migrated: Changing) -> None:
        people = ("2004-Q2/7", "2004-Q2/3", "2004-Q2/5")
        store = ObjectStore(migrated.lake.settings)
        store.write(erasure.ids_uri(migrated.lake.pipeline, "letter"), "\n".join(people).encode())
        found = erasure.erase(
            *(migrated.lake, migrated.registry, migrated.pipeline, "letter", "a letter", "Ada"),
            Origin("platform_erase", "manual__1", "erase"),
            connections=no_connections,
        )
        erasure.forget_ids(migrated.lake, "letter")
        assert {*NEW_TABLES, "quarantine_outcomes_2", "quarantine_features_2"} <= set(found.tables)
        assert found.versions == (1, 2)
        # The same files, whoever reads them.
        assert (found.files, found.landed) == (2, 6)
        theirs = re.compile(rf"({'|'.join(people)})(?!\d)")
        for table in take_inventory(migrated.lake).tables:
            for row in migrated.lake.read_held(table).to_pylist():
                assert theirs.search(json.dumps(row, default=str)) is None, table
        found_stale = find_stale(migrated.lake, migrated.pipeline)
        assert found_stale.is_nothing, found_stale

    def test_what_nobody_needs_any_more_is_removed_and_told(self, migrated: Changing) -> None:
        days = timedelta(days=90)
        late = datetime.now(UTC) + days + timedelta(seconds=2)

        def planned(now: datetime, pipeline: Pipeline) -> set[str]:
            maintenance = Maintenance(migrated.lake, NOBODY, days, pipeline=pipeline)
            return {item.name.rpartition("/")[2] for item in maintenance.draw_up(now).of("table")}

        assert planned(late, migrated.pipeline) == set()
        migrated.adopt()
        assert planned(datetime.now(UTC), migrated.pipeline) == set()
        old = {"features", "quarantine_features", "raw_outcomes", "quarantine_outcomes", "labels"}
        assert planned(late, migrated.pipeline) == old

        maintenance = Maintenance(migrated.lake, NOBODY, days, pipeline=migrated.pipeline)
        maintenance.plan("night", late)
        outcome = maintenance.carry_out("night", late)
        assert outcome.won()["table"][0] == len(old)
        assert outcome.won()["table"][1] > 0
        held = set(take_inventory(migrated.lake).tables)
        assert not old & held
        assert {*NEW_TABLES, "training_sets", "raw_loans", "predictions"} <= held
        assert not outcome.left
        assert planned(late, migrated.pipeline) == set()
        # All goes on without them.
        assert migrated.score(LATER) == 2
        with pytest.raises(RegistryError, match="must hold every column that version 1 was train"):
            rollback.roll_back(
                *(migrated.lake, migrated.registry, migrated.pipeline, 1, "Too bold", "Ana"),
                *(_now(), Origin("r", "back", "t")),
            )

    def test_tables_of_who_was_gone_back_to_stay(self, migrated: Changing) -> None:
        rollback.roll_back(
            *(migrated.lake, migrated.registry, migrated.pipeline, 1, "Too bold", "Ana"),
            *(_now(), Origin("r", "back", "t")),
        )
        migrated.adopt()
        late = datetime.now(UTC) + timedelta(days=90, seconds=2)
        maintenance = Maintenance(
            migrated.lake, NOBODY, timedelta(days=90), pipeline=migrated.pipeline
        )
        assert maintenance.draw_up(late).of("table") == []
