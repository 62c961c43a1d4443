"""Going back to a version: once, on record, and only to what can be used as it was registered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from unittest.mock import create_autospec

import pyarrow as pa
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from include.calendar.partitions import Frequency, parse
from include.errors import RegistryError, TrainingError
from include.evaluation.decision_threshold import DecisionThreshold
from include.registry.champions import PROFILES, TABLE, Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import MODEL, REFERENCE, ModelVersion
from include.reports.decisions_page import decisions
from include.reports.history import history
from include.specification.pipeline import Pipeline
from include.steps.promotion import carry_out as carry
from include.steps.rollback import Handover, roll_back
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore

ASKED = Origin("platform_rollback", "manual__1", "roll_back")
TRAIN = Origin("p_train", "", "promote_challenger")
LATER = datetime(2100, 1, 1)


class World:
    """A pipeline whose versions 1, 2 and 3 were trained as of the first quarters of 2005."""

    def __init__(self, lake: Lake, pipeline: Pipeline, version: ModelVersion) -> None:
        self.lake, self.pipeline = lake, pipeline
        self.tracking = create_autospec(Tracking, instance=True)
        self.tracking.client = create_autospec(MlflowClient, instance=True)
        self.registry = Registry(lake, self.tracking)
        self._given: list[Any] = []
        self.tracking.register.side_effect = self._give
        self.tracking.versions.side_effect = lambda run_id, tags: [
            number for number, given in enumerate(self._given, 1) if tags.items() <= given.items()
        ]
        lake.write("features", pa.table({"x": [1.0], "partition": ["2005-Q1"]}),
                   partitions=["2005-Q1"], origin=ASKED)  # fmt: skip
        for number in (1, 2, 3):
            self.train(version, f"2005-Q{number}", f"train_{number}")

    def _give(self, model_uri: str, tags: Any) -> int:
        self._given.append(tags)
        return len(self._given)

    def train(self, version: ModelVersion, partition: str, run: str, fit: str = "") -> None:
        origin = replace(TRAIN, dag_run_id=run)
        made = replace(version, pipeline=self.lake.pipeline, partition=partition)
        made = replace(made, run_id=fit or run)
        number = self.registry.register(made, "models:/m", origin).version
        evidence = {"challenger": number, "champion": number - 1 or None}
        ledger.record(self.lake, "promotion", partition, "promoted", "better", origin=origin,
                      evidence=evidence)  # fmt: skip
        self.registry.promote(number, parse(partition, Frequency.QUARTERLY), "better", origin)

    def score(self, partition: str, by: int) -> None:
        rows = pa.table({"model_version": [by], "partition": [partition]})
        self.lake.write(PROFILES, rows, partitions=[partition], origin=ASKED)

    def roll_back(
        self,
        version: int | None = None,
        origin: Origin = ASKED,
        why: str = "it scores too high",
        asked_at: datetime = LATER,
    ) -> Handover:
        return roll_back(
            self.lake, self.registry, self.pipeline, version, why, "Ada", asked_at, origin
        )

    def champions(self, *partitions: str) -> list[int | None]:
        found = [
            self.registry.champion_as_of(parse(name, Frequency.QUARTERLY)) for name in partitions
        ]
        return [item and item.version for item in found]

    @property
    def alias(self) -> str:
        return str(self.tracking.client.set_registered_model_alias.call_args.args[2])

    def told(self) -> list[tuple[str, str]]:
        """Everything that a rollback leaves behind."""
        events = [row["event"] for row in self.lake.read(TABLE).to_pylist()]
        return [("event", "restored")] * events.count("restored") + [
            (entry.partition, entry.reason) for entry in ledger.entries(self.lake, "rollback")
        ]


@pytest.fixture
def world(lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion) -> World:
    return World(lake, make_pipeline(), version)


def test_the_version_before_is_in_use_from_the_next_partition_on(world: World) -> None:
    for name, by in (("2005-Q2", 1), ("2005-Q3", 2), ("2005-Q4", 3), ("2006-Q2", 3)):
        world.score(name, by)

    done = world.roll_back()

    assert (done.version, done.instead_of, done.changed) == (2, 3, True)
    assert world.alias == "2"
    # 2006-Q1 was passed over: a run at its time would have been given version 3.
    names = ("2005-Q2", "2005-Q3", "2005-Q4", "2006-Q1", "2006-Q2", "2006-Q3", "2009-Q1")
    assert world.champions(*names) == [1, 2, 3, 3, 3, 2, 2]
    reason = (
        "Version 2 is in use again instead of version 3, from 2006-Q3 on. Ada: it scores too high"
    )
    assert world.told() == [("event", "restored"), ("2006-Q2", reason)]
    (entry,) = ledger.entries(world.lake, "rollback")
    assert entry.evidence == {"by": "Ada", "champion": 3, "restored": 2}


def test_the_threshold_comes_back_with_its_version(world: World, version: ModelVersion) -> None:
    decision = DecisionThreshold(0.35, {"maximize": "f1"}, 200, 80, 0.7)
    world.train(replace(version, decision=decision), "2005-Q4", "train_4")
    world.train(version, "2006-Q1", "train_5")  # the section was taken out of the file
    following = parse("2006-Q2", Frequency.QUARTERLY)
    assert world.registry.require_champion(following).decision is None
    world.roll_back()
    champion = world.registry.require_champion(following)
    assert (champion.version, champion.decision) == (4, decision)
    world.roll_back(3, replace(ASKED, dag_run_id="manual__2"))
    assert world.registry.require_champion(following).decision is None


def test_who_reprocesses_follows_a_version_that_was_trained_anew(
    world: World, version: ModelVersion
) -> None:
    """A person keeps version 2 in use; its training was repeated on corrected data."""
    world.score("2005-Q4", 3)
    world.roll_back()
    later = parse("2006-Q1", Frequency.QUARTERLY)
    kept = world.registry.get(2)
    assert world.registry.successor(kept, later) == kept

    world.train(version, "2005-Q2", "train_2", fit="again")

    assert world.champions("2006-Q1") == [2]
    assert world.registry.successor(kept, later).version == 4
    nobody = parse("2005-Q1", Frequency.QUARTERLY)
    assert world.registry.successor(kept, nobody) == kept


def test_before_anything_was_scored_it_counts_from_the_next_partition_of_the_model(
    world: World,
) -> None:
    assert world.roll_back(1).version == 1
    assert world.champions("2005-Q2", "2005-Q3", "2005-Q4") == [1, 2, 1]


def test_of_a_model_that_was_trained_later_than_anything_was_scored(world: World) -> None:
    world.score("2005-Q2", 1)
    world.roll_back()
    assert world.champions("2005-Q2", "2005-Q3", "2005-Q4") == [1, 2, 2]
    assert [entry.partition for entry in ledger.entries(world.lake, "rollback")] == ["2005-Q3"]


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (None, "since a rollback already: nothing changed. Name a version to go back further"),
        (2, "Version 2 is in use already: nothing changed."),
    ],
)
def test_twice_changes_nothing_and_says_so(world: World, number: int | None, why: str) -> None:
    world.roll_back()
    before = world.told()
    again = world.roll_back(number, replace(ASKED, dag_run_id="manual__2"))
    assert (again.version, again.changed) == (2, False)
    assert why in again.told
    assert world.told() == before


def test_to_what_is_in_use_changes_nothing(world: World) -> None:
    done = world.roll_back(3)
    assert (done.version, done.changed) == (3, False)
    assert done.told == "Version 3 is in use already: nothing changed."
    assert world.told() == []


def test_further_back_and_forward_again_by_number(world: World) -> None:
    for number, version in enumerate((2, 1, 3), 2):
        world.roll_back(version, replace(ASKED, dag_run_id=f"manual__{number}"))
        assert world.alias == str(version)
    assert world.champions("2006-Q1") == [3]


def break_down(world: World, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Let a first rollback be killed at a call."""
    if call == "record":
        monkeypatch.setattr(ledger, "record", create_autospec(ledger.record, side_effect=OSError))
    elif call == "restore":
        broken = create_autospec(world.registry.restore, side_effect=OSError)
        monkeypatch.setattr(world.registry, "restore", broken)
    else:
        world.tracking.client.set_registered_model_alias.side_effect = OSError
    with pytest.raises(OSError):  # noqa: PT011
        world.roll_back()
    world.tracking.client.set_registered_model_alias.side_effect = None
    monkeypatch.undo()


