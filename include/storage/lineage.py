"""Who wrote what from what: the origin that every commit, run and prediction carries."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TableReference:
    """One partition of a table at one version: what tasks hand to each other instead of rows.

    Args:
        pipeline: Pipeline that owns the table.
        table: Name of the table below ``s3://lake/<pipeline>/``.
        version: Delta version number, >= 0; -1 for a table that was never written.
        partition: Name of the partition; None for the whole table.
        rows: Rows of that partition at that version, >= 0.
    """

    pipeline: str
    table: str
    version: int
    partition: str | None
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping (for XCom)."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TableReference:
        """Read what :meth:`to_dict` gave; other keys are ignored."""
        return cls(**{name: values[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Origin:
    """Which task of which run writes, from which inputs, with which code.

    Args:
        dag_id: Airflow DAG, or ``local`` outside Airflow.
        dag_run_id: Airflow run id.
        task_id: Airflow task id.
        inputs: Tables that were read.
        commit: Commit of the code.
    """

    dag_id: str
    dag_run_id: str
    task_id: str
    inputs: tuple[TableReference, ...] = ()
    commit: str = field(default_factory=lambda: os.environ.get("RELEVO_COMMIT", "unknown"))

    def reading(self, *inputs: TableReference) -> Origin:
        """Add inputs."""
        return Origin(
            self.dag_id, self.dag_run_id, self.task_id, (*self.inputs, *inputs), self.commit
        )

    def metadata(self) -> dict[str, str]:
        """Render for the commit of a table; history then answers "who wrote this"."""
        return {
            "dag_id": self.dag_id,
            "dag_run_id": self.dag_run_id,
            "task_id": self.task_id,
            "commit": self.commit,
            "inputs": json.dumps([item.to_dict() for item in self.inputs]),
        }
