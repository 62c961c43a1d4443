"""Retiring a pipeline: on record first, once, whoever is killed, and undone without a trace."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import create_autospec
from zipfile import ZipFile

import pyarrow as pa
import pytest
from mlflow import MlflowClient

from include.errors import HeldBackError, RegistryError, RetiredError, TableError
from include.registry import retirement as registered
from include.registry import succession
from include.registry.champions import CHAMPION, RETIRED_TAG, Registry
from include.registry.mlflow_runs import Tracking
from include.registry.model_files import ModelVersion, put_file
from include.reports.decisions_page import decisions, render_decisions
from include.reports.history import history
from include.specification.pipeline import Pipeline
from include.steps import retirement, retirement_archive, training_course
from include.steps.interventions import Done
from include.steps.retirement import follow, reinstate, renew_archive, retire
from include.steps.retirement_archive import Archive, demand_archive, recorded
from include.storage import ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from tests.library.steps.test_interventions import AS_OF, Hand
from tests.library.steps.test_rollback import LATER, TRAIN

DAYS = 90


class Ending(Hand):
    """A pipeline that somebody retires: version 1 is in use, version 2 waits for its verdict."""

    def __init__(self, lake: Lake, pipeline: Pipeline, version: ModelVersion) -> None:
        self.lake, self.pipeline = lake, pipeline
        self.tracking = create_autospec(Tracking, instance=True)
        self.tracking.client = create_autospec(MlflowClient, instance=True)
        self.registry = Registry(lake, self.tracking)
        self._asked: dict[Origin, datetime] = {}
        rows = pa.table({"x": [1.0], "partition": ["2005-Q3"]})
        lake.write("features", rows, partitions=["2005-Q3"], origin=TRAIN)
        self.challenger = 2
        for number, partition in ((1, "2005-Q3"), (2, str(AS_OF))):
            self.register(number, replace(version, partition=partition))
        self.registry._append("promoted", 1, "2005-Q3", "2005-Q4", "better", {}, TRAIN)
        self.score("2005-Q4", 1)

    def register(self, number: int, version: ModelVersion) -> None:
        made = replace(version, pipeline=self.lake.pipeline, version=number, run_id=f"run {number}")
        self.registry._append("registered", number, made.partition, "", "", made.to_dict(), TRAIN)

    def retire(self, run: str = "manual__1", why: str = "no product", days: int = DAYS) -> Done:
        origin = Origin("platform_retire", run, "retire")
        at = self.asked_at(origin)
        return retire(self.lake, self.registry, days, why, "Ada", at, origin)

    def undo(self, run: str = "manual__2", why: str = "it comes back") -> Done:
        origin = Origin("platform_retire", run, "retire")
        return reinstate(self.lake, self.registry, why, "Bob", self.asked_at(origin), origin)

    def follow(self) -> Archive | None:
        return follow(self.lake, self.registry)

    def kept(self) -> list[str]:
        folder = registered.folder(self.lake.pipeline)
        found = ObjectStore(self.lake.settings).list(folder)
        return [item.uri.removeprefix(f"{folder}/") for item in found]

    def told(self) -> list[tuple[str, str]]:
        return [(e.decision, e.reason) for e in ledger.entries(self.lake, "retirement")]


@pytest.fixture
def ending(lake: Lake, make_pipeline: Callable[..., Pipeline], version: ModelVersion) -> Ending:
    return Ending(lake, make_pipeline(), version)


def opened(ending: Ending) -> ZipFile:
    archive = demand_archive(ending.lake)
    return ZipFile(io.BytesIO(ObjectStore(ending.lake.settings).read(archive.uri)))


class TestRetire:
    def test_who_when_why_and_until_when_is_on_record(self, ending: Ending) -> None:
        done = ending.retire()
        name = ending.lake.pipeline
        assert done.changed
        assert done.told.startswith(
            f"Pipeline {name} is retired: nothing of it runs, version 1 is out of use, and its "
            "tables stay until "
        )
        assert done.told.endswith(" UTC. Ada: no product")
        ((decision, reason),) = ending.told()
        assert (decision, reason) == ("retired", done.told)
        (entry,) = ledger.entries(ending.lake, "retirement")
        until = datetime.fromisoformat(entry.evidence["until"])
        assert abs(until - entry.recorded_at - timedelta(days=DAYS)) < timedelta(seconds=5)
        assert (entry.evidence["champion"], entry.evidence["restored"]) == (1, None)
        item = next(item for item in decisions(ending.lake) if item.about == "retirement")
        assert item.champion == "v1 -> none"
        lines = [(item.what, item.outcome, item.who) for item in history(ending.lake)][-2:]
        assert sorted(lines) == [
            ("champion", "v1 -> none", "manual__1"),
            ("retirement", "retired", "Ada"),
        ]
        page = render_decisions(ending.lake)
        assert "by Ada: no product" in page
        assert ">retired</span>" in page

    def test_the_past_stays_readable_and_the_alias_goes(self, ending: Ending) -> None:
        before = ending.champions("2005-Q2", "2005-Q3", "2005-Q4", "2006-Q1")
        ending.retire()
        ending.follow()
        assert ending.champion is None
        assert ending.champions("2005-Q2", "2005-Q3", "2005-Q4", "2006-Q1") == before
        client, name = ending.tracking.client, ending.lake.pipeline
        client.delete_registered_model_alias.assert_called_once_with(name, CHAMPION)
        (call,) = client.set_registered_model_tag.call_args_list
        assert call.args[:2] == (name, RETIRED_TAG)
        assert "by Ada: no product" in call.args[2]

    def test_twice_changes_nothing(self, ending: Ending) -> None:
        first = ending.retire()
        assert ending.retire() == first
        again = ending.retire("manual__9", "another reason", days=1)
        assert not again.changed
        assert again.told.startswith("The pipeline is retired since ")
        assert again.told.endswith(": nothing changed.")
        assert [decision for decision, _ in ending.told()] == ["retired"]
        assert ending.follow() == ending.follow()

    def test_what_is_not_there_cannot_be_retired(self, ending: Ending) -> None:
        ending.lake = Lake(ending.lake.settings, f"{ending.lake.pipeline}x")
        with pytest.raises(TableError, match=r"must have tables to be retired, got none\."):
            ending.retire()
        assert not ending.kept()

    def test_a_pipeline_that_was_never_trained(self, lake: Lake, origin: Origin) -> None:
        registry, at = Registry(lake), datetime.now(UTC).replace(tzinfo=None)
        ledger.record(lake, "retraining", "2005-Q1", "no", "nothing moved", origin=origin)
        asked = Origin("platform_retire", "manual__1", "retire")
        done = retire(lake, registry, 1, "a trial", "Ada", at, asked)
        assert ": nothing of it runs, and its tables stay until" in done.told
        tracking = registry.tracking = create_autospec(Tracking, instance=True)
        tracking.has_model.return_value = False
        tracking.client = create_autospec(MlflowClient, instance=True)
        assert follow(lake, registry) == recorded(lake)
        assert recorded(lake) is not None
        tracking.client.set_registered_model_tag.assert_not_called()

    def test_a_frozen_champion_is_not_taken_out_of_use(self, ending: Ending) -> None:
        ending.freeze()
        with pytest.raises(
            RegistryError, match="must not be frozen for its pipeline to be retired"
        ):
            ending.retire()
        assert not ending.told()
        # What was kept of the file before is no sign that it is retired.
        assert ending.registry.retired() == ""
        ending.registry.demand_in_service()

    def test_of_two_at_one_moment_the_first_counts(
        self, ending: Ending, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ending.interrupt(monkeypatch, lambda: ending.retire("manual__8", "first"))
        second = ending.retire()
        assert not second.changed
        assert [reason.rpartition(": ")[2] for _, reason in ending.told()] == ["first"]

    def test_a_promotion_that_comes_second_is_held_back(
        self, ending: Ending, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ending.judge()
        real, left = Registry.promote, [ending.retire]

        def promote(registry: Registry, *given: Any) -> Any:
            left.pop()()
            return real(registry, *given)

        monkeypatch.setattr(Registry, "promote", promote)
        with pytest.raises(HeldBackError, match="the pipeline is retired since"):
            ending.registry.promote(
                ending.challenger, AS_OF, "better", Origin("p_train", "train_4", "promote")
            )
        assert ending.champion is None


class TestRefusals:
    def test_nothing_is_done_by_hand(self, ending: Ending) -> None:
        ending.retire()
        assert not ending.unfreeze().changed
        for deed in (
            ending.freeze,
            lambda: ending.refuse(2),
            lambda: ending.promote(2),
            lambda: training_course.withdraw(ending.lake, AS_OF, "no", "Ada"),
        ):
            with pytest.raises(RetiredError, match="by Ada: no product"):
                deed()

    def test_the_error_says_who_when_why_and_how_it_is_undone(self, ending: Ending) -> None:
        ending.registry.demand_in_service()
        ending.retire()
        name = ending.lake.pipeline
        with pytest.raises(RetiredError) as caught:
            ending.registry.demand_in_service()
        message = str(caught.value)
        assert message.startswith(f"pipeline {name}: must not be retired, got: retired since 20")
        assert "UTC by Ada: no product (its tables stay until 20" in message
        assert message.endswith(
            f"`./relevo retire {name} --undo --reason ...` undoes that; or use another name."
        )


class TestUndo:
    def test_it_is_as_before(self, ending: Ending) -> None:
        before = ending.champions("2005-Q4", "2006-Q1")
        ending.retire()
        ending.follow()
        done = ending.undo()
        ending.follow()
        assert done.told == (
            f"Pipeline {ending.lake.pipeline} is not retired any more, and version 1 is in use "
            "again. Its DAGs stay paused until somebody unpauses them. Bob: it comes back"
        )
        assert ending.champion == 1
        assert ending.champions("2005-Q4", "2006-Q1") == before
        client, name = ending.tracking.client, ending.lake.pipeline
        assert client.set_registered_model_alias.call_args.args == (name, CHAMPION, "1")
        client.delete_registered_model_tag.assert_called_with(name, RETIRED_TAG)
        assert ending.kept() == []
        ending.registry.demand_in_service()
        told = [item.champion for item in decisions(ending.lake) if item.about == "retirement"]
        assert told == ["v1 -> none", "none -> v1"]
        assert ending.freeze("manual__3").changed

    def test_what_is_not_retired(self, ending: Ending) -> None:
        assert ending.undo() == Done("The pipeline is not retired: nothing changed.", False)
        ending.follow()
        assert ending.champion == 1

    def test_retired_again_it_has_another_archive(self, ending: Ending) -> None:
        ending.retire()
        first = ending.follow()
        ending.undo()
        ending.follow()
        assert ending.retire("manual__3", "now for good").changed
        second = ending.follow()
        assert first is not None
        assert second is not None
        assert first.sha256 != second.sha256
        assert [decision for decision, _ in ending.told()] == ["retired", "reinstated", "retired"]
        # The run that undid the first one is cleared.
        assert ending.undo().told.endswith(" Somebody took that back since.")
        ending.follow()
        assert recorded(ending.lake) == second

    def test_nobody_undoes_what_came_since_that_was_asked_for(self, ending: Ending) -> None:
        undo = Origin("platform_retire", "manual__2", "retire")
        ending.asked_at(undo)
        ending.retire()
        with pytest.raises(RegistryError, match="must have been so when that was asked for"):
            ending.undo()


class TestArchive:
    def test_it_holds_what_is_said_and_is_verified(self, ending: Ending) -> None:
        ending.retire()
        archive = ending.follow()
        assert archive is not None
        assert (archive.versions, archive.lacking) == ([1, 2], [])
        assert archive == demand_archive(ending.lake)
        held = opened(ending)
        manifest = json.loads(held.read("manifest.json"))
        assert set(held.namelist()) == {*manifest["files"], "manifest.json"}
        for name, digest in manifest["files"].items():
            assert hashlib.sha256(held.read(name)).hexdigest() == digest
        files = ending.registry.get(1).files
        for name, (uri, digest) in files.items():
            stored = ObjectStore(ending.lake.settings).read(uri)
            assert held.read(f"models/{digest}/{name}") == stored
            assert manifest["models"]["1"][name] == digest
        said = [json.loads(line) for line in held.read("ledger.jsonl").splitlines()]
        assert [row["key"] for row in said] == [e.key for e in ledger.entries(ending.lake)]
        events = [json.loads(line) for line in held.read("registry.jsonl").splitlines()]
        assert [row["key"] for row in events] == [r["key"] for r in ending.registry.events()]
        assert b"no pipeline file" in held.read("pipeline.yaml")

    def test_the_file_is_that_of_then(
        self, ending: Ending, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retirement, "_pipeline_file", lambda name: b"owner: then\n")
        ending.retire()
        monkeypatch.setattr(retirement, "_pipeline_file", lambda name: b"owner: later\n")
        ending.retire()
        ending.follow()
        assert opened(ending).read("pipeline.yaml") == b"owner: then\n"

    def test_what_is_lost_is_named(self, ending: Ending, version: ModelVersion) -> None:
        store = ObjectStore(ending.lake.settings)
        gone = put_file(store, ending.lake.pipeline, "model.skops", b"gone")
        files = {**version.files, "model.skops": gone}
        ending.register(3, replace(version, files=files))
        store.delete(gone[0])
        ending.retire()
        archive = ending.follow()
        assert archive is not None
        assert (archive.versions, archive.lacking) == ([1, 2], [gone[0]])
        assert "1 model files were gone" in str(archive)

    def test_one_that_is_not_what_was_written_counts_as_none(self, ending: Ending) -> None:
        ending.retire()
        with pytest.raises(RegistryError, match="must be verified before tables are removed"):
            demand_archive(ending.lake)
        archive = ending.follow()
        assert archive is not None
        ObjectStore(ending.lake.settings).write(archive.uri, b"PK spoiled")
        with pytest.raises(RegistryError, match=f"must be of SHA-256 {archive.sha256}"):
            demand_archive(ending.lake)

    def test_erased_words_leave_it_too(self, ending: Ending, monkeypatch: Any) -> None:
        ending.retire(why="a wish of LN-12345")
        first = ending.follow()
        assert first is not None
        assert b"LN-12345" in opened(ending).read("ledger.jsonl")
        real = retirement_archive._lines
        monkeypatch.setattr(
            retirement_archive, "_lines", lambda rows: real(rows).replace(b"LN-12345", b"[erased]")
        )
        told = renew_archive(ending.lake, (2, 7))
        assert told.endswith("keeps the models of versions 2.")
        assert b"LN-12345" not in opened(ending).read("ledger.jsonl")
        assert len([name for name in ending.kept() if name.endswith(".zip")]) == 1
        ending.undo()
        ending.follow()
        assert renew_archive(ending.lake, (2,)) == ""


def test_killed_between_any_two_writes_it_ends_the_same(
    ending: Ending, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    left = [0]

    def killing(target: Any, name: str) -> None:
        real = getattr(target, name)

        def act(*given: Any, **named: Any) -> Any:
            if not left[0]:
                raise KilledError
            left[0] -= 1
            return real(*given, **named)

        monkeypatch.setattr(target, name, act)

    for target, name in (
        (ObjectStore, "write"),
        (ObjectStore, "delete"),
        (Registry, "add"),
        (Lake, "append"),
        (ending.tracking.client, "set_registered_model_tag"),
        (ending.tracking.client, "delete_registered_model_tag"),
        (ending.tracking.client, "delete_registered_model_alias"),
        (ending.tracking.client, "set_registered_model_alias"),
    ):
        killing(target, name)

    def until_done(deed: Callable[[], Done]) -> tuple[Done, int]:
        for writes in range(30):
            left[0] = writes
            try:
                done = deed()
                ending.follow()
            except KilledError:
                continue
            return done, writes
        raise AssertionError("it never ends")

    done, writes = until_done(ending.retire)
    assert writes >= 2
    assert done.changed
    left[0] = 1000
    archive = ending.follow()
    assert archive is not None
    assert [decision for decision, _ in ending.told()] == ["retired"]
    assert ending.kept() == [
        archive.uri.rpartition("/")[2], "archive.json", "pipeline.yaml",
    ]  # fmt: skip
    done, _ = until_done(ending.undo)
    left[0] = 1000
    assert done.changed
    assert ending.kept() == []
    assert [decision for decision, _ in ending.told()] == ["retired", "reinstated"]
    assert [event for event, _ in ending.events()].count(succession.RETIRED) == 1
    assert ending.champion == 1


def test_a_wish_of_later_is_not_undone_by_one_of_before(ending: Ending) -> None:
    ending.retire()
    ending.undo()
    early = Origin("platform_retire", "manual__early", "retire")
    ending._asked[early] = datetime(2020, 1, 1)
    with pytest.raises(RegistryError, match="must have been so when that was asked for"):
        ending.retire("manual__early")
    assert ending._asked[early] < LATER
