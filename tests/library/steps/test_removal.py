"""When the waiting time is over, a retired pipeline keeps archive, ledger and registry alone."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zipfile import ZipFile

import pyarrow as pa
import pytest

from include.errors import RegistryError, RetiredError
from include.registry.champions import Registry
from include.registry.model_files import MODEL, ModelVersion, put_file
from include.reports.decisions_page import render_decisions
from include.steps import removal
from include.steps.maintenance import AirflowRuns, Maintenance
from include.steps.maintenance_plan import Outcome, Plan
from include.steps.retirement import follow, reinstate, renew_archive, retire
from include.steps.retirement_archive import demand_archive, untraceable
from include.storage import drafts, ledger
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from include.training.training_sets import TrainingSet
from tests.library.steps.test_rollback import World

NOBODY = AirflowRuns(lambda dag_ids: None, lambda dag_id, run_id: False)
DAYS = 30
BIG = 2**53 + 1
ASKED = Origin("platform_retire", "manual__1", "retire")


class Ended(World):
    """A retired pipeline with a version, tables, a draft, pages, and something landed."""

    def __init__(self, lake: Lake, version: ModelVersion) -> None:
        self.lake, self.registry = lake, Registry(lake)
        self.store = ObjectStore(lake.settings)
        own = put_file(self.store, lake.pipeline, MODEL, b"a model of its own")
        files = {**version.files, MODEL: own}
        origin = Origin("p_train", "train_1", "select")
        rows = pa.table({"id": [BIG], "partition": ["2005-Q1"]})
        built = lake.write("training_sets", rows, partitions=["2005-Q1"], origin=origin)
        trained = TrainingSet(built, (), (), (1, 0), {}).to_dict()
        made = replace(version, pipeline=lake.pipeline, version=1, files=files)
        made = replace(made, training_set=trained)
        self.registry._append("registered", 1, "2005-Q1", "", "", made.to_dict(), origin)
        self.registry._append("promoted", 1, "2005-Q1", "2005-Q2", "better", {}, origin)
        for table in ("raw_loans", "features", "predictions"):
            for number in (BIG, BIG + 1):
                rows = pa.table({"id": [number], "partition": ["2005-Q1"]})
                lake.write(table, rows, partitions=["2005-Q1"], origin=origin)
        drafts.write(lake, "features", rows, partitions=["2005-Q1"], origin=origin)
        name = lake.pipeline
        for uri in (
            *(f"s3://reports/{name}/data_docs/2005-Q1/index.html", f"s3://lake/{name}/odd/1.bin"),
            *(f"s3://reports/{name}/maintenance/index.html", f"s3://landing/{name}/l/1.csv"),
        ):
            self.store.write(uri, b"x")
        now = datetime.now(UTC).replace(tzinfo=None)
        retire(lake, self.registry, DAYS, "no product", "Ada", now, ASKED)
        self.archived()

    def archived(self) -> None:
        with contextlib.suppress(RegistryError):  # it needs MLflow, which comes after the archive
            follow(self.lake, self.registry)

    def maintenance(self) -> Maintenance:
        return Maintenance(self.lake, NOBODY, timedelta(days=DAYS))

    def plan(self, run: str, days: float) -> Plan:
        return self.maintenance().plan(run, datetime.now(UTC) + timedelta(days=days))

    def carry_out(self, run: str, days: float) -> Outcome:
        return self.maintenance().carry_out(run, datetime.now(UTC) + timedelta(days=days))

    def undo(self) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        origin = replace(ASKED, dag_run_id="manual__2")
        reinstate(self.lake, self.registry, "it comes back", "Bob", now, origin)

    def objects(self) -> set[str]:
        name = self.lake.pipeline
        return {
            item.uri.removeprefix("s3://").replace(f"{name}/", "")
            for bucket in ("lake", "reports", "landing")
            for item in self.store.list(f"s3://{bucket}/{name}")
        }

    def folders(self) -> set[str]:
        return {"/".join(uri.split("/")[:2]) for uri in self.objects()}


LEFT = {
    *("lake/ledger", "lake/registry", "lake/retired", "lake/maintenance"),
    *("reports/maintenance", "landing/l"),
}


@pytest.fixture
def ended(lake: Lake, version: ModelVersion) -> Ended:
    return Ended(lake, version)


def test_before_the_waiting_time_is_over_all_stays(ended: Ended) -> None:
    before = ended.objects()
    plan = ended.plan("night 1", DAYS - 0.01)
    assert not [item for item in plan.items if item.kind.startswith("retired")]
    assert "The pipeline is retired since " in plan.held_back
    ended.carry_out("night 1", DAYS - 0.01)
    assert ended.objects() - {"lake/maintenance/night_1.json"} == before
    assert ended.lake.read("features")["id"].to_pylist() == [BIG + 1]


def test_then_all_goes_but_archive_ledger_and_registry(ended: Ended) -> None:
    archive = demand_archive(ended.lake)
    trial = f"s3://lake/{ended.lake.pipeline}_dev/features/1.parquet"
    ended.store.write(trial, b"tried")
    plan = ended.plan("night 1", DAYS)
    named = {(item.kind, item.name.rpartition("/")[2]) for item in plan.items}
    assert named >= {
        *(("retired table", name) for name in ("raw_loans", "features", "predictions")),
        *(("retired object", name) for name in (MODEL, "1.bin")),
    }
    size = {item.name: item.size for item in plan.items}
    listed = ended.store.list(ended.lake.uri("raw_loans"))
    assert size[ended.lake.uri("raw_loans")] > sum(item.size for item in listed)
    assert ended.folders() > LEFT  # a plan removes nothing

    outcome = ended.carry_out("night 1", DAYS)

    assert (list(outcome.done), list(outcome.left)) == (list(plan.items), [])
    assert sum(size for _, size in outcome.won().values()) == sum(size.values())
    assert ended.folders() == LEFT
    assert not ended.store.exists(trial)
    assert demand_archive(ended.lake) == archive
    (retired, removed) = ledger.entries(ended.lake, "retirement")
    assert (retired.decision, removed.decision) == ("retired", "removed")
    assert archive.uri in removed.reason
    assert archive.sha256 in removed.reason
    assert ended.carry_out("night 1", DAYS) == outcome
    assert ended.plan("night 2", DAYS + 1).items == []
    assert ended.carry_out("night 2", DAYS + 1).done == []
    assert len(ledger.entries(ended.lake, "retirement")) == 2
    assert "its tables were removed on" in render_decisions(ended.lake)


def test_then_nobody_undoes_it_or_begins_again(ended: Ended) -> None:
    ended.plan("night 1", DAYS)
    ended.carry_out("night 1", DAYS)
    with pytest.raises(RetiredError) as caught:
        ended.undo()
    archive = f"s3://lake/{ended.lake.pipeline}/retired"
    assert "its tables must still be there for a retirement to be undone" in str(caught.value)
    assert f"the archive in {archive} holds its models" in str(caught.value)
    with pytest.raises(RetiredError, match=r"That cannot be undone any more: .* Use another name"):
        ended.registry.demand_in_service()
    again = retire(ended.lake, ended.registry, 1, "x", "Ada", datetime(2100, 1, 1),
                   replace(ASKED, dag_run_id="manual__3"))  # fmt: skip
    assert not again.changed


def test_killed_between_any_two_writes_it_is_finished(
    ended: Ended, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(BaseException):
        pass

    left = [0]

    def kill(target: type, name: str) -> None:
        real = getattr(target, name)

        def act(*given: Any, **named: Any) -> Any:
            if left[0] <= 0:
                raise KilledError
            left[0] -= 1
            return real(*given, **named)

        monkeypatch.setattr(target, name, act)

    for target, name in ((ObjectStore, "write"), (ObjectStore, "delete"), (Lake, "append")):
        kill(target, name)
    left[0] = 1000
    ended.plan("night 1", DAYS)
    killed = 0
    for writes in (0, 1, 2, 3, 5, 8, 13, 21, 34, 1000):
        left[0] = writes
        try:
            ended.carry_out("night 1", DAYS)
        except KilledError:
            killed += 1
            if killed > 4:
                left[0] = 1000
                with pytest.raises(RetiredError):
                    ended.undo()
    assert killed >= 6
    left[0] = 1000
    assert ended.folders() == LEFT
    assert [e.decision for e in ledger.entries(ended.lake, "retirement")] == ["retired", "removed"]


def test_undone_between_plan_and_deed_nothing_goes(ended: Ended) -> None:
    plan = ended.plan("night 1", DAYS)
    ended.undo()
    before = ended.objects()
    outcome = ended.carry_out("night 1", DAYS)
    assert (list(outcome.done), list(outcome.left)) == ([], list(plan.items))
    assert ended.objects() == before
    assert ended.lake.read("predictions").num_rows == 1


def test_without_a_verified_archive_nothing_goes(ended: Ended) -> None:
    archive = demand_archive(ended.lake)
    ended.plan("night 1", DAYS)
    ended.store.write(archive.uri, b"spoiled")
    before = ended.objects()
    with pytest.raises(RegistryError, match="must be of SHA-256"):
        ended.carry_out("night 1", DAYS)
    assert ended.objects() == before
    ended.store.delete(archive.uri.rpartition("/")[0] + "/archive.json")
    plan = ended.plan("night 2", DAYS)
    assert "nothing goes before its archive is there" in plan.held_back
    assert not [item for item in plan.items if item.kind.startswith("retired")]
    ended.archived()
    ended.plan("night 3", DAYS)
    assert not ended.carry_out("night 3", DAYS).left


def test_made_anew_after_the_removal_the_archive_keeps_the_models(ended: Ended) -> None:
    assert untraceable(ended.lake) == ()
    ended.plan("night 1", DAYS)
    ended.carry_out("night 1", DAYS)
    assert renew_archive(ended.lake, ()) == ""
    archive = demand_archive(ended.lake)
    assert (list(archive.versions), list(archive.lacking)) == ([1], [])
    with ended.lake.settings.filesystem().open_input_file(
        ended.lake.settings.path(archive.uri)
    ) as source:
        held = ZipFile(source)
        digest = ended.registry.get(1).files[MODEL][1]
        assert held.read(f"models/{digest}/{MODEL}") == b"a model of its own"
        events = [json.loads(line)["event"] for line in held.read("registry.jsonl").splitlines()]
    assert events == ["registered", "promoted", "retired", "removed"]
    (told,) = untraceable(ended.lake)
    assert told.endswith("/retired, whose training sets are removed")


def test_retired_pipelines_are_found_on_the_store(ended: Ended, lake: Lake) -> None:
    found = removal.retired_pipelines(lake.settings)
    assert lake.pipeline in found
    assert found == sorted(found)
    Lake(lake.settings, f"{lake.pipeline}x").write(
        "features", pa.table({"partition": ["p"]}), partitions=["p"], origin=ASKED
    )
    assert f"{lake.pipeline}x" not in removal.retired_pipelines(lake.settings)