@pytest.mark.parametrize("call", ["record", "alias"])
@pytest.mark.parametrize("number", [None, 2])
def test_a_run_that_failed_half_way_is_finished_by_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str, number: int | None
) -> None:
    """It scores by then, so the next one finds nothing to go back from."""
    break_down(world, monkeypatch, call)
    again = world.roll_back(number, replace(ASKED, dag_run_id="manual__2"))
    assert not again.changed
    assert world.alias == "2"
    assert [partition for partition, _ in world.told()] == ["event", "2005-Q3"]
    (entry,) = ledger.entries(world.lake, "rollback")
    assert entry.dag_run_id == ASKED.dag_run_id


def test_a_run_id_that_comes_back_with_another_wish_is_another_run(world: World) -> None:
    world.roll_back()
    assert world.roll_back(1, why="worse still").version == 1
    assert (world.alias, len(ledger.entries(world.lake, "rollback"))) == ("1", 2)


def test_what_came_into_use_since_it_was_asked_for_is_not_gone_back_from(world: World) -> None:
    """A run may wait for its turn, or be cleared weeks later."""
    with pytest.raises(RegistryError, match=r"got version 3, in use since .* ask again if it"):
        world.roll_back(asked_at=datetime(2020, 1, 1))
    assert world.told() == []


