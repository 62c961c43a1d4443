"""Going back to a version that was in use before: a person decides, on record with the reason."""

from __future__ import annotations

from dataclasses import dataclass

from mlflow.exceptions import MlflowException

from include.calendar.partitions import Partition, parse
from include.errors import RegistryError
from include.features.feature_function import TABLE as FEATURES
from include.registry import succession
from include.registry.champions import PROFILES, Registry
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
    version: int | None,
    reason: str,
    who: str,
    origin: Origin,
) -> Rollback:
    """Put a version in use again, model and drift reference together, from the next partition on.

    Going back to what is in use already changes nothing; neither does going back to "the one
    before" of a version that somebody went back to. A run that is tried again finishes what it
    began.

    Args:
        lake: The pipeline's tables.
        registry: Its versions, with MLflow.
        pipeline: The pipeline file.
        version: What to go back to; None for the version that was in use before.
        reason: Why, for the ledger.
        who: Who asks for it.
        origin: The run that does it.

    Raises:
        RegistryError: If there is nothing to go back to, the version was never in use or was taken
            back, its files are not those that were registered, or its features are gone.
    """
    begun = registry.restored_by(origin)
    if begun is not None:
        target, current = begun
    else:
        events = registry.events()
        now = succession.effective(events, None)
        if now is None:
            raise RegistryError(
                f"model {pipeline.name}: a version must be in use, got none. Trigger "
                f"{pipeline.name}_train first."
            )
        current = now
        chosen = _chosen(pipeline.name, events, current) if version is None else version
        if chosen == current:
            why = _why_nothing(events, current, named=version is not None)
            return Rollback(current, current, why)
        target = chosen
        _demand_usable(pipeline.name, events, target)
        _verify(lake, registry, registry.get(target))
    last = _latest_scored(lake, pipeline) or parse(
        registry.get(current).partition, pipeline.partition
    )
    kept = registry.restore(target, current, last, reason, origin)
    told = (
        f"Version {target} is in use again instead of version {current}, from {kept.shift(1)} on. "
        f"{who}: {reason}"
    )
    ledger.record(
        lake,
        "rollback",
        str(kept),
        "rolled back",
        told,
        origin=origin,
        evidence={"by": who, "champion": current, "restored": target},
    )
    return Rollback(target, current, told)


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


def _why_nothing(events: list[Event], current: int, *, named: bool) -> str:
    last = succession.in_use(events)[-1]
    if named or last["event"] != RESTORED:
        return f"Version {current} is in use already: nothing changed."
    return (
        f"Version {current} is in use since a rollback already: nothing changed. Name a version "
        "to go back further."
    )


def _demand_usable(name: str, events: list[Event], version: int) -> None:
    """Refuse a version that nobody ever put in use, or that its own training took back."""
    usable = sorted({row["version"] for row in succession.in_use(events)})
    if version not in usable:
        taken_back = any(
            (row["event"], row["version"]) == (succession.TAKEN_BACK, version) for row in events
        )
        raise RegistryError(
            f"model {name}: a version to go back to must be one of "
            f"{', '.join(map(str, usable))}, got {version}, which "
            f"{'its training took back' if taken_back else 'was never in use'}."
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
