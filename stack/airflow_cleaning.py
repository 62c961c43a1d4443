"""Remove old runs from Airflow's database, where that is known: beside the scheduler, in no task.

    python -m stack.airflow_cleaning --days 365             says what it would remove
    python -m stack.airflow_cleaning --days 365 --remove    removes it

`./relevo clean` runs this on the embedded stack and, with --compose, in docker-compose; a CronJob
with the scheduler's image and secrets does on Kubernetes. Workers know no database.

It follows `airflow db clean` with rules of our own, because that takes rows by their age alone, and
its --exclude-dag-ids fails on tables without a DAG. A run goes as a whole, with its tasks and what
they left in XCom. Nothing goes that is younger than the oldest open run: that may have begun at its
date, whatever was cleared of it since. Runs of trainings stay, because `platform_reprocess` repeats
no training whose run is gone; so do rollbacks and reprocessings, which people asked for, the latest
run of each schedule, by which Airflow knows what is due, and the audit log.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session, aliased

DAYS = 365
LEAST_DAYS = 14
# What grows beside the runs, and hangs on none.
_TABLES = ("celery_taskmeta", "celery_tasksetmeta", "import_error", "job", "revoked_token")
_ASKED_FOR = ("platform_rollback", "platform_reprocess")
_AT_ONCE = 500


def clean(days: int, now: datetime, *, remove: bool) -> tuple[datetime, int]:
    """Remove what is older, or look what that is.

    Args:
        days: How long runs stay.
        now: The present moment, aware.
        remove: Whether to remove it.

    Returns:
        (before which moment, how many runs).
    """
    import pendulum
    from airflow.models.dagrun import DagRun
    from airflow.utils.db_cleanup import run_cleanup
    from airflow.utils.session import create_session

    with create_session() as session:
        before = _cutoff(session, now - timedelta(days=days))
        found = _old_runs(session, before)
    if remove:
        for at in range(0, len(found), _AT_ONCE):
            with create_session() as session:
                # The database takes what belongs to a run with it.
                session.execute(delete(DagRun).where(DagRun.id.in_(found[at : at + _AT_ONCE])))
    run_cleanup(
        clean_before_timestamp=pendulum.instance(before),
        table_names=list(_TABLES),
        dry_run=not remove,
        confirm=False,
        skip_archive=True,
        error_on_cleanup_failure=True,
    )
    return before, len(found)


def _cutoff(session: Session, cutoff: datetime) -> datetime:
    """Go back to the oldest open run, if that may have begun before."""
    from airflow.models.dagrun import DagRun

    active = select(DagRun.run_after, DagRun.start_date).where(
        DagRun.state.in_(("queued", "running"))
    )
    moments: list[datetime | None] = [moment for row in session.execute(active) for moment in row]
    return min([cutoff, *(moment for moment in moments if moment is not None)])


def _old_runs(session: Session, before: datetime) -> list[int]:
    """List the ids of the runs that go."""
    from airflow.models.dagrun import DagRun

    other = aliased(DagRun)
    latest = (
        select(func.max(other.run_after))
        .where(other.dag_id == DagRun.dag_id, other.run_type != "manual")
        .scalar_subquery()
    )
    return list(
        session.scalars(
            select(DagRun.id).where(
                DagRun.start_date < before,
                DagRun.state.in_(("success", "failed")),
                DagRun.dag_id.not_like("%\\_train", escape="\\"),
                DagRun.dag_id.not_in(_ASKED_FOR),
                or_(DagRun.run_type == "manual", DagRun.run_after < latest),
            )
        )
    )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--remove", action="store_true")
    options = parser.parse_args()
    if options.days < LEAST_DAYS:
        parser.error(f"--days: must be at least {LEAST_DAYS}, got {options.days}")
    before, runs = clean(options.days, datetime.now(UTC), remove=options.remove)
    told = "Removed" if options.remove else "Would remove, with --remove,"
    print(f"{told} {runs} runs of before {before:%Y-%m-%d %H:%M} UTC, and what is said above.")


if __name__ == "__main__":
    main()
