"""Whether a world ended as the reference world did: digests of rows, without names and times."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from stack.torture.observation import KEYS, LEDGER, REGISTRY, VERDICTS, Row, World

DATA_TABLES = tuple(table for table in KEYS if table not in (LEDGER, REGISTRY))
# What depends on who is champion.
_OF_THE_CHAMPION = frozenset(
    {"predictions", "profiles", "drift", "performance", "training_sets", LEDGER, REGISTRY}
)
# Versions of tables, digests of model files, and runs depend on how often something was tried.
_NO_CONTENT = frozenset({"version", "reference", "files", "run_id", "training_set", "pipeline"})
_SHOWN = 3


def first_failure(world: World, overtaken: Collection[str] = ()) -> str | None:
    """Name the first scored partition of which a run failed before somebody cleared it.

    Later partitions do not wait for a run that failed: they are scored by the champion that is
    left, and judge what there is, and that stays (docs/clearing.md). So what comes after it may
    differ.

    Args:
        world: The world.
        overtaken: Partitions whose scoring runs failed; trainings that did tell it on record.
    """
    scored = {row["partition"] for row in world.rows("profiles")}
    failed = {
        row["partition"]
        for row in world.rows(LEDGER)
        if (row["kind"], row["decision"]) == ("training", "failed")
    }
    return min(scored & (failed | set(overtaken)), default=None)


def until(world: World, last: str) -> World:
    """Leave out what depends on who was champion after a partition."""
    return replace(
        world,
        tables={
            name: [row for row in rows if name not in _OF_THE_CHAMPION or row["partition"] <= last]
            for name, rows in world.tables.items()
        },
    )


def differences(reference: World, world: World) -> list[str]:
    """Name the tables, events and decisions that are not as in the reference world."""
    found = []
    for table in DATA_TABLES:
        ours, theirs = digests(world, table), digests(reference, table)
        for partition in sorted({*ours, *theirs}):
            if ours.get(partition) != theirs.get(partition):
                found.append(f"table {table} {partition}: {_where(reference, world, table)}")
                break
    for what, describe in (("registry", events), ("ledger", decisions)):
        ours_listed, theirs_listed = describe(world), describe(reference)
        missing = sorted((Counter(theirs_listed) - Counter(ours_listed)).elements())
        extra = sorted((Counter(ours_listed) - Counter(theirs_listed)).elements())
        if missing or extra:
            found.append(
                f"{what}: missing {missing[:_SHOWN] or 'none'}, not in the reference "
                f"{extra[:_SHOWN] or 'none'}"
            )
    return found


def digests(world: World, table: str) -> dict[str, str]:
    """Digest the rows of each partition of a table."""
    labels = _labels(world)
    parts: dict[str, list[str]] = {}
    for row in world.rows(table):
        parts.setdefault(row["partition"], []).append(_plain(row, world.pipeline, labels))
    return {
        partition: hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
        for partition, rows in parts.items()
    }


def events(world: World) -> list[str]:
    """List what the registry's events say, in the order of partitions."""
    labels = _labels(world)
    return sorted(
        f"{row['event']} {labels[row['version']]} as of {row['partition']} from "
        f"{row['effective_from'] or '-'}"
        for row in world.rows(REGISTRY)
    )


def decisions(world: World) -> list[str]:
    """List what was decided: every answer once, and of trainings how they ended."""
    found = set()
    for row in world.rows(LEDGER):
        if row["kind"] != "training":
            reason = re.sub(r"\b([Vv]ersion) \d+", r"\1 <n>", row["reason"])
            found.add(f"{row['kind']} {row['partition']} {row['decision']}: {reason}")
        elif row["decision"] in VERDICTS:
            # Beginnings and failures depend on the faults, and no order is taken from clocks.
            found.add(f"training {row['partition']} {row['decision']}")
    return sorted(found)


def _labels(world: World) -> dict[int, str]:
    """Name versions by the partition they were trained as of: numbers depend on retries."""
    return {
        row["version"]: f"{row['partition']}/{json.loads(row['details'])['candidate']}"
        for row in world.events("registered")
    }


def _plain(row: Row, pipeline: str, labels: Mapping[int, str]) -> str:
    def clean(value: Any, name: str = "") -> Any:
        if name == "model_version":
            return labels.get(value, f"unregistered {value}")
        if isinstance(value, Mapping):
            return {k: clean(v, k) for k, v in sorted(value.items()) if k not in _NO_CONTENT}
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, str):
            if value[:1] in "{[" and value[-1:] in "}]":
                return clean(json.loads(value))
            text = value.replace(pipeline, "<pipeline>")
            return re.sub(r"\b([Vv]ersion) \d+", r"\1 <n>", text)
        return value

    return json.dumps(clean(row), sort_keys=True, default=str)


def _where(reference: World, world: World, table: str) -> str:
    """Tell of the first partition that differs which columns do."""
    ours, theirs = digests(world, table), digests(reference, table)
    named = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
    first = named[0]
    mine = _keyed(world, table, first)
    other = _keyed(reference, table, first)
    if mine.keys() != other.keys():
        return f"{len(mine)} rows, {len(other)} in the reference (differs: {', '.join(named)})"
    columns = sorted(
        {
            column
            for key, row in mine.items()
            for column in {*row, *other[key]}
            if row.get(column) != other[key].get(column)
        }
    )
    return f"other values in {', '.join(columns)} (differs: {', '.join(named)})"


def _keyed(world: World, table: str, partition: str) -> dict[tuple[Any, ...], Row]:
    labels = _labels(world)
    return {
        tuple(row[column] for column in KEYS[table]): json.loads(
            _plain(row, world.pipeline, labels)
        )
        for row in world.rows(table)
        if row["partition"] == partition
    }
