"""Who was champion when: events that nothing later changes, and an alias that follows them."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest.mock import call, create_autospec

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.calendar.partitions import Frequency, Partition, parse, snapshot
from include.errors import RegistryError
from include.registry.champions import TABLE, Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import MODEL, ModelVersion
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


def quarter(name: str) -> Partition:
    return parse(name, Frequency.QUARTERLY)


@pytest.fixture
def tracking() -> Any:
    """An MLflow experiment that gives version numbers 1, 2, ... and records alias calls."""
    fake = create_autospec(Tracking, instance=True)
    fake.client = create_autospec(MlflowClient, instance=True)
    fake.client.search_model_versions.return_value = []
    fake.register.side_effect = range(1, 100)
    return fake


@pytest.fixture
def registry(lake: Lake, tracking: Any) -> Registry:
    return Registry(lake, tracking)


def register(registry: Registry, origin: Origin, partition: str = "2004-Q4") -> ModelVersion:
    model = ModelVersion(
        pipeline=registry.lake.pipeline,
        version=0,
        partition=partition,
        run_id=f"run of {partition}",
        candidate="logistic_regression",
        numeric=("x",),
        categorical=("c",),
        files={MODEL: ("s3://lake/m", "00")},
        training_set={"train": ["2004-Q3"], "holdout": ["2004-Q4"]},
    )
    return registry.register(model, "models:/m-1", origin)


def promoted(registry: Registry, origin: Origin, *partitions: str) -> None:
    """Train and promote a version as of each partition, in this order."""
    for name in partitions:
        version = register(registry, origin, name)
        registry.promote(version.version, quarter(name), "better", origin)


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
        tracking.register.assert_called_once_with(
            "models:/m-1",
            {"relevo.partition": "2004-Q4", "relevo.candidate": "logistic_regression"},
        )

    def test_a_retry_finds_the_version_of_its_run(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        first = register(registry, origin)
        tracking.client.search_model_versions.return_value = [SimpleNamespace(version="1")]
        assert register(registry, origin) == first
        tracking.register.assert_called_once()
        tracking.client.search_model_versions.assert_called_with("run_id = 'run of 2004-Q4'")
        assert events(registry.lake) == {("registered", 1): 1}

    def test_killed_between_mlflow_and_the_table(
        self, registry: Registry, tracking: Any, origin: Origin
    ) -> None:
        tracking.client.search_model_versions.return_value = [SimpleNamespace(version="4")]
        assert register(registry, origin).version == 4
        tracking.register.assert_not_called()

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
        promoted(registry, origin, "2004-Q4", "2005-Q2")
        row = {
            "key": "rolled_back/2",
            "event": "rolled_back",
            "version": 2,
            "partition": "2005-Q4",
            "reason": "wrong",
            "recorded_at": datetime.now(UTC).replace(tzinfo=None),
        }
        schema = registry.lake.read(TABLE).schema
        registry.lake.append(TABLE, pa.Table.from_pylist([row], schema=schema), origin=origin)
        assert champions(registry, "2005-Q2", "2005-Q3", "2006-Q1") == [1, 1, 1]

        promoted(registry, origin, "2005-Q4")
        assert champions(registry, "2005-Q4", "2006-Q1") == [1, 3]
        assert aliases(tracking)[-1] == call(registry.lake.pipeline, "champion", "3")


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
