"""Maintenance of one pipeline: what is needed no more goes, what grew scattered is put together.

First it is planned: what, why, how many bytes. The plan is put on record,
``s3://lake/<pipeline>/maintenance/<run>.json``, and carried out as far as it still holds at that
moment: nothing beside it, and nothing of it that somebody needs by then. So a plan may be carried
out again, by whoever was killed, and ends the same. The record stays, and says what was removed.

What could be taken up again while it is removed is safe by this order: the manifests of drafts go
first; then Airflow is asked which runs are open; then files go that no draft names, and that are
older than all open runs. Whoever begins after that finds no draft, and makes another one.

Of a retired pipeline all goes once its waiting time is over (:mod:`include.steps.removal`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from include.errors import TableError
from include.specification.pipeline import Pipeline
from include.steps import removal
from include.steps.maintenance_plan import Item, Kind, Outcome, Plan
from include.steps.on_record import OnRecord, on_record, writers
from include.steps.outdated_tables import outdated_tables
from include.storage.inventory import Inventory, take_inventory
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import THREADS, ObjectStore, StoredObject
from include.storage.settings import LAKE, REPORTS
from include.storage.table_removal import remove_table
from include.storage.table_upkeep import (
    compact,
    scattered,
    unneeded_files,
)

if TYPE_CHECKING:
    from include.registry.mlflow_runs import Tracking

_RETIRED: dict[str, Kind] = {"table": "retired table", "object": "retired object"}
# What is deleted once the drafts are.
_OBJECTS: tuple[Kind, ...] = ("data file", "model file", "report", "old checkpoint")


@dataclass(frozen=True)
class AirflowRuns:
    """What Airflow knows of runs.

    Args:
        open_since: Given DAGs, tells since when the oldest of their runs that are queued or running
            may have begun, aware; None if there is none.
        is_open: Tells whether a run of a DAG is queued or running.
    """

    open_since: Callable[[Collection[str]], datetime | None]
    is_open: Callable[[str, str], bool]


class Maintenance:
    """How a pipeline is maintained.

    Args:
        lake: Its tables.
        runs: What Airflow knows.
        retention: How long what was replaced stays.
        tracking: Its MLflow experiment; None to leave MLflow alone.
        pipeline: Its file, by which tables of generations that it has left behind are removed; None
            to leave those alone.
    """

    def __init__(
        self,
        lake: Lake,
        runs: AirflowRuns,
        retention: timedelta,
        tracking: Tracking | None = None,
        pipeline: Pipeline | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.lake = lake
        self.runs = runs
        self.retention = retention
        self.tracking = tracking
        self._store = ObjectStore(lake.settings)
        self._store.connect()

    def draw_up(self, now: datetime) -> Plan:
        """Look what is to be done, and change nothing.

        Args:
            now: The present moment, aware.
        """
        is_over, retired = removal.state(self.lake, _naive(now))
        if is_over:
            return self._farewell(now, retired)
        # Who is open is asked before the records are read: who has ended by then is on record.
        cutoff, held_back = self._cutoff(now)
        trains = self.runs.open_since(sorted(writers(self.lake).trainings)) is not None
        if trains:
            held_back += " A training is under way, so model files stay for now."
        held_back = " ".join(filter(None, (retired, held_back.strip())))
        record, inventory = on_record(self.lake), take_inventory(self.lake)
        return Plan(
            pipeline=self.lake.pipeline,
            made_at=now.isoformat(),
            cutoff=cutoff.isoformat(),
            held_back=held_back,
            items=[
                *self._drafts(inventory, cutoff),
                *(outdated := [*self._outdated(inventory, cutoff)]),
                *self._data_files(inventory, record, cutoff, {item.name for item in outdated}),
                *(() if trains else self._model_files(inventory, record, cutoff)),
                *self._reports(record, cutoff),
                *self._checkpoints(inventory, cutoff),
                *self._upkeep(inventory),
                *self._abandoned(),
            ],
            usage=dict(inventory.usage),
        )

    def plan(self, run_id: str, now: datetime) -> Plan:
        """Draw a plan up for a run and put it on record; one that is there already stays."""
        held = self.recorded(run_id)
        if held is not None:
            return held[0]
        plan = self.draw_up(now)
        self._record(run_id, {"plan": asdict(plan), "outcome": None})
        return plan

    def carry_out(self, run_id: str, now: datetime) -> Outcome:
        """Do what the plan of a run says and what is still right, and put on record what was done.

        Args:
            run_id: The run that planned.
            now: The present moment, aware.

        Raises:
            TableError: If the run has put no plan on record.
        """
        held = self.recorded(run_id)
        if held is None:
            raise TableError(
                f"pipeline {self.lake.pipeline}: run {run_id} must have a plan of maintenance on "
                "record, got none. Clear the task that plans."
            )
        plan, outcome = held
        if outcome is not None:
            return outcome
        undone = self._do(plan, run_id, now)
        outcome = Outcome(
            plan=plan,
            done=[item for item in plan.items if item not in undone],
            left=[item for item in plan.items if item in undone],
            usage=dict(take_inventory(self.lake).usage),
            done_at=now.isoformat(),
        )
        values = asdict(outcome)
        # What was done is the rest of the plan.
        kept = {name: values[name] for name in ("left", "usage", "done_at")}
        self._record(run_id, {"plan": values["plan"], "outcome": kept})
        return outcome

    def _do(self, plan: Plan, run_id: str, now: datetime) -> set[Item]:
        """Do what is planned and still right; returns what was not done."""
        if plan.of("retired table") or plan.of("retired object"):
            return self._remove(plan, run_id, now)
        # The order is that of the module's docstring: what a draft names is looked at after it.
        cutoff, _ = self._cutoff(now)
        self._delete(plan.of("draft"), self._drafts(take_inventory(self.lake), cutoff))
        objects = [item for kind in _OBJECTS for item in plan.of(kind)]
        self._delete(objects, self.draw_up(now).items)
        still = {item.name for item in self._outdated(take_inventory(self.lake), cutoff)}
        for item in plan.of("table"):
            if item.name in still:
                remove_table(self.lake, item.name.rpartition("/")[2])
        undone = set(self._keep_up(plan, run_id))
        after = take_inventory(self.lake)
        there = {item.uri for item in (*after.removable(), *self._pages())}
        there |= {self.lake.uri(name) for name in after.tables}
        return {item for item in plan.items if item.name in there or item in undone}

    def _remove(self, plan: Plan, run_id: str, now: datetime) -> set[Item]:
        """Remove what a retired pipeline left, unless that was undone; returns what is there."""
        origin = Origin("platform_maintain", run_id, "carry_out")
        if removal.begin(self.lake, _naive(now), origin):
            planned = {item.name for item in plan.items}
            left = [item for item in removal.leftovers(self.lake) if item.name in planned]
            removal.remove(self.lake, left)
        there = {item.name for item in removal.leftovers(self.lake)}
        return {item for item in plan.items if item.name in there}

    def recorded(self, run_id: str) -> tuple[Plan, Outcome | None] | None:
        """Read what a run planned, and what came of it; None if it planned nothing yet."""
        uri = record_uri(self.lake.pipeline, run_id)
        if not self._store.exists(uri):
            return None
        document = json.loads(self._store.read(uri))
        plan, values = Plan.from_dict(document["plan"]), document["outcome"]
        if values is None:
            return plan, None
        left = [Item(**item) for item in values["left"]]
        undone = set(left)
        done = [item for item in plan.items if item not in undone]
        usage = {kind: (files, size) for kind, (files, size) in values["usage"].items()}
        return plan, Outcome(plan, done, left, usage, values["done_at"])

    def _farewell(self, now: datetime, retired: str) -> Plan:
        """Plan to remove what a retired pipeline left."""
        why = "Of a retired pipeline whose waiting time is over"
        left = removal.leftovers(self.lake)
        return Plan(
            pipeline=self.lake.pipeline,
            made_at=now.isoformat(),
            cutoff=now.isoformat(),
            held_back=retired,
            items=[Item(_RETIRED[item.kind], item.name, item.size, why) for item in left],
            usage=dict(take_inventory(self.lake).usage),
        )

    def _cutoff(self, now: datetime) -> tuple[datetime, str]:
        cutoff = now - self.retention
        since = self.runs.open_since(sorted(writers(self.lake).dag_ids))
        if since is None or since >= cutoff:
            return cutoff, ""
        told = f"A run of {since:%Y-%m-%d %H:%M} is open, so what it may have read since stays."
        return since, told

    def _drafts(self, inventory: Inventory, cutoff: datetime) -> Iterator[Item]:
        why = "Drafted before the retention, by a run that has ended"
        yield from _items("draft", (d for d in inventory.drafts if d.modified < cutoff), why)

    def _outdated(self, inventory: Inventory, cutoff: datetime) -> Iterator[Item]:
        if self.pipeline is not None:
            for name, why in outdated_tables(self.lake, self.pipeline, cutoff).items():
                if name in inventory.tables:
                    size = sum(item.size for item in inventory.tables[name].files)
                    yield Item("table", self.lake.uri(name), size, why)

    def _data_files(
        self, inventory: Inventory, record: OnRecord, cutoff: datetime, outdated: Collection[str]
    ) -> Iterator[Item]:
        drafted = self._drafted(item for item in inventory.drafts if item.modified >= cutoff)
        for table in inventory.tables.values():
            if self.lake.uri(table.name) in outdated:
                continue
            references = [item for item in record.references if item.table == table.name]
            files = unneeded_files(self.lake, table, references, drafted, cutoff)
            yield from _items("data file", files, f"In no version of {table.name} that is needed")

    def _drafted(self, manifests: Iterable[StoredObject]) -> set[str]:
        with ThreadPoolExecutor(THREADS) as pool:
            texts = list(pool.map(self._store.read, [item.uri for item in manifests]))
        files = [file for text in texts for file in json.loads(text)["files"]]
        return {file["path"].rpartition("/")[2] for file in files}

    def _model_files(
        self, inventory: Inventory, record: OnRecord, cutoff: datetime
    ) -> Iterator[Item]:
        old = (item for item in inventory.models if item.modified < cutoff)
        unused = (item for item in old if item.uri not in record.model_files)
        yield from _items("model file", unused, "Of a fit that was never registered")

    def _reports(self, record: OnRecord, cutoff: datetime) -> Iterator[Item]:
        root = f"s3://{REPORTS}/{self.lake.pipeline}/"
        kept = {f"version-{version}" for version in record.versions} | record.partitions
        for item in self._pages():
            kind, _, rest = item.uri.removeprefix(root).partition("/")
            about = rest.partition("/")[0]
            if kind in _EXPIRING and about not in kept and item.modified < cutoff:
                yield Item("report", item.uri, item.size, "A page older than the retention")

    def _checkpoints(self, inventory: Inventory, cutoff: datetime) -> Iterator[Item]:
        why = "The log says all of it, and a later one is read"
        for table in inventory.tables.values():
            old = (item for item in table.past_checkpoints() if item.modified < cutoff)
            yield from _items("old checkpoint", old, why)

    def _upkeep(self, inventory: Inventory) -> Iterator[Item]:
        tables = inventory.tables.values()
        for name, files in scattered(self.lake, tables):
            yield Item("compaction", name, 0, f"{files} small files, which every append reads")

    def _abandoned(self) -> Iterator[Item]:
        for run_id, dag_id, dag_run_id in self.tracking.unfinished() if self.tracking else ():
            if not self.runs.is_open(dag_id, dag_run_id):
                why = f"Run {dag_run_id} of {dag_id} has ended or is gone"
                yield Item("MLflow run", run_id, 0, why)

    def _keep_up(self, plan: Plan, by: str) -> Iterator[Item]:
        """Do what deletes nothing; yields what was not done."""
        for item in plan.of("compaction"):
            if not compact(self.lake, item.name, by):
                yield item
        still = {item.name for item in self._abandoned()}
        for item in plan.of("MLflow run"):
            if item.name in still and self.tracking is not None:
                self.tracking.fail(item.name, f"{item.why}: closed by maintenance.")

    def _delete(self, planned: Iterable[Item], right: Iterable[Item]) -> None:
        """Delete what was planned and is right by now as well."""
        still = {item.name for item in right}
        with ThreadPoolExecutor(THREADS) as pool:
            names = [item.name for item in planned if item.name in still]
            list(pool.map(self._store.delete, names))

    def _pages(self) -> tuple[StoredObject, ...]:
        return self._store.list(f"s3://{REPORTS}/{self.lake.pipeline}/")

    def _record(self, run_id: str, document: dict[str, Any]) -> None:
        uri = record_uri(self.lake.pipeline, run_id)
        self._store.write(uri, json.dumps(document).encode(), "application/json")


# Pages of which each run writes its own; others, such as those of maintenance, stay.
_EXPIRING = frozenset({"data_docs", "drift", "exploration", "evidence"})


def record_uri(pipeline: str, run_id: str) -> str:
    """Address of what a run of maintenance planned and did; ids of runs may hold any character."""
    name = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in run_id)
    return f"s3://{LAKE}/{pipeline}/maintenance/{name}.json"


def _items(kind: Kind, objects: Iterable[StoredObject], why: str) -> Iterator[Item]:
    return (Item(kind, item.uri, item.size, why) for item in objects)


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
