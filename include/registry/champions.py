"""Model versions: registered in MLflow, promoted by events, verified before every load.

MLflow holds the versions and the alias ``champion``. The table ``registry`` holds what MLflow
cannot promise: append-only events, from which partition on a version is in use, and the SHA-256
of every file of a version. Files live content-addressed below ``s3://lake/<pipeline>/models/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.calendar.partitions import Partition, snapshot
from include.errors import RegistryError
from include.registry.model_files import ModelVersion
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin

if TYPE_CHECKING:
    from include.registry.mlflow_runs import Tracking

TABLE = "registry"
CHAMPION = "champion"

_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("event", pa.string()),
        ("version", pa.int64()),
        ("partition", pa.string()),
        ("effective_from", pa.string()),
        ("reason", pa.string()),
        ("details", pa.string()),
        ("dag_run_id", pa.string()),
        ("recorded_at", pa.timestamp("us")),
    ]
)


class Registry:
    """The versions of one pipeline.

    Args:
        lake: The pipeline's tables.
        tracking: Its MLflow experiment; None where only the table is read.
    """

    def __init__(self, lake: Lake, tracking: Tracking | None = None) -> None:
        self.lake = lake
        self.tracking = tracking

    def register(self, model: ModelVersion, model_uri: str, origin: Origin) -> ModelVersion:
        """Register a candidate once; a retry finds the version of its run again.

        Args:
            model: The version to be, its number not yet known.
            model_uri: MLflow address of the logged model.
            origin: Who registers.

        Returns:
            The version with its number.
        """
        tracking = self.tracking_or_fail()
        held = tracking.client.search_model_versions(f"run_id = '{model.run_id}'")
        tags = {"relevo.partition": model.partition, "relevo.candidate": model.candidate}
        number = held[0].version if held else tracking.register(model_uri, tags)
        registered = ModelVersion.from_dict({**model.to_dict(), "version": int(number)})
        self._append(
            "registered", registered.version, model.partition, "", "", registered.to_dict(), origin
        )
        return self.get(registered.version)

    def promote(
        self, version: int, partition: Partition, reason: str, origin: Origin
    ) -> ModelVersion:
        """Put a version in use from the partition after ``partition`` on.

        The event comes first and the alias follows it, so a retry mends an alias that was not
        set; the alias is moved by one call and never deleted.
        """
        effective_from = str(partition.shift(1))
        self._append("promoted", version, str(partition), effective_from, reason, {}, origin)
        current = self._effective(None)
        if current is None:
            raise RegistryError(f"model {self.lake.pipeline}: promotion of {version} left no event")
        self.tracking_or_fail().client.set_registered_model_alias(
            self.lake.pipeline, CHAMPION, str(current)
        )
        return self.get(version)

    def get(self, version: int) -> ModelVersion:
        """Read a registered version.

        Raises:
            RegistryError: If it was never registered.
        """
        for row in self._events():
            if row["event"] == "registered" and row["version"] == version:
                return ModelVersion.from_dict(json.loads(row["details"]))
        raise RegistryError(
            f"model {self.lake.pipeline}: version {version} must be registered, got none."
        )

    def is_promoted(self, version: int) -> bool:
        """Tell whether a version was ever put in use."""
        return any(
            row["event"] == "promoted" and row["version"] == version for row in self._events()
        )

    def champion_as_of(self, partition: Partition) -> ModelVersion | None:
        """Find the version in use for a partition: the latest promotion effective for it."""
        version = self._effective(str(partition))
        return None if version is None else self.get(version)

    def require_champion(self, partition: Partition) -> ModelVersion:
        """Like :meth:`champion_as_of`.

        Raises:
            RegistryError: If no version was in use.
        """
        champion = self.champion_as_of(partition)
        if champion is None:
            advice = f" with {{'partition': '{partition.shift(-1)}'}} first."
            if partition == snapshot(1):
                advice = " first; the next snapshot is then scored."
            raise RegistryError(
                f"model {self.lake.pipeline}: a champion must be in use for {partition}, got none. "
                f"Trigger {self.lake.pipeline}_train{advice}"
            )
        return champion

    def _effective(self, partition: str | None) -> int | None:
        """Follow promotions and rollbacks; None asks for the end of time (the alias)."""
        events = self._events()
        rolled_back = {row["version"] for row in events if row["event"] == "rolled_back"}
        promoted = [
            row
            for row in events
            if row["event"] == "promoted"
            and row["version"] not in rolled_back
            and (partition is None or row["effective_from"] <= partition)
        ]
        if not promoted:
            return None
        latest = max(promoted, key=lambda row: (row["effective_from"], row["recorded_at"]))
        return int(latest["version"])

    def _events(self) -> list[dict[str, Any]]:
        return list(self.lake.read_held(TABLE).to_pylist())

    def _append(
        self,
        event: str,
        version: int,
        partition: str,
        effective_from: str,
        reason: str,
        details: Mapping[str, Any],
        origin: Origin,
    ) -> None:
        row = {
            "key": f"{event}/{version}",
            "event": event,
            "version": version,
            "partition": partition,
            "effective_from": effective_from,
            "reason": reason,
            "details": json.dumps(details, sort_keys=True),
            "dag_run_id": origin.dag_run_id,
            "recorded_at": datetime.now(UTC).replace(tzinfo=None),
        }
        self.lake.append(TABLE, pa.Table.from_pylist([row], schema=_SCHEMA), origin=origin)

    def tracking_or_fail(self) -> Tracking:
        """Return the experiment.

        Raises:
            RegistryError: If this registry only reads events.
        """
        if self.tracking is None:
            raise RegistryError(
                f"model {self.lake.pipeline}: this call needs MLflow, got a reader of events only."
            )
        return self.tracking
