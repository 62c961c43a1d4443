"""A tiny pipeline and tables of its own for each test of the library."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from include.specification.pipeline import Pipeline
from include.storage.lineage import Origin
from include.storage.settings import StoreSettings

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
def lake(store_settings: StoreSettings) -> Any:
    """Tables of a pipeline that no other test knows."""
    from include.storage.lake_tables import Lake

    return Lake(store_settings, f"p{uuid.uuid4().hex[:12]}")


@pytest.fixture
def origin() -> Origin:
    """The task that writes."""
    return Origin("p_score", "run_1", "task_1", commit="abc1234")


@pytest.fixture
def make_pipeline(lake: Any) -> MakePipeline:
    """Make a quarterly pipeline named as its tables; sections can be changed."""

    def make(**sections: Any) -> Pipeline:
        document = {
            "name": lake.pipeline,
            "description": "Tests.",
            "owner": "tests",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "partition": "quarterly",
            "schedule": {"cron": "0 6 5 1,4,7,10 *", "start": "2004-01-01"},
            "sources": {
                "loans": {
                    "uri": f"s3://landing/{lake.pipeline}/loans/{{partition}}/",
                    "suite": "loans",
                },
                "outcomes": {
                    "uri": f"s3://landing/{lake.pipeline}/outcomes/{{partition}}/",
                    "suite": "outcomes",
                    "labels": {"column": "bad", "known_at": "known"},
                },
            },
            "features": {"function": "include.pipelines.loan_default:features", "suite": "f"},
            "training": {"window": 3, "candidates": {"logistic_regression": {}}},
            "promotion": {"require": {"roc_auc": 0.6}},
        }
        for name, section in sections.items():
            held = document.get(name)
            document[name] = {**held, **section} if isinstance(held, dict) else section
        return Pipeline.model_validate(document)

    return make


@pytest.fixture(scope="session")
def make_scores() -> Callable[..., tuple[Any, Any, Any]]:
    """Make labels, good scores of them, and poorer ones, coarse enough to hold ties."""
    import numpy as np

    def make(rows: int, share: float = 0.1, seed: int = 0) -> tuple[Any, Any, Any]:
        generator = np.random.default_rng(seed)
        y = (np.arange(rows) < rows * share).astype(int)
        good = np.clip(generator.beta(2, 6, rows) + 0.25 * y, 0, 1)
        poor = np.clip(good + generator.normal(0, 0.3, rows), 0, 1).round(2)
        return y, good, poor

    return make
