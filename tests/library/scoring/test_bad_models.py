"""Champions and batches of the corpus of bad inputs: every row is scored once, or none is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from include.errors import RelevoError
from include.registry import model_files
from include.scoring import batch_scoring
from include.specification.pipeline import Pipeline
from include.storage.lake_tables import Lake
from include.storage.lineage import Origin
from include.storage.object_store import ObjectStore
from tests.corpus.models import CASES, Model
from tests.library.scoring.test_batch_scoring import (  # noqa: F401  (fixtures)
    frame,
    pipeline,
    put_features,
    trained,
    worker,
)


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_a_batch_is_scored_once_or_not_at_all(
    case: Model,
    lake: Lake,
    pipeline: Pipeline,  # noqa: F811
    origin: Origin,
) -> None:
    model_files.load_model.cache_clear()
    version = case.damage(ObjectStore(lake.settings), trained(lake, "binary"))
    batch = put_features(lake, origin, "2005-Q1", case.rows(frame(30, 2)))

    def score() -> Any:
        return batch_scoring.score(None, lake, pipeline, batch, version, origin)

    if case.says is not None:
        with pytest.raises(RelevoError) as caught:
            score()
        message = str(caught.value)
        for words in case.says:
            assert words in message, message
            message = message.partition(words)[2]
        assert not lake.exists("predictions")
        return
    for _ in range(2):
        score()
    found = lake.read("predictions").to_pandas()
    assert sorted(found["id"]) == sorted(case.rows(frame(30, 2))["id"])
    assert np.isfinite(found["score"]).all()
