"""Who was champion when: events that nothing later changes, and an alias that follows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import call, create_autospec

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.calendar.partitions import Frequency, Partition, parse, snapshot
from include.errors import RegistryError
from include.registry.champions import PROFILES, TABLE, Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import MODEL, ModelVersion
from include.storage import event_tables
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


@pytest.fixture
def tracking() -> Any:
    """An MLflow experiment that gives version numbers 1, 2, ... and records alias calls."""
    fake = create_autospec(Tracking, instance=True)
    fake.client = create_autospec(MlflowClient, instance=True)
    held: list[Mapping[str, str]] = []

    def add(model_uri: str, tags: Mapping[str, str]) -> int:
        held.append(tags)
        return len(held)

    fake.register.side_effect = add
    fake.versions.side_effect = lambda run_id, tags: [
        number for number, given in enumerate(held, 1) if tags.items() <= given.items()
    ]
    fake.held = held
    return fake


@pytest.fixture
def registry(lake: Lake, tracking: Any) -> Registry:
    return Registry(lake, tracking)


def model(partition: str = "2004-Q4", **changed: Any) -> ModelVersion:
    made = ModelVersion(
        pipeline="p",
        version=0,
        partition=partition,
        run_id=f"run of {partition}",
        candidate="logistic_regression",
        numeric=("x",),
        categorical=("c",),
        files={MODEL: (f"s3://lake/m/{partition}", "00")},
        training_set={"reference": {"version": 3}, "train": ("2004-Q3",), "holdout": ["2004-Q4"]},
    )
    return replace(made, **changed)


def register(registry: Registry, origin: Origin, partition: str = "2004-Q4") -> ModelVersion:
    return registry.register(model(partition), "models:/m-1", origin)


def promoted(registry: Registry, origin: Origin, *partitions: str) -> None:
    """Train and promote a version as of each partition, in this order; each in a run of its own.

    The last one is of the run of ``origin``.
    """
    for number, name in enumerate(partitions, 1 - len(partitions)):
        run = replace(origin, dag_run_id=f"{origin.dag_run_id}{number or ''}")
        version = registry.register(model(name, run_id=f"{name} of {number}"), "models:/m", run)
        registry.promote(version.version, quarter(name), "better", run)


def champions(registry: Registry, *partitions: str) -> list[int | None]:
    found = [registry.champion_as_of(quarter(name)) for name in partitions]
    return [None if item is None else item.version for item in found]


def aliases(tracking: Any) -> list[Any]:
    return list(tracking.client.set_registered_model_alias.call_args_list)


def events(lake: Lake) -> Counter[tuple[str, int]]:
    return Counter((row["event"], row["version"]) for row in lake.read(TABLE).to_pylist())


class TestRegister:
    def test_the_version_gets_its_number(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        version = register(registry, origin)
        assert version.version == 1
        assert registry.get(1) == version
        ((uri, tags),) = [call.args for call in tracking.register.call_args_list]
        assert uri == "models:/m-1"
        assert tags["relevo.partition"] == "2004-Q4"
        assert tags["relevo.candidate"] == "logistic_regression"

    def test_a_retry_finds_the_version_of_its_run(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        first = register(registry, origin)
        assert register(registry, origin) == first
        tracking.register.assert_called_once()
        assert events(registry.lake) == {("registered", 1): 1}

    def test_the_same_training_set_built_again_is_the_same_version(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        first = register(registry, origin)
        rebuilt = {**model().training_set, "reference": {"version": 4}}
        again = registry.register(model(training_set=rebuilt), "models:/m-1", origin)
        assert again == first
        tracking.register.assert_called_once()

    @pytest.mark.parametrize(
        "changed",
        [
            {"run_id": "another fit"},
            {"files": {MODEL: ("s3://lake/m/2004-Q4", "01")}},
            {"training_set": {"train": ["2004-Q3"], "holdout": ["2005-Q1"]}},
        ],
    )
    def test_another_content_is_another_version(
        self, registry: Registry, tracking: Any, origin: Origin, changed: Any
    ) -> None:
        first = register(registry, origin)
        second = registry.register(model(**changed), "models:/m-2", origin)
        assert (first.version, second.version) == (1, 2)
        assert register(registry, origin) == first

    def test_killed_between_mlflow_and_the_table(
        self, registry: Registry, tracking: Any, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            registry, "_append", create_autospec(registry._append, side_effect=OSError)
        )
        with pytest.raises(OSError):  # noqa: PT011
            register(registry, origin)
        monkeypatch.undo()
        assert register(registry, origin).version == 1
        tracking.register.assert_called_once()

    def test_of_two_that_register_at_once_the_first_counts(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        add = tracking.register.side_effect

        def add_after_another(model_uri: str, tags: Mapping[str, str]) -> int:
            add(model_uri, tags)
            return int(add(model_uri, tags))

        tracking.register.side_effect = add_after_another
        assert register(registry, origin).version == 1
        tracking.client.delete_model_version.assert_called_once_with(registry.lake.pipeline, "2")

    def test_a_version_that_was_never_registered(self, registry: Registry) -> None:
        with pytest.raises(RegistryError, match=r"version 9 must be registered, got none"):
            registry.get(9)


class TestPromote:
    def test_it_is_in_use_from_the_next_partition_on(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        assert champions(registry, "2004-Q3", "2004-Q4", "2005-Q1", "2009-Q1") == [
            None,
            None,
            1,
            1,
        ]
        assert registry.is_promoted(1)
        assert not registry.is_promoted(2)
        assert aliases(tracking) == [call(registry.lake.pipeline, "champion", "1")]

    def test_a_later_promotion_does_not_change_the_past(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4", "2005-Q2")
        assert champions(registry, "2004-Q4", "2005-Q1", "2005-Q2", "2005-Q3") == [None, 1, 1, 2]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "2")

    def test_training_about_the_past_does_not_take_the_alias(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2005-Q3", "2005-Q1")
        assert champions(registry, "2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4") == [None, 2, 2, 1]
        assert [item.args[2] for item in aliases(tracking)] == ["1", "1"]

    def test_of_two_for_one_partition_the_later_counts(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, origin, "2005-Q1", "2005-Q1")
        assert champions(registry, "2005-Q2") == [2]

    def test_twice_is_one_event_and_mends_the_alias(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        version = register(registry, origin)
        tracking.client.set_registered_model_alias.side_effect = [ConnectionError, None]
        with pytest.raises(ConnectionError):
            registry.promote(version.version, quarter("2004-Q4"), "better", origin)
        assert registry.promote(version.version, quarter("2004-Q4"), "better", origin) == version
        assert events(registry.lake) == {("registered", 1): 1, ("promoted", 1): 1}
        assert aliases(tracking) == [call(registry.lake.pipeline, "champion", "1")] * 2
        tracking.client.delete_registered_model_alias.assert_not_called()

    def test_a_version_that_was_rolled_back_hands_over_to_the_one_before(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, replace(origin, dag_run_id="train_1"), "2004-Q4")
        promoted(registry, origin, "2005-Q2")
        assert registry.take_back(quarter("2005-Q2"), "refused after all", origin) == (2,)
        assert champions(registry, "2005-Q2", "2005-Q3", "2006-Q1") == [1, 1, 1]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "1")
        assert not registry.is_promoted(2)

        promoted(registry, origin, "2005-Q4")
        assert champions(registry, "2005-Q4", "2006-Q1") == [1, 3]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "3")

    def test_taken_back_and_promoted_again(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        for _ in range(2):
            assert registry.take_back(quarter("2004-Q4"), "no", origin) == (1,)
            assert registry.take_back(quarter("2004-Q4"), "no", origin) == ()
            assert champions(registry, "2005-Q1") == [None]
            registry.promote(1, quarter("2004-Q4"), "yes", origin)
            assert champions(registry, "2004-Q4", "2005-Q1") == [None, 1]
        assert events(registry.lake)["promoted", 1] == 3
        keys = [row["key"] for row in registry.lake.read(TABLE).to_pylist()]
        assert sorted(keys) == [
            "promoted/1",
            "promoted/1#2",
            "promoted/1#3",
            "registered/1",
            "rolled_back/1",
            "rolled_back/1#2",
        ]

    def test_without_a_champion_the_alias_goes(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        # Killed between event and alias: the retry mends it.
        tracking.client.delete_registered_model_alias.side_effect = [ConnectionError, None]
        with pytest.raises(ConnectionError):
            registry.take_back(quarter("2004-Q4"), "no", origin)
        registry.take_back(quarter("2004-Q4"), "no", origin)
        tracking.client.delete_registered_model_alias.assert_called_with(
            registry.lake.pipeline, "champion"
        )

    def test_only_what_the_run_itself_put_in_use_is_taken_back(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, replace(origin, dag_run_id="train_1"), "2004-Q4")
        assert registry.take_back(quarter("2004-Q4"), "no", origin) == ()
        assert champions(registry, "2005-Q1") == [1]

    def test_another_version_of_a_run_takes_the_place_of_its_first(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        second = registry.register(model(run_id="fitted anew"), "models:/m-2", origin)
        registry.promote(second.version, quarter("2004-Q4"), "better data", origin)
        assert champions(registry, "2005-Q1") == [2]
        assert not registry.is_promoted(1)
        assert registry.take_back(quarter("2004-Q4"), "no", origin) == (2,)
        assert champions(registry, "2005-Q1") == [None]

    def test_the_order_is_that_of_the_events_and_not_of_clocks(
        self, registry: Registry, origin: Origin, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runs = [replace(origin, dag_run_id=f"train_{number}") for number in (1, 2)]
        versions = [register(registry, run, f"2004-Q{at}") for at, run in enumerate(runs, 1)]
        clock = create_autospec(datetime)
        clock.now.side_effect = [datetime(2030, 1, 1, tzinfo=UTC), datetime(2001, 1, 1, tzinfo=UTC)]
        monkeypatch.setattr(event_tables, "datetime", clock)
        for run, version in zip(runs, versions, strict=True):
            registry.promote(version.version, quarter("2004-Q4"), "better", run)
        monkeypatch.undo()
        assert champions(registry, "2005-Q1") == [2]


class TestWhatIsScoredStays:
    """Promotions and what takes them back change no champion of a partition that was scored."""

    def test_a_late_training_counts_for_partitions_that_nobody_scored(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        scored(registry, origin, "2005-Q1", "2005-Q2", "2005-Q4")
        promoted(registry, replace(origin, dag_run_id="late"), "2005-Q1")
        names = ("2005-Q1", "2005-Q2", "2005-Q3", "2005-Q4", "2006-Q1")
        assert champions(registry, *names) == [1, 1, 2, 1, 2]

    def test_nor_does_it_take_over_from_a_later_training(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4", "2005-Q3")
        promoted(registry, replace(origin, dag_run_id="late"), "2005-Q1")
        assert champions(registry, "2005-Q1", "2005-Q2", "2005-Q4", "2006-Q1") == [1, 3, 2, 2]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "2")

    def test_a_history_that_is_made_up_for_has_its_own_champions(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, origin, "2005-Q4")
        scored(registry, origin, "2006-Q1", "2006-Q2")
        # Scored to measure it, and by no run of its own.
        predictions = pa.table({"id": ["a"], "partition": ["2005-Q4"]})
        registry.lake.write("predictions", predictions, partitions=["2005-Q4"], origin=origin)
        promoted(registry, replace(origin, dag_run_id="backfilled"), "2004-Q4")
        assert champions(registry, "2005-Q1", "2005-Q4", "2006-Q1", "2006-Q3") == [2, 2, 1, 1]

    def test_what_a_champion_scored_stays_its_when_it_is_taken_back(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        promoted(registry, replace(origin, dag_run_id="train_1"), "2004-Q4")
        promoted(registry, origin, "2005-Q1")
        scored(registry, origin, "2005-Q1", "2005-Q2")
        assert registry.take_back(quarter("2005-Q1"), "refused after all", origin) == (2,)
        assert champions(registry, "2005-Q1", "2005-Q2", "2005-Q3") == [1, 2, 1]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "1")
        registry.promote(2, quarter("2005-Q1"), "accepted again", origin)
        assert champions(registry, "2005-Q1", "2005-Q2", "2005-Q3") == [1, 2, 2]

    def test_what_its_first_version_scored_stays_its_when_another_takes_its_place(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4")
        scored(registry, origin, "2005-Q1")
        second = registry.register(model(run_id="fitted anew"), "models:/m-2", origin)
        registry.promote(second.version, quarter("2004-Q4"), "better data", origin)
        assert champions(registry, "2005-Q1", "2005-Q2") == [1, 2]


class TestIncumbent:
    """Whose place a new version would take."""

    def test_it_is_the_latest_trained_but_for_later_ones(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, replace(origin, dag_run_id="t"), "2004-Q4", "2005-Q2")
        for name, expected in (("2004-Q3", None), ("2005-Q1", 1), ("2005-Q2", 2), ("2006-Q1", 2)):
            found = registry.incumbent(quarter(name), origin)
            assert (found and found.version) == expected, name

    def test_what_the_run_itself_put_in_use_is_not(
        self, registry: Registry, origin: Origin
    ) -> None:
        promoted(registry, origin, "2004-Q4", "2005-Q1")
        found = registry.incumbent(quarter("2005-Q1"), origin)
        assert found is not None
        assert found.version == 1

    def test_nor_what_was_taken_back(self, registry: Registry, origin: Origin) -> None:
        promoted(registry, origin, "2004-Q4")
        registry.take_back(quarter("2004-Q4"), "no", origin)
        assert registry.incumbent(quarter("2005-Q1"), origin) is None


def test_a_run_id_that_comes_back_takes_back_nothing_of_the_first(
    registry: Registry, origin: Origin
) -> None:
    promoted(registry, origin, "2004-Q4")
    assert registry.take_back(quarter("2006-Q4"), "refused", origin) == ()
    assert champions(registry, "2007-Q1") == [1]


def test_of_two_that_promote_at_once_the_alias_ends_where_the_events_lead(
    registry: Registry, tracking: Any, origin: Origin
) -> None:
    for name in ("2004-Q4", "2005-Q1"):
        register(registry, replace(origin, dag_run_id=name), name)
    alias = []

    def move(name: str, what: str, version: str) -> None:
        if not alias:
            alias.append("")
            registry.promote(2, quarter("2005-Q1"), "better", replace(origin, dag_run_id="other"))
        alias.append(version)

    tracking.client.set_registered_model_alias.side_effect = move
    registry.promote(1, quarter("2004-Q4"), "better", origin)
    assert alias[-1] == "2"


def test_a_number_that_mlflow_gives_again_is_refused(
    registry: Registry, tracking: Any, origin: Origin
) -> None:
    register(registry, origin)
    tracking.held.clear()  # restored from an older backup, or deleted
    with pytest.raises(RegistryError, match=r"must have a new number, got 1, .* from one backup"):
        registry.register(model("2006-Q1", run_id="new"), "models:/new", origin)
    assert registry.get(1).partition == "2004-Q4"


def scored(registry: Registry, origin: Origin, *partitions: str) -> None:
    """Leave the profile that the own run of a partition writes."""
    for name in partitions:
        champion = registry.require_champion(quarter(name)).version
        profile = pa.table({"model_version": [champion], "partition": [name]})
        registry.lake.write(PROFILES, profile, partitions=[name], origin=origin)


def test_a_champion_is_required_with_what_to_do(registry: Registry, origin: Origin) -> None:
    name = registry.lake.pipeline
    with pytest.raises(RegistryError) as caught:
        registry.require_champion(quarter("2005-Q1"))
    assert str(caught.value) == (
        f"model {name}: a champion must be in use for 2005-Q1, got none. "
        f"Trigger {name}_train with {{'partition': '2004-Q4'}} first."
    )
    promoted(registry, origin, "2004-Q4")
    assert registry.require_champion(quarter("2005-Q1")).version == 1


def test_a_reader_of_events_needs_no_mlflow(registry: Registry, origin: Origin) -> None:
    promoted(registry, origin, "2004-Q4")
    reader = Registry(registry.lake)
    assert champions(reader, "2005-Q1") == [1]
    with pytest.raises(RegistryError, match="this call needs MLflow"):
        reader.tracking_or_fail()


def test_before_the_first_snapshot_there_is_nothing_to_train_as_of(lake: Any) -> None:
    with pytest.raises(RegistryError, match="_train first; the next snapshot is then scored"):
        Registry(lake).require_champion(snapshot(1))
