"""What must hold of a world after every fault. Each gives the violations that it finds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from stack.torture.observation import (
    KEYS,
    LEDGER,
    PREDICTIONS,
    PROFILES,
    REGISTRY,
    SOURCES,
    Row,
    World,
)

RETENTION_DAYS = 7.0
_SHOWN = 5

Invariant = Callable[[World], list[str]]


def each_row_once(world: World) -> list[str]:
    """Every table holds each row once, by its key and partition."""
    found = []
    for table, key in KEYS.items():
        counts = Counter(tuple(row[column] for column in key) for row in world.rows(table))
        doubled = [name for name, count in counts.items() if count > 1]
        found += _some(f"table {table}: rows that are there more than once", doubled)
    return found


def rows_in_are_kept_or_quarantined(world: World) -> list[str]:
    """Rows that landed are kept or in quarantine, and none is in both."""
    found = []
    for source in SOURCES:
        kept, quarantined = _counts(world, f"raw_{source}"), _counts(world, f"quarantine_{source}")
        for partition in sorted({*kept, *quarantined}):
            landed = world.landed[source].get(partition, 0)
            together = kept[partition] + quarantined[partition]
            if together != landed:
                found.append(
                    f"source {source} {partition}: {landed} rows landed, "
                    f"{kept[partition]} kept + {quarantined[partition]} quarantined"
                )
    rows, features = _counts(world, "raw_loans"), _counts(world, "features")
    quarantined = _counts(world, "quarantine_features")
    for partition in sorted(features):
        if features[partition] + quarantined[partition] != rows[partition]:
            found.append(
                f"features {partition}: {rows[partition]} rows, {features[partition]} kept + "
                f"{quarantined[partition]} quarantined"
            )
    for partition, count in sorted(_counts(world, PREDICTIONS).items()):
        if count != features[partition]:
            found.append(f"predictions {partition}: {count} of {features[partition]} rows")
    return found


def labels_are_those_kept(world: World) -> list[str]:
    """Every outcome that was kept is a label, and no other."""
    kept, labels = _counts(world, "raw_outcomes"), _counts(world, "labels")
    return [
        f"labels {partition}: {kept[partition]} outcomes kept, {labels[partition]} labels"
        for partition in sorted({*kept, *labels})
        if kept[partition] != labels[partition]
    ]


def versions_are_complete(world: World) -> list[str]:
    """Every registered version is in MLflow, and its files have the digests on record."""
    found = []
    for row in world.events("registered"):
        version = row["version"]
        if version not in world.versions:
            found.append(f"version {version}: is registered, and MLflow does not hold it")
        for name, (address, digest) in json.loads(row["details"])["files"].items():
            stored = world.files.get(address)
            if stored != digest:
                found.append(f"version {version}: {name} has digest {stored}, recorded {digest}")
    return found


def alias_is_a_registered_version(world: World) -> list[str]:
    """The alias is at a version with an event of its registration."""
    registered = {row["version"] for row in world.events("registered")}
    if world.alias is None or world.alias in registered:
        return []
    return [f"alias champion: at version {world.alias}, which was never registered"]


def alias_follows_the_events(world: World) -> list[str]:
    """The alias is where the registry's events say."""
    expected = world.champion_as_of()
    if world.alias == expected:
        return []
    return [f"alias champion: at version {world.alias}, the events say {expected}"]


def runs_have_ended(world: World) -> list[str]:
    """No MLflow run of the experiment is under way."""
    active = [name for name, status in world.runs.items() if status in ("RUNNING", "SCHEDULED")]
    return _some("MLflow runs that have not ended", active)


def champion_scored(world: World) -> list[str]:
    """What was scored in its time was scored by the champion as of its partition."""
    scored = {
        (row["partition"], row["model_version"])
        for row in world.rows(PREDICTIONS)
        if not row["back_scored"]
    }
    return [
        f"predictions {partition}: by version {version}, champion as of it is "
        f"{world.champion_as_of(partition)}"
        for partition, version in sorted(scored)
        if version != world.champion_as_of(partition)
    ]


def no_old_orphans(world: World) -> list[str]:
    """No data file that no commit names is older than the retention."""
    old = [address for address, days in world.orphans.items() if days > RETENTION_DAYS]
    return _some(f"data files in no commit, older than {RETENTION_DAYS:.0f} days", old)


OF_ONE: Mapping[str, Invariant] = {
    check.__name__.replace("_", " "): check
    for check in (
        each_row_once,
        rows_in_are_kept_or_quarantined,
        labels_are_those_kept,
        versions_are_complete,
        alias_is_a_registered_version,
        alias_follows_the_events,
        runs_have_ended,
        champion_scored,
        no_old_orphans,
    )
}


def nothing_recorded_is_lost(before: World, after: World) -> list[str]:
    """What ledger and registry held once they hold for ever, as it was."""
    found = []
    for table in (LEDGER, REGISTRY):
        held = {row["key"]: row for row in after.rows(table)}
        for row in before.rows(table):
            if row["key"] not in held:
                found.append(f"{table}: entry {row['key']} is lost")
            elif _recorded(held[row["key"]], row) != _recorded(row, row):
                found.append(f"{table}: entry {row['key']} was changed")
    return found


def past_champions_stay(before: World, after: World) -> list[str]:
    """The champion as of a partition that its own run scored stays.

    What a later run scored in its place, to judge it, counts as scored by nobody (ADR 0025).
    """
    scored = sorted({row["partition"] for row in before.rows(PROFILES)})
    return [
        f"champion as of {partition}: was version {before.champion_as_of(partition)}, is "
        f"{after.champion_as_of(partition)}"
        for partition in scored
        if before.champion_as_of(partition) != after.champion_as_of(partition)
    ]


OF_TWO: Mapping[str, Callable[[World, World], list[str]]] = {
    check.__name__.replace("_", " "): check
    for check in (nothing_recorded_is_lost, past_champions_stay)
}


def _recorded(row: Row, columns: Iterable[str]) -> Row:
    # A column may be new since.
    return {name: row[name] for name in columns}


def _counts(world: World, table: str) -> Counter[str]:
    return Counter(row["partition"] for row in world.rows(table))


def _some(what: str, found: Sequence[object]) -> list[str]:
    if not found:
        return []
    shown = ", ".join(map(str, sorted(found, key=str)[:_SHOWN]))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [f"{what}: {shown}{more}"]
