"""How Airflow runs the tasks."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from include.specification.sections.section import Section

_Text = Annotated[str, Field(min_length=1, max_length=250)]


class Execution(Section):
    """How Airflow runs the tasks of both DAGs: where, how often, how long, and who goes first.

    Args:
        retries: How often a task that failed for another reason than its data is tried again.
        timeout: Minutes after which a try is ended; waiting for a training or for a person's
            answer has deadlines of its own.
        training_deadline: Hours that a training may take, and that later partitions wait for it; a
            person's answer comes on top.
        pool: Airflow pool whose slots the tasks take. When it is full, the pipelines of one pool
            wait for each other, and not for those of others. It must exist: Airflow begins no task
            of a pool that does not.
        priority: Of the tasks that wait for a slot, or for a worker, those with a higher number go
            first; if unset, the early tasks of a run do.
        queue: Queue of the workers that take the tasks, where the executor knows queues; the
            deployment's default if unset.
        executor: Executor that takes the tasks, where the deployment has several; its first one if
            unset.
    """

    retries: Annotated[int, Field(ge=1, le=100)] = 2
    timeout: Annotated[int, Field(ge=1, le=10_080)] = 60
    training_deadline: Annotated[int, Field(ge=1, le=720)] = 6
    pool: _Text = "default_pool"
    priority: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    queue: _Text | None = None
    executor: _Text | None = None
