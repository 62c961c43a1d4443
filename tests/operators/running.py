"""What operators see while they run, and what they hand on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from include.storage.drafts import Draft
from include.storage.lineage import TableReference
from include.storage.settings import StoreSettings

SPARK = SimpleNamespace(name="the Spark session")
DRAFT = Draft("loan_default", "raw_loans", "2005-Q1", 100, "s3://lake/x/drafts/raw_loans/1.json")
RAW = TableReference("loan_default", "raw_loans", 3, "2005-Q1", 100)
FEATURES = TableReference("loan_default", "features", 4, "2005-Q1", 98)


@dataclass
class TaskInstance:
    """What operators use of Airflow's own."""

    dag_id: str = "loan_default_score"
    run_id: str = "manual__1"
    task_id: str = "a_task"
    id: str = "an id"
    pushed: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)

    def xcom_pull(self, task_ids: str) -> Any:
        """Return what another task answered: something, unless it is said what."""
        return self.answers.get(task_ids, "something")

    def xcom_push(self, key: str, value: Any) -> None:
        """Remember a value."""
        self.pushed[key] = value


def small_json(value: Any) -> Any:
    """Send a value through XCom: JSON, and far too small for rows."""
    text = json.dumps(value)
    assert len(text) < 2000
    return json.loads(text)


def store_connection(settings: StoreSettings) -> str:
    """Render the Airflow connection of a store, as a variable holds it."""
    assert settings.secret_key is not None
    return json.dumps(
        {
            "conn_type": "aws",
            "login": settings.access_key,
            "password": settings.secret_key.get_secret_value(),
            "extra": {"endpoint_url": settings.endpoint_url},
        }
    )
