"""What can be seen of a world from outside: its tables, its objects, and MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from include.storage.object_store import ObjectStore
from include.storage.settings import LAKE, StoreSettings

LEDGER, REGISTRY, PREDICTIONS, PROFILES = "ledger", "registry", "predictions", "profiles"
CHAMPION = "champion"
# How a training ends when it ends well.
VERDICTS = ("promoted", "refused")
SOURCES = ("loans", "outcomes")
# What tells a row of a table from another.
KEYS: Mapping[str, tuple[str, ...]] = {
    "raw_loans": ("loan_id", "partition"),
    "raw_outcomes": ("loan_id", "partition"),
    "quarantine_loans": ("_row", "partition"),
    "quarantine_outcomes": ("_row", "partition"),
    "quarantine_features": ("row", "partition"),
    "labels": ("loan_id", "partition"),
    "features": ("loan_id", "partition"),
    "predictions": ("loan_id", "partition"),
    "profiles": ("partition",),
    "drift": ("partition",),
    "performance": ("partition", "measured"),
    "training_sets": ("loan_id", "partition"),
    LEDGER: ("key",),
    REGISTRY: ("key",),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A pipeline as it is seen from outside at one moment.

    Args:
        pipeline: Its name.
        tables: Rows by table; tables that were never written are absent.
        landed: Landed rows by source and partition.
        files: SHA-256 of what is stored, by address, for every file of a registered version;
            None if it is not there.
        runs: Status by MLflow run of the experiment.
        versions: Versions that MLflow holds.
        alias: Version behind the alias `champion`; None if there is none.
        orphans: By address, the age in days of data files that no commit names.
    """

    pipeline: str
    tables: Mapping[str, list[Row]]
    landed: Mapping[str, Mapping[str, int]]
    files: Mapping[str, str | None] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    versions: frozenset[int] = frozenset()
    alias: int | None = None
    orphans: Mapping[str, float] = field(default_factory=dict)

    def rows(self, table: str) -> list[Row]:
        """Return the rows of a table; none if it was never written."""
        return self.tables.get(table, [])

    def events(self, kind: str) -> list[Row]:
        """Return the registry's events of a kind."""
        return [row for row in self.rows(REGISTRY) if row["event"] == kind]

    def champion_as_of(self, partition: str | None = None) -> int | None:
        """Name the version in use for a partition: the one that scored it, or as promoted.

        Of promotions that were not taken back that of the latest training counts, and of its
        versions the later. Without a partition this is the version in use in the end.
        """
        scored = {row["partition"]: row["model_version"] for row in self.rows(PROFILES)}
        if partition in scored:
            return int(scored[partition])
        in_use: dict[int, Row] = {}
        for row in sorted(self.rows(REGISTRY), key=lambda row: row["sequence"]):
            if row["event"] in ("promoted", "rolled_back"):
                in_use.pop(row["version"], None)
            if row["event"] == "promoted":
                in_use[row["version"]] = row
        held = [
            row
            for row in in_use.values()
            if partition is None or row["effective_from"] <= partition
        ]
        # Of equals the first is found, so the later ones come first.
        newest = max(reversed(held), key=lambda row: row["partition"], default=None)
        return None if newest is None else int(newest["version"])


def observe(
    store: StoreSettings, mlflow_url: str, pipeline: str, landed: Mapping[str, Mapping[str, int]]
) -> World:
    """Look at a world.

    Args:
        store: Where its tables are.
        mlflow_url: Where MLflow is.
        pipeline: Its name.
        landed: What was landed for it.
    """
    objects = ObjectStore(store)
    tables, orphans = {}, {}
    for table in KEYS:
        try:
            delta = DeltaTable(f"s3://{LAKE}/{pipeline}/{table}", None, store.storage_options())
        except TableNotFoundError:
            continue
        tables[table] = delta.to_pyarrow_table().to_pylist()
        orphans.update(_orphans(objects, pipeline, table))
    runs, versions, alias = _tracked(mlflow_url, pipeline)
    named = {
        address
        for row in tables.get(REGISTRY, [])
        if row["event"] == "registered"
        for address, _ in json.loads(row["details"])["files"].values()
    }
    return World(
        pipeline=pipeline,
        tables=tables,
        landed=landed,
        files={address: _digest(objects, address) for address in sorted(named)},
        runs=runs,
        versions=versions,
        alias=alias,
        orphans=orphans,
    )


def _digest(objects: ObjectStore, address: str) -> str | None:
    if not objects.exists(address):
        return None
    return hashlib.sha256(objects.read(address)).hexdigest()


def _orphans(objects: ObjectStore, pipeline: str, table: str) -> dict[str, float]:
    root = f"s3://{LAKE}/{pipeline}/{table}"
    named, found = set(), {}
    for item in objects.list(root):
        path = item.uri.removeprefix(f"{root}/")
        if path.startswith("_delta_log/"):
            if path.endswith(".json"):
                for line in objects.read(item.uri).splitlines():
                    action = json.loads(line)
                    for kind in ("add", "remove"):
                        if kind in action:
                            named.add(action[kind]["path"])
        elif path.endswith(".parquet"):
            found[path] = (datetime.now(UTC) - item.modified).total_seconds() / 86400
    return {f"{root}/{path}": days for path, days in found.items() if path not in named}


def _tracked(url: str, pipeline: str) -> tuple[dict[str, str], frozenset[int], int | None]:
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    experiment = client.get_experiment_by_name(pipeline)
    if experiment is None:
        return {}, frozenset(), None
    runs = {
        run.info.run_id: run.info.status
        for run in client.search_runs([experiment.experiment_id], max_results=1000)
    }
    held = client.search_model_versions(f"name = '{pipeline}'")
    try:
        alias = int(client.get_model_version_by_alias(pipeline, CHAMPION).version)
    except MlflowException:
        alias = None
    return runs, frozenset(int(version.version) for version in held), alias
