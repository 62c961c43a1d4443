"""What maintenance of a pipeline removed, or is about to: a page, and the same as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from include.steps.maintenance_plan import Item, Outcome, Plan, tally
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore, content_type
from include.storage.settings import REPORTS
from include.templates import render

_SHOWN = 200
_NOTHING = (0, 0)


@dataclass(frozen=True)
class Line:
    """A kind of thing: (number, bytes) planned, done and left; the latter two are 0 of a plan."""

    kind: str
    planned: tuple[int, int]
    done: tuple[int, int]
    left: tuple[int, int]


def publish_maintenance(lake: Lake, found: Plan | Outcome) -> str:
    """Publish a plan or what came of it in place of the last one; returns the page's address."""
    folder = f"s3://{REPORTS}/{lake.pipeline}/maintenance"
    store = ObjectStore(lake.settings)
    files = {"items.csv": _table(found), "index.html": render_maintenance(found)}
    for name, text in files.items():
        store.write(f"{folder}/{name}", text.encode(), content_type(name))
    return f"{folder}/index.html"


def render_maintenance(found: Plan | Outcome) -> str:
    """Render the page."""
    plan, outcome = _parts(found)
    return render(
        "maintenance",
        title=f"{plan.pipeline}: maintenance",
        plan=plan,
        outcome=outcome,
        lines=lines(found),
        usage=[
            (kind, plan.usage.get(kind, _NOTHING), (outcome or plan).usage.get(kind, _NOTHING))
            for kind in sorted({*plan.usage, *(outcome.usage if outcome else ())})
        ],
        items=plan.items[:_SHOWN],
    )


def lines(found: Plan | Outcome) -> list[Line]:
    """Add up by kind what was planned, done and left."""
    plan, outcome = _parts(found)
    planned = tally(plan.items)
    done, left = (tally(outcome.done), tally(outcome.left)) if outcome else ({}, {})
    return [
        Line(kind, sums, done.get(kind, _NOTHING), left.get(kind, _NOTHING))
        for kind, sums in planned.items()
    ]


def _table(found: Plan | Outcome) -> str:
    plan, outcome = _parts(found)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(("state", "kind", "name", "bytes", "why"))
    if outcome is None:
        writer.writerows(_cells("planned", plan.items))
    else:
        writer.writerows(_cells("done", outcome.done))
        writer.writerows(_cells("left", outcome.left))
    return target.getvalue()


def _cells(state: str, items: Iterable[Item]) -> Iterable[tuple[object, ...]]:
    return ((state, item.kind, item.name, item.size, item.why) for item in items)


def _parts(found: Plan | Outcome) -> tuple[Plan, Outcome | None]:
    return (found.plan, found) if isinstance(found, Outcome) else (found, None)
