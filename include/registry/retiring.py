"""The events by which a pipeline is retired, taken back into service, or loses its tables.

Each has its place among promotions and whatever else people decide: of two at one moment the first
that is committed counts. So nobody undoes a retirement whose tables are being removed, and nobody
removes those of a pipeline that is in service again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from include.errors import RetiredError
from include.registry import retirement, succession
from include.registry.interventions import (
    Wish,
    demand_known,
    demand_unfrozen,
    done_by,
    last_of,
    make_event,
    past_of,
)
from include.registry.retirement import UNTIL
from include.registry.succession import REINSTATED, REMOVED, RETIRED
from include.storage.event_tables import Event
from include.storage.lineage import Origin


def retire(
    held: Sequence[Event], wish: Wish, keep_days: int, last: str, origin: Origin
) -> Event | None:
    """Make the event that retires a pipeline; none if it is retired already.

    Args:
        held: All events so far.
        wish: What is asked for.
        keep_days: How long its tables stay, >= 1.
        last: Name of the latest partition that was scored; '' if none was.
        origin: Who does it.

    Raises:
        RegistryError: If the champion is frozen, or somebody undid a retirement since this was
            asked for.
    """
    if done_by(held, origin, wish) or succession.retirement(held):
        return None
    demand_unfrozen(held, wish.pipeline, "for its pipeline to be retired")
    demand_known(last_of(held, (RETIRED, REINSTATED)), wish)
    champion = succession.effective(held, None)
    until = _now() + timedelta(days=keep_days)
    out_of_use = f", version {champion} is out of use" if champion is not None else ""
    reason = (
        f"Pipeline {wish.pipeline} is retired: nothing of it runs{out_of_use}, and its tables stay "
        f"until {until:%Y-%m-%d %H:%M} UTC. {wish.who}: {wish.why}"
    )
    details = {"champion": champion, "restored": None, UNTIL: until.isoformat()}
    return make_event(held, wish, champion, past_of(held, last), "", reason, details, origin)


def reinstate(held: Sequence[Event], wish: Wish, last: str, origin: Origin) -> Event | None:
    """Make the event that undoes a retirement; none if there is none. Arguments: :func:`retire`.

    Raises:
        RetiredError: If the tables are removed, or about to be.
        RegistryError: If somebody retired it since this was asked for.
    """
    event, found = succession.retirement(held), retirement.find(held)
    if event is None or found is None or done_by(held, origin, wish):
        return None
    if found.removed_at is not None:
        raise RetiredError(
            f"pipeline {wish.pipeline}: its tables must still be there for a retirement to be "
            f"undone, got: {retirement.told(held)}. {retirement.remedy(held, wish.pipeline)}"
        )
    demand_known(event, wish)
    champion = succession.effective([*held, {**event, "event": REINSTATED}], None)
    again = f", and version {champion} is in use again" if champion is not None else ""
    reason = (
        f"Pipeline {wish.pipeline} is not retired any more{again}. Its DAGs stay paused until "
        f"somebody unpauses them. {wish.who}: {wish.why}"
    )
    details = {"champion": None, "restored": champion}
    return make_event(held, wish, champion, past_of(held, last), "", reason, details, origin)


def is_due(events: Sequence[Event], moment: datetime) -> bool:
    """Tell whether the tables are to be removed, also if that has begun.

    Args:
        events: All events.
        moment: Naive UTC.
    """
    found = retirement.find(events)
    return found is not None and (found.removed_at is not None or found.until <= moment)


def remove(
    held: Sequence[Event], pipeline: str, moment: datetime, told: str, origin: Origin
) -> Event | None:
    """Make the event after which tables are removed; none if that has begun, or is not due.

    Args:
        held: All events so far.
        pipeline: Name of the pipeline.
        moment: The present moment, naive UTC.
        told: What is kept, for the reason.
        origin: Who does it.
    """
    found = retirement.find(held)
    if found is None or found.removed_at is not None or not is_due(held, moment):
        return None
    reason = f"The tables of pipeline {pipeline} are removed. {told}"
    why = "its waiting time is over"
    wish = Wish(pipeline, REMOVED, "removed", None, "maintenance", why, moment)
    details = {"champion": None}
    return make_event(held, wish, None, past_of(held, ""), "", reason, details, origin)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