def test_a_version_whose_training_was_cleared_and_made_another(
    world: World, version: ModelVersion
) -> None:
    world.score("2005-Q4", 3)
    world.train(version, "2005-Q3", "train_3", fit="from corrected data")
    assert world.champions("2006-Q1") == [4]
    done = world.roll_back()
    assert (done.version, done.instead_of) == (3, 4)


def test_it_is_not_judged_against_itself(world: World) -> None:
    world.roll_back()
    as_of = parse("2005-Q2", Frequency.QUARTERLY)
    incumbent = world.registry.incumbent(as_of, replace(TRAIN, dag_run_id="train_2"))
    assert incumbent is not None
    assert incumbent.version == 1


def test_a_verdict_of_before_a_rollback_promotes_nobody(
    world: World, version: ModelVersion
) -> None:
    """An approval may take days."""
    world.score("2005-Q4", 3)
    as_of = parse("2005-Q4", Frequency.QUARTERLY)
    origin = replace(TRAIN, dag_run_id="train_4")

    def carry_out() -> int | None:
        return carry(world.lake, world.registry, world.pipeline, as_of, origin)[0]

    made = replace(version, pipeline=world.lake.pipeline, partition="2005-Q4", run_id="train_4")
    number = world.registry.register(made, "models:/m", origin).version
    for champion in (3, 2):
        evidence = {"challenger": number, "champion": champion}
        ledger.record(world.lake, "promotion", "2005-Q4", "promoted", "better", origin=origin,
                      evidence=evidence)  # fmt: skip
        if champion == 3:
            world.roll_back()
            with pytest.raises(TrainingError, match="one in use, version 2, got a verdict against"):
                carry_out()
            assert world.alias == "2"
    assert carry_out() == 4
    assert world.alias == "4"
    world.roll_back(2, replace(ASKED, dag_run_id="manual__2"))
    assert carry_out() == 4  # cleared alone: what was decided since stays
    assert world.alias == "2"


