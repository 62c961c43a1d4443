"""Going back to a version that was in use before: a person decides, on record with the reason."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from mlflow.exceptions import MlflowException

from include.calendar.partitions import Partition, parse
from include.errors import RegistryError
from include.features.feature_function import TABLE as FEATURES
from include.registry import succession
from include.registry.champions import PROFILES, Registry, restored_by
from include.registry.model_files import MODEL, ModelVersion, load_model, load_reference
from include.registry.succession import RESTORED
from include.specification.pipeline import Pipeline
from include.storage import ledger
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin


@dataclass(frozen=True)
class Rollback:
    """What came of it.

    Args:
        version: Version that is in use now.
        instead_of: Version that was in use before; the same if nothing changed.
        told: One sentence for people.
    """

    version: int
    instead_of: int
    told: str

    @property
    def changed(self) -> bool:
        """Tell whether another version is in use now."""
        return self.version != self.instead_of


def roll_back(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    asked_for: int | None,
    why: str,
    who: str,
    asked_at: datetime,
    origin: Origin,
) -> Rollback:
    """Put a version in use again, model and drift reference together, from the next partition on.

    Going back to what is in use already changes nothing; neither does going back to "the one
    before" of a version that somebody went back to. A run that is tried again finishes what it
    began, and so does the next one.

    Args:
        lake: The pipeline's tables.
        registry: Its versions, with MLflow.
        pipeline: The pipeline file.
        asked_for: What to go back to; None for the version that was in use before.
        why: The reason, for the ledger.
        who: Who asks for it.
        asked_at: When, naive UTC: what was in use then is what shall not be any more.
        origin: The run that does it.

    Raises:
        RegistryError: If there is nothing to go back to, the version was never in use or was taken
            back, its files are not those that were registered, its features are gone, or another
            version came into use since it was asked for.
    """
    events = registry.events()
    begun = restored_by(events, origin, asked_for, why)
    if begun is None:
        current = succession.effective(events, None)
        if current is None:
            raise RegistryError(
                f"model {pipeline.name}: a version must be in use, got none. Trigger "
                f"{pipeline.name}_train first."
            )
        target = _chosen(pipeline.name, events, current) if asked_for is None else asked_for
        if target == current:
            _finish(lake, registry, succession.in_use(events)[-1], origin.dag_id)
            return Rollback(current, current, _why_nothing(events, current, asked_for))
        _refuse_news(pipeline.name, events, current, asked_at)
        _demand_usable(pipeline.name, events, target)
        model = registry.get(target)
        _verify(lake, registry, model)
        last = _latest_scored(lake, pipeline) or parse(model.partition, pipeline.partition)
        registry.restore(
            target, current, last, who=who, why=why, asked_for=asked_for, origin=origin
        )
        begun = restored_by(registry.events(), origin, asked_for, why)
        assert begun is not None
    _finish(lake, registry, begun, origin.dag_id)
    version, told = int(begun["version"]), begun["reason"]
    now = succession.effective(registry.events(), None)
    if now != version:
        told = f"{told} Since then version {now} came into use."
    return Rollback(version, int(json.loads(begun["details"])["instead_of"]), told)


def _finish(lake: Lake, registry: Registry, event: Event, dag_id: str) -> None:
    """Write what follows from the event of a rollback, whoever was killed before: ledger, alias."""
    if event["event"] == RESTORED:
        details = json.loads(event["details"])
        ledger.record(
            lake,
            "rollback",
            event["partition"],
            "rolled back",
            event["reason"],
            origin=Origin(dag_id, event["dag_run_id"], "roll_back"),
            evidence={
                "by": details["by"],
                "champion": details["instead_of"],
                "restored": event["version"],
            },
        )
    registry.set_alias()


def _chosen(name: str, events: list[Event], current: int) -> int:
    """Choose the version before; the one of now if somebody went back to it."""
    if succession.in_use(events)[-1]["event"] == RESTORED:
        return current
    found = succession.the_one_before(events)
    if found is None:
        raise RegistryError(
            f"model {name}: a version must have been in use before version {current}, got none. "
            "Train another one."
        )
    return found


def _why_nothing(events: list[Event], current: int, asked_for: int | None) -> str:
    last = succession.in_use(events)[-1]
    if asked_for is not None or last["event"] != RESTORED:
        return f"Version {current} is in use already: nothing changed."
    return (
        f"Version {current} is in use since a rollback already: nothing changed. Name a version "
        "to go back further."
    )


def _refuse_news(name: str, events: list[Event], current: int, asked_at: datetime) -> None:
    """Refuse to go back from a version that nobody knew of when it was asked for."""
    since = succession.changes(events)[-1].event["recorded_at"]
    if since > asked_at:
        raise RegistryError(
            f"model {name}: the version to go back from must have been in use when it was asked "
            f"for, got version {current}, in use since {since:%Y-%m-%d %H:%M:%S} UTC. Look at it, "
            "and ask again if it shall not stay."
        )


def _demand_usable(name: str, events: list[Event], version: int) -> None:
    """Refuse a version that nobody ever put in use, or that was taken back for its verdict."""
    allowed = succession.usable(events)
    if version not in allowed:
        taken_back = any(
            (row["event"], row["version"]) == (succession.TAKEN_BACK, version) for row in events
        )
        raise RegistryError(
            f"model {name}: a version to go back to must be one of "
            f"{', '.join(map(str, sorted(allowed)))}, got {version}, which "
            f"{'was taken back, as the ledger says' if taken_back else 'was never in use'}."
        )


def _verify(lake: Lake, registry: Registry, model: ModelVersion) -> None:
    """Load what will be in use, so that it is what was registered, and can be used."""
    load_model(lake.settings, model.files[MODEL], model.trusted)
    load_reference(lake.settings, model)
    held = lake.schema(FEATURES)
    there = set() if held is None else set(held.names)
    gone = [name for name in (*model.numeric, *model.categorical) if name not in there]
    if gone:
        raise RegistryError(
            f"model {lake.pipeline}: features must hold every column that version "
            f"{model.version} was trained on, got none named {', '.join(gone[:10])}. Choose "
            "another version, or train again."
        )
    client = registry.tracking_or_fail().client
    try:
        client.get_model_version(lake.pipeline, str(model.version))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise RegistryError(
            f"model {lake.pipeline}: version {model.version} must be registered in MLflow, got "
            "none. It was deleted there: restore it, or choose another version."
        ) from error


def _latest_scored(lake: Lake, pipeline: Pipeline) -> Partition | None:
    names = lake.partitions(PROFILES)
    return parse(max(names), pipeline.partition) if names else None
