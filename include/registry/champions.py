"""Model versions: registered in MLflow, promoted by events, verified before every load.

MLflow holds the versions and the alias ``champion``. The table ``registry`` holds what MLflow
cannot promise: append-only events, from which partition on a version is in use, and the SHA-256
of every file of a version. Files live content-addressed below ``s3://lake/<pipeline>/models/``.
Which version the events put in use tells ``include.registry.succession``; what people add to them
makes ``include.registry.interventions``. Whatever they say, the champion of a partition that was
scored in its own run is the version that scored it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from include.calendar.partitions import Partition, snapshot
from include.errors import HeldBackError, RegistryError
from include.registry import interventions, retirement, succession
from include.registry.interventions import Wish
from include.registry.model_files import ModelVersion
from include.registry.succession import PROMOTED, TAKEN_BACK
from include.storage.event_tables import Event, EventTable, attempt_key
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore

if TYPE_CHECKING:
    from include.registry.mlflow_runs import Tracking

TABLE = "registry"
# Written by the run that scores a partition, with the version that did.
PROFILES = "profiles"
CHAMPION = "champion"

_CONTENT = "relevo.content"
# Tag of the registered model in MLflow, while the pipeline is retired.
RETIRED_TAG = "relevo.retired"
_COLUMNS = (
    ("key", pa.string()),
    ("event", pa.string()),
    ("version", pa.int64()),
    ("partition", pa.string()),
    ("effective_from", pa.string()),
    ("reason", pa.string()),
    ("details", pa.string()),
    ("dag_run_id", pa.string()),
)
_IN_USE = (PROMOTED, TAKEN_BACK)


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
        """Register a candidate once; a retry finds the version of its run and content again.

        Of two tasks that register the same at once, both go on with the lower number, and the
        other one leaves MLflow.

        Args:
            model: The version to be, its number not yet known.
            model_uri: MLflow address of the logged model.
            origin: Who registers.

        Returns:
            The version with its number.

        Raises:
            RegistryError: If MLflow gives a number that another version has.
        """
        content = _content(model)
        for row in self.events():
            if row["event"] == "registered":
                held = ModelVersion.from_dict(json.loads(row["details"]))
                if (held.run_id, _content(held)) == (model.run_id, content):
                    return held
        tracking = self.tracking_or_fail()
        if not tracking.versions(model.run_id, {_CONTENT: content}):
            tags = {"relevo.partition": model.partition, "relevo.candidate": model.candidate}
            if model.decision is not None:
                tags["relevo.decision"] = model.decision.describe()
            made = tracking.register(model_uri, {**tags, _CONTENT: content})
            if made != min(tracking.versions(model.run_id, {_CONTENT: content})):
                tracking.client.delete_model_version(self.lake.pipeline, str(made))
        number = min(tracking.versions(model.run_id, {_CONTENT: content}))
        registered = ModelVersion.from_dict({**model.to_dict(), "version": number})
        self._append("registered", number, model.partition, "", "", registered.to_dict(), origin)
        held = self.get(number)
        if held.run_id != model.run_id or _content(held) != content:
            raise RegistryError(
                f"model {self.lake.pipeline}: a new version must have a new number, got {number}, "
                f"which is on record as trained as of {held.partition} by MLflow run "
                f"{held.run_id}. MLflow's database is older than the tables, or the model was "
                "deleted there: restore both from one backup."
            )
        return held

    def promote(
        self,
        version: int,
        partition: Partition,
        reason: str,
        origin: Origin,
        demand: Callable[[Sequence[Event]], None] | None = None,
    ) -> ModelVersion:
        """Put a version in use from the partition after ``partition`` on, where nobody scored yet.

        What the same run had put in use before is taken back. The events come first and the alias
        follows them, so a retry mends an alias that was not set; it is moved by one call.

        Args:
            version: What to put in use.
            partition: Partition as of which it was trained.
            reason: Why.
            origin: The run that promotes.
            demand: Raises if what is on record at that moment speaks against a new promotion.

        Raises:
            HeldBackError: If at that moment the champion is frozen, or the version refused by a
                person.
        """
        first = str(partition.shift(1))
        self._append(PROMOTED, version, str(partition), first, reason, {}, origin, demand)
        self.roll_back(str(partition), f"Version {version} took its place.", origin, version)
        self.set_alias()
        return self.get(version)

    def take_back(
        self, partition: Partition, reason: str, origin: Origin, last_seen: str | None = None
    ) -> tuple[int, ...]:
        """Undo what this run put in use, but for partitions that were scored with it.

        A champion that is frozen stays, also later, if that was so when the no was decided.

        Args:
            partition: Partition as of which was trained.
            reason: Why.
            origin: The run.
            last_seen: As of :func:`~include.registry.interventions.is_kept`.

        Returns:
            Versions that were taken back by this call.
        """
        found = self.roll_back(str(partition), reason, origin, last_seen=last_seen)
        self.set_alias()
        return found

    def roll_back(
        self,
        partition: str,
        reason: str,
        origin: Origin,
        keep: int | None = None,
        last_seen: str | None = None,
    ) -> tuple[int, ...]:
        """Add the events of :meth:`take_back` alone, for all versions but one to keep."""
        found = [
            version
            for version, row in succession.promotions(self.events()).items()
            if (row["partition"], row["dag_run_id"]) == (partition, origin.dag_run_id)
            and version != keep
        ]
        details = {} if keep is None else {succession.REPLACED_BY: keep}
        return tuple(
            version
            for version in found
            if self._append(
                TAKEN_BACK, version, partition, "", reason, details, origin, last_seen=last_seen
            )
        )

    def set_alias(self) -> None:
        """Let the alias follow the events; of two tasks at once both leave it where they lead."""
        client = self.tracking_or_fail().client
        while True:
            events = self.events()
            current = succession.effective(events, None)
            if current is not None:
                client.set_registered_model_alias(self.lake.pipeline, CHAMPION, str(current))
            elif events:
                client.delete_registered_model_alias(self.lake.pipeline, CHAMPION)
            if succession.effective(self.events(), None) == current:
                return

    def retired(self) -> str:
        """Say how the pipeline is retired; '' if it is not, which costs one request."""
        store, uri = ObjectStore(self.lake.settings), retirement.file_uri(self.lake.pipeline)
        return retirement.told(self.events()) if store.exists(uri) else ""

    def demand_in_service(self) -> None:
        """Refuse to work on a pipeline that is retired.

        Raises:
            RetiredError: If it is.
        """
        if self.retired():
            retirement.demand_in_service(self.events(), self.lake.pipeline)

    def mark_retirement(self) -> None:
        """Let alias and tag in MLflow follow whether the pipeline is retired.

        A model that was never registered, or that somebody deleted there, has none.
        """
        if not self.tracking_or_fail().has_model():
            return
        name, client = self.lake.pipeline, self.tracking_or_fail().client
        self.set_alias()
        if told := retirement.told(self.events()):
            client.set_registered_model_tag(name, RETIRED_TAG, told)
        else:
            client.delete_registered_model_tag(name, RETIRED_TAG)

    def restore(
        self,
        wish: Wish,
        version: int,
        instead_of: int | None,
        last: Partition,
        verdict: str,
        origin: Origin,
    ) -> None:
        """Add the event of :func:`~include.registry.interventions.put_in_use`."""
        self.add(
            lambda held: interventions.put_in_use(
                held, wish, version, instead_of, last, verdict, origin
            ),
            origin,
        )

    def get(self, version: int) -> ModelVersion:
        """Read a registered version.

        Raises:
            RegistryError: If it was never registered.
        """
        for row in self.events():
            if row["event"] == "registered" and row["version"] == version:
                return ModelVersion.from_dict(json.loads(row["details"]))
        raise RegistryError(
            f"model {self.lake.pipeline}: version {version} must be registered, got none."
        )

    def is_promoted(self, version: int) -> bool:
        """Tell whether a version was put in use and not taken back."""
        return version in succession.promotions(self.events())

    def champion_as_of(self, partition: Partition) -> ModelVersion | None:
        """Find the version in use for a partition.

        That is the one that scored it, or of the promotions effective for it that of the latest
        training, or the one that a person went back to since.
        """
        version = self._scored_by(str(partition))
        return self.promoted_for(partition) if version is None else self.get(version)

    def promoted_for(self, partition: Partition) -> ModelVersion | None:
        """Find the version that the events put in use for a partition, whoever scored it."""
        version = succession.effective(self.events(), str(partition))
        return None if version is None else self.get(version)

    def incumbent(
        self, partition: Partition, origin: Origin, challenger: int | None = None
    ) -> ModelVersion | None:
        """Find whose place a version would take that is trained as of a partition.

        That is the latest trained of those in use, but for later trainings, this run's own, and
        the challenger itself.
        """
        event = succession.incumbent(self.events(), str(partition), origin.dag_run_id, challenger)
        return None if event is None else self.get(int(event["version"]))

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

    def successor(self, champion: ModelVersion, partition: Partition) -> ModelVersion:
        """Find what scores a partition in place of a version whose training was repeated.

        Of what a person keeps in use that is what took its place, unless that was refused or taken
        back, or the champion is frozen; itself if nothing is in use.
        """
        promoted = self.promoted_for(partition)
        if promoted is None:
            return champion
        return self.get(succession.latest_of(self.events(), promoted.version))

    def _scored_by(self, partition: str) -> int | None:
        if partition not in self.lake.row_counts(PROFILES):
            return None
        rows = self.lake.read(PROFILES, partitions=[partition], columns=["model_version"])
        return int(rows["model_version"][0].as_py())

    def events(self) -> list[Event]:
        """Read all events in their order."""
        return self._table().events()

    def add(self, make: Callable[[list[Event]], Event | None], origin: Origin) -> bool:
        """Add an event that follows from those that are held; returns whether there was one."""
        return self._table().append(make, origin=origin)

    def _table(self) -> EventTable:
        return EventTable(self.lake, TABLE, _COLUMNS)

    def _append(
        self,
        event: str,
        version: int,
        partition: str,
        effective_from: str,
        reason: str,
        details: Mapping[str, Any],
        origin: Origin,
        demand: Callable[[Sequence[Event]], None] | None = None,
        last_seen: str | None = None,
    ) -> bool:
        """Add an event, unless it is what happened last to the version, or a person is against."""
        row = {
            "event": event,
            "version": version,
            "partition": partition,
            "effective_from": effective_from,
            "reason": reason,
            "details": json.dumps(details, sort_keys=True),
            "dag_run_id": origin.dag_run_id,
        }

        def make(held: list[Event]) -> Event | None:
            if event == PROMOTED and (against := interventions.objection(held, version)):
                raise HeldBackError(against)
            if event == TAKEN_BACK and interventions.is_kept(held, version, last_seen):
                return None
            kinds = _IN_USE if event in _IN_USE else (event,)
            past = [item for item in held if item["version"] == version and item["event"] in kinds]
            if past and past[-1]["event"] == event:
                return None
            if demand is not None:
                demand(held)
            earlier = sum(item["event"] == event for item in past)
            return {**row, "key": attempt_key(f"{event}/{version}", earlier)}

        return self.add(make, origin)

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


def _content(model: ModelVersion) -> str:
    """Digest what makes a version another one of the same run: its files and what judges it.

    The training set counts by what it holds, not by the table's version: built again from the same
    rows, it is the same.
    """
    values = model.to_dict()
    held = {name: item for name, item in model.training_set.items() if name != "reference"}
    what = {**values, "version": 0, "training_set": held}
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