@pytest.mark.parametrize("call", ["restore", "alias", "record"])
def test_a_run_that_is_killed_and_tried_again_does_it_once(
    world: World, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Killed before, between and after each of its writes; also after somebody else's rollback."""
    break_down(world, monkeypatch, call)
    done = world.roll_back()
    once = world.told()
    assert (done.version, done.instead_of, world.alias) == (2, 3, "2")
    assert len(once) == 2

    world.roll_back(1, replace(ASKED, dag_run_id="manual__2"))
    then = world.told()
    cleared = world.roll_back()
    assert cleared.told.endswith("Since then version 1 came into use.")
    assert world.told() == then
    assert world.alias == "1"


def test_a_later_training_takes_over_again(world: World, version: ModelVersion) -> None:
    world.score("2005-Q4", 3)
    world.roll_back()
    as_of = parse("2006-Q1", Frequency.QUARTERLY)
    incumbent = world.registry.incumbent(as_of, replace(TRAIN, dag_run_id="train_4"))
    assert incumbent is not None
    assert incumbent.version == 2
    world.train(version, "2006-Q1", "train_4")
    assert world.champions("2005-Q4", "2006-Q1", "2006-Q2") == [3, 2, 4]
    done = world.roll_back(origin=replace(ASKED, dag_run_id="manual__2"))
    assert (done.version, done.instead_of) == (2, 4)


def test_a_late_training_does_not(world: World, version: ModelVersion) -> None:
    world.score("2005-Q4", 3)
    world.roll_back()
    world.train(version, "2005-Q2", "late")
    assert world.champions("2006-Q1") == [2]
    assert world.alias == "2"


def test_clearing_its_training_takes_back_nothing_that_a_person_decided(world: World) -> None:
    world.roll_back()
    as_of = parse("2005-Q2", Frequency.QUARTERLY)
    world.registry.take_back(as_of, "refused after all", replace(TRAIN, dag_run_id="train_2"))
    assert world.champions("2006-Q1") == [2]
    world.registry.promote(3, as_of.shift(1), "better", replace(TRAIN, dag_run_id="train_3"))
    assert world.champions("2006-Q1") == [2]


def test_the_version_before_one_that_was_taken_back(world: World) -> None:
    as_of = parse("2005-Q2", Frequency.QUARTERLY)
    world.registry.take_back(as_of, "refused after all", replace(TRAIN, dag_run_id="train_2"))
    assert world.roll_back().version == 1


def test_a_promotion_at_the_same_moment_is_not_rolled_back(
    world: World, version: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = world.registry.restore

    def after_another(*arguments: Any, **named: Any) -> Any:
        world.train(version, "2005-Q4", "train_4")
        return restore(*arguments, **named)

    monkeypatch.setattr(
        world.registry, "restore", create_autospec(restore, side_effect=after_another)
    )
    with pytest.raises(RegistryError, match=r"3 must still be in use, got version 4 at the same"):
        world.roll_back()
    assert world.told() == []
    assert world.alias == "4"


class TestRefused:
    """Nothing changes, and the message says what to do."""

    @pytest.fixture(autouse=True)
    def _nothing_changes(self, world: World) -> Any:
        yield
        assert world.told() == []
        assert world.alias == "3"

    def test_a_version_that_was_never_in_use(self, world: World) -> None:
        with pytest.raises(RegistryError, match=r"one of 1, 2, 3, got 9, which was never in use"):
            world.roll_back(9)

    def test_a_version_that_was_taken_back(self, world: World) -> None:
        as_of = parse("2005-Q2", Frequency.QUARTERLY)
        world.registry.take_back(as_of, "no", replace(TRAIN, dag_run_id="train_2"))
        with pytest.raises(RegistryError, match=r"one of 1, 3, got 2, which was taken back"):
            world.roll_back(2)

    @pytest.mark.parametrize("name", [MODEL, REFERENCE])
    def test_files_that_are_not_those_that_were_registered(self, world: World, name: str) -> None:
        store, (uri, _) = ObjectStore(world.lake.settings), world.registry.get(2).files[name]
        data = store.read(uri)
        # The fitted model of this process is verified once only.
        moved = json.loads(json.dumps(world.registry.get(2).to_dict()))
        moved["files"][name] = [f"{uri}-tampered", moved["files"][name][1]]
        store.write(f"{uri}-tampered", data + b"x", "application/octet-stream")
        tampered = ModelVersion.from_dict(moved)
        world.registry.get = create_autospec(  # type: ignore[method-assign]
            world.registry.get, side_effect=lambda number: tampered
        )
        with pytest.raises(RegistryError, match="SHA-256 must be"):
            world.roll_back(2)

    def test_features_that_the_table_does_not_have_any_more(self, world: World) -> None:
        real = world.registry.get
        world.registry.get = create_autospec(  # type: ignore[method-assign]
            real, side_effect=lambda number: replace(real(number), numeric=("x", "gone"))
        )
        with pytest.raises(RegistryError, match=r"got none named gone. Choose another version"):
            world.roll_back()

    def test_a_version_that_was_deleted_in_mlflow(self, world: World) -> None:
        world.tracking.client.get_model_version.side_effect = MlflowException(
            "no", RESOURCE_DOES_NOT_EXIST
        )
        with pytest.raises(RegistryError, match="version 2 must be registered in MLflow, got none"):
            world.roll_back()

    def test_mlflow_that_does_not_answer_is_tried_again(self, world: World) -> None:
        world.tracking.client.get_model_version.side_effect = RestException(
            {"error_code": "INTERNAL_ERROR", "message": str(INTERNAL_ERROR)}
        )
        with pytest.raises(MlflowException):
            world.roll_back()


def test_without_a_model_there_is_nothing_to_roll_back(
    lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion
) -> None:
    registry = Registry(lake, create_autospec(Tracking, instance=True))
    with pytest.raises(RegistryError, match=r"must be in use, got none. Trigger .*_train first"):
        roll_back(lake, registry, make_pipeline(), None, "why", "Ada", LATER, ASKED)


def test_nor_before_the_first_one(world: World) -> None:
    world.roll_back(1)
    fresh = replace(ASKED, dag_run_id="manual__2")
    assert not world.roll_back(None, fresh).changed
    only = [row for row in world.registry.events() if row["version"] == 1]
    world.registry.events = create_autospec(  # type: ignore[method-assign]
        world.registry.events, return_value=only[:2]
    )
    with pytest.raises(RegistryError, match="must have been in use before version 1, got none"):
        world.roll_back(None, fresh)


def test_the_decisions_and_the_history_tell_it(world: World) -> None:
    world.score("2005-Q4", 3)
    world.roll_back()
    (decision,) = decisions(world.lake)
    assert (decision.about, decision.decision, decision.champion) == (
        "rollback", "rolled back", "v3 -> v2",
    )  # fmt: skip
    told = [(item.what, item.partition, item.outcome, item.who) for item in history(world.lake)]
    assert told == [
        ("champion", "2005-Q1", "none -> v1 from 2005-Q2 on", "train_1"),
        ("champion", "2005-Q2", "v1 -> v2 from 2005-Q3 on", "train_2"),
        ("champion", "2005-Q3", "v2 -> v3 from 2005-Q4 on", "train_3"),
        ("champion", "2005-Q4", "v3 -> v2 from 2006-Q1 on", "manual__1"),
        ("rollback", "2005-Q4", "rolled back", "Ada"),
    ]
