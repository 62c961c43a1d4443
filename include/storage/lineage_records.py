"""Who wrote which version of which table from what: one small object for each commit.

The log of a table says the same, but whoever cleans a log must not take lineage with it. A
record is ``s3://lake/<pipeline>/lineage/<table>/<version>.json``; any engine that reads JSON
reads the folder as one table. A writer that is killed between its commit and the record leaves
no record: the log then still has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from include.storage.lineage import Origin, TableReference
from include.storage.object_store import THREADS, ObjectStore
from include.storage.settings import LAKE, StoreSettings

if TYPE_CHECKING:
    from include.storage.lake_tables import Lake

_RECENT = 50  # commits; what is older is said again


@dataclass(frozen=True)
class Written:
    """One commit.

    Args:
        table: Name of the table.
        version: Version that it made.
        partitions: Partitions that it replaced; none of a commit of an earlier release, whose log
            did not say.
        dag_id: Airflow DAG that wrote.
        dag_run_id: Its run.
        task_id: Its task.
        commit: Commit of the code.
        inputs: Versions of the tables that were read.
        recorded_at: When, naive UTC.
        details: What the writer says besides.
    """

    table: str
    version: int
    partitions: tuple[str, ...]
    dag_id: str
    dag_run_id: str
    task_id: str
    commit: str
    inputs: tuple[TableReference, ...]
    recorded_at: datetime
    details: Mapping[str, str] = field(default_factory=dict)


class PartitionCommits:
    """The commits of a table, by the partitions that they replaced.

    Args:
        commits: Oldest first.
    """

    def __init__(self, commits: Iterable[Written]) -> None:
        self._by: dict[str, list[Written]] = {}
        for commit in commits:
            for name in commit.partitions:
                self._by.setdefault(name, []).append(commit)

    @cached_property
    def partitions(self) -> tuple[str, ...]:
        """Name the partitions, sorted."""
        return tuple(sorted(self._by))

    def __contains__(self, partition: str) -> bool:
        """Tell whether a partition was ever written."""
        return partition in self._by

    def at(self, partition: str) -> Written:
        """Take the latest commit of a partition."""
        return self._by[partition][-1]

    def of(self, partition: str) -> Sequence[Written]:
        """List the commits of a partition, oldest first."""
        return self._by[partition]

    def until(self, partition: str, version: int) -> Written | None:
        """Take the commit that wrote what a partition was at a version of the table."""
        found = [item for item in self._by.get(partition, ()) if item.version <= version]
        return found[-1] if found else None


def uri(pipeline: str, table: str, version: int) -> str:
    """Address of the record of a version."""
    return f"s3://{LAKE}/{pipeline}/lineage/{table}/{version:020d}.json"


def metadata(
    origin: Origin, partitions: Sequence[str], details: Mapping[str, str]
) -> dict[str, str]:
    """Render for the log what a record holds."""
    return {
        **origin.metadata(),
        "partitions": json.dumps(list(partitions)),
        "details": json.dumps(dict(details), sort_keys=True),
    }


def record(
    settings: StoreSettings,
    reference: TableReference,
    origin: Origin,
    partitions: Sequence[str],
    details: Mapping[str, str],
) -> None:
    """Write the record of a commit, in one request."""
    written = Written(
        table=reference.table,
        version=reference.version,
        partitions=tuple(partitions),
        dag_id=origin.dag_id,
        dag_run_id=origin.dag_run_id,
        task_id=origin.task_id,
        commit=origin.commit,
        inputs=origin.inputs,
        recorded_at=datetime.now(UTC).replace(tzinfo=None),
        details=details,
    )
    document = {**asdict(written), "recorded_at": written.recorded_at.isoformat()}
    path = settings.path(uri(reference.pipeline, reference.table, reference.version))
    with settings.filesystem().open_output_stream(path) as sink:
        sink.write(json.dumps(document, sort_keys=True).encode())


def is_told(lake: Lake, table: str, partitions: Sequence[str], details: Mapping[str, str]) -> bool:
    """Tell whether the last commit of each partition says just this; without details all do."""
    if not details:
        return True
    held = PartitionCommits(written(lake, table, _RECENT))
    return all(name in held and held.at(name).details == details for name in partitions)


def written(lake: Lake, table: str, latest: int | None = None) -> list[Written]:
    """Read who wrote the versions of a table, oldest first; none if it was never written.

    Versions come from the log as far as it goes back, a request for each, and older ones from
    their records.

    Args:
        lake: The pipeline's tables.
        table: Name of the table.
        latest: Look at so many of the latest commits in the log only; at all versions if None.
    """
    if not lake.exists(table):
        return []
    history = lake.open(table).history(latest)
    found = {item["version"]: _from_log(table, item) for item in history if "dag_id" in item}
    if latest is not None:
        return [found[version] for version in sorted(found)]
    store = ObjectStore(lake.settings)
    folder = uri(lake.pipeline, table, 0).rpartition("/")[0]
    versions = [(int(item.name.removesuffix(".json")), item.uri) for item in store.list(folder)]
    wanted = [address for version, address in versions if version not in found]
    with ThreadPoolExecutor(THREADS) as pool:
        for text in pool.map(store.read, wanted):
            item = _from_record(json.loads(text))
            found[item.version] = item
    return [found[version] for version in sorted(found)]


def _from_record(document: Mapping[str, Any]) -> Written:
    return Written(
        **{
            **document,
            "partitions": tuple(document["partitions"]),
            "inputs": tuple(TableReference.from_dict(item) for item in document["inputs"]),
            "recorded_at": datetime.fromisoformat(document["recorded_at"]),
        }
    )


def _from_log(table: str, item: Mapping[str, Any]) -> Written:
    at = datetime.fromtimestamp(item["timestamp"] / 1000, UTC)
    return Written(
        table=table,
        version=int(item["version"]),
        partitions=tuple(json.loads(item.get("partitions", "[]"))),
        dag_id=item["dag_id"],
        dag_run_id=item["dag_run_id"],
        task_id=item["task_id"],
        commit=item["commit"],
        inputs=tuple(TableReference.from_dict(one) for one in json.loads(item["inputs"])),
        recorded_at=at.replace(tzinfo=None),
        details=json.loads(item.get("details", "{}")),
    )
