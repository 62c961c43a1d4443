"""Putting a version in use by hand: one that was in use before, or one that the gate had refused.

A person decides, on record with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mlflow.exceptions import MlflowException

from include.calendar.partitions import parse
from include.errors import RegistryError
from include.registry import interventions, succession
from include.registry.champions import Registry
from include.registry.interventions import PROMOTED, ROLLED_BACK, Wish
from include.registry.model_files import MODEL, ModelVersion, load_model, load_reference
from include.registry.succession import RESTORED
from include.specification.pipeline import Pipeline
from include.steps.generations import demand_described
from include.steps.interventions import last_scored, record
from include.storage import ledger
from include.storage.event_tables import Event
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.wording import as_sentence


@dataclass(frozen=True)
class Handover:
    """What came of it.

    Args:
        version: Version that is in use now.
        instead_of: Version that was in use before; the same if nothing changed, None if none was.
        told: One sentence for people.
    """

    version: int
    instead_of: int | None
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
) -> Handover:
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
        RegistryError: If there is nothing to go back to, the version was never in use, was taken
            back or refused, its files are not those that were registered, its features are gone, or
            of a generation that the file does not describe any more, another version came into use
            since it was asked for, or the champion is frozen.
    """

    def choose(events: list[Event], current: int | None) -> int:
        if current is None:
            raise RegistryError(
                f"model {pipeline.name}: a version must be in use, got none. Trigger "
                f"{pipeline.name}_train first."
            )
        target = _chosen(pipeline.name, events, current) if asked_for is None else asked_for
        if target != current:
            _demand_usable(pipeline.name, events, target)
        return target

    wish = Wish(pipeline.name, RESTORED, ROLLED_BACK, asked_for, who, why, asked_at)
    return _put_in_use(lake, registry, pipeline, wish, choose, origin)


def promote(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    version: int,
    why: str,
    who: str,
    asked_at: datetime,
    origin: Origin,
) -> Handover:
    """Put a version in use by hand, whatever its verdict was, from the next partition on.

    It is verified as one to go back to is, and ends a refusal by hand. The arguments are those of
    :func:`roll_back`.

    Raises:
        RegistryError: If it was never registered, its files are not those that were registered, its
            features are gone, or of a generation that the file does not describe any more, another
            version came into use or it was refused since it was asked for, or the champion is
            frozen.
    """
    wish = Wish(pipeline.name, RESTORED, PROMOTED, version, who, why, asked_at)
    return _put_in_use(lake, registry, pipeline, wish, lambda *_: version, origin)


def _put_in_use(
    lake: Lake,
    registry: Registry,
    pipeline: Pipeline,
    wish: Wish,
    choose: Callable[[list[Event], int | None], int],
    origin: Origin,
) -> Handover:
    events = registry.events()
    record(lake, events, origin)
    begun = interventions.done_by(events, origin, wish)
    if begun is None:
        current = succession.effective(events, None)
        target = choose(events, current)
        if target == current:
            registry.set_alias()
            return Handover(current, current, _why_nothing(events, current, wish))
        interventions.demand_unfrozen(events, pipeline.name)
        _refuse_news(pipeline.name, events, current, wish.at)
        model = registry.get(target)
        _verify(lake, registry, model)
        demand_described(pipeline, model)
        last = parse(max(last_scored(lake), model.partition), pipeline.partition)
        verdict = "" if wish.decision == ROLLED_BACK else _verdict_on(lake, target)
        registry.restore(wish, target, current, last, verdict, origin)
        events = registry.events()
        begun = interventions.done_by(events, origin, wish)
        assert begun is not None
    record(lake, events, origin)
    registry.set_alias()
    version, said = int(begun["version"]), begun["reason"]
    now = succession.effective(registry.events(), None)
    if now != version:
        said = f"{as_sentence(said)} Since then version {now} came into use."
    return Handover(version, json.loads(begun["details"])["instead_of"], said)


def _verdict_on(lake: Lake, version: int) -> str:
    """Say what the gate had said of a version: of the answers of its run the latest."""
    found = [
        entry
        for entry in ledger.entries(lake, "promotion")
        if entry.evidence["challenger"] == version
    ]
    return f'Its verdict had been "{found[-1].reason}".' if found else "It was never judged."


def _chosen(name: str, events: list[Event], current: int) -> int:
    """Choose the version before; the one of now if somebody went back to it."""
    if interventions.is_rollback(succession.in_use(events)[-1]):
        return current
    found = succession.the_one_before(events)
    if found is None:
        raise RegistryError(
            f"model {name}: a version must have been in use before version {current}, got none. "
            "Train another one."
        )
    return found


def _why_nothing(events: list[Event], current: int, wish: Wish) -> str:
    last = succession.in_use(events)[-1]
    if wish.version is not None or not interventions.is_rollback(last):
        return f"Version {current} is in use already: nothing changed."
    return (
        f"Version {current} is in use since a rollback already: nothing changed. Name a version "
        "to go back further."
    )


def _refuse_news(name: str, events: list[Event], current: int | None, asked_at: datetime) -> None:
    """Refuse to end the use of a version that nobody knew of when it was asked for."""
    if current is None:
        return
    since = succession.changes(events)[-1].event["recorded_at"]
    if since > asked_at:
        raise RegistryError(
            f"model {name}: the version to replace must have been in use when it was asked "
            f"for, got version {current}, in use since {since:%Y-%m-%d %H:%M:%S} UTC. Look at it, "
            "and ask again if it shall not stay."
        )


def _demand_usable(name: str, events: list[Event], version: int) -> None:
    """Refuse a version that nobody ever put in use, or that was taken back for its verdict.

    Nor is one gone back to that a person refused.
    """
    interventions.demand_not_refused(events, name, version)
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
    held = lake.schema(model.features_table)
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
