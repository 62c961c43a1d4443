"""Evidence: both models on the same rows, and what cannot be judged left open."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from include.bootstrap import paired_bootstrap
from include.errors import MonitoringError
from include.evaluation import metric
from include.evidence import Evidence, gather_evidence
from include.specification import Promotion

MakeScores = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
POLICY = Promotion.model_validate({"require": {"roc_auc": 0.6}, "guard": {"slices": ["state"]}})


class TestGatherEvidence:
    def test_with_a_champion(self, make_scores: MakeScores) -> None:
        y, good, poor = make_scores(2000)
        slices = pd.DataFrame({"state": np.where(np.arange(2000) % 100 == 0, "AK", "CA")})
        evidence = gather_evidence(
            y, good, poor, slices, policy=POLICY, metric="roc_auc", seed=7, partitions=["2004-Q4"]
        )
        assert (evidence.rows, evidence.positives) == (2000, 200)
        assert evidence.partitions == ("2004-Q4",)
        assert evidence.challenger["roc_auc"].value == metric("roc_auc", y, good)
        assert evidence.champion == {"roc_auc": metric("roc_auc", y, poor)}
        assert evidence.comparison == paired_bootstrap(
            "roc_auc", y, good, poor, confidence=0.95, seed=7
        )
        alaska, california = evidence.slices
        assert (alaska.level, alaska.rows, alaska.positives) == ("AK", 20, 2)
        assert alaska.challenger is alaska.champion is alaska.difference is alaska.upper is None
        assert california.difference is not None
        assert california.upper is not None
        assert california.upper > california.difference > 0
        document = json.loads(json.dumps(evidence.to_dict(), allow_nan=False))
        assert Evidence.from_dict(document) == evidence

    def test_without_a_champion(self, make_scores: MakeScores) -> None:
        y, good, _ = make_scores(1000)
        slices = pd.DataFrame({"state": ["CA"] * 1000})
        evidence = gather_evidence(y, good, None, slices, policy=POLICY, metric="log_loss", seed=7)
        assert evidence.champion is evidence.comparison is None
        assert set(evidence.challenger) == {"log_loss", "roc_auc"}
        (only,) = evidence.slices
        assert only.challenger == metric("log_loss", y, good)
        assert only.champion is None
        assert Evidence.from_dict(json.loads(json.dumps(evidence.to_dict()))) == evidence

    @pytest.mark.parametrize("rows", [0, 5])
    def test_absent_rows_or_class_leave_no_metric(self, rows: int) -> None:
        slices = pd.DataFrame({"state": ["CA"] * rows})
        evidence = gather_evidence(
            [0] * rows,
            [0.1] * rows,
            [0.2] * rows,
            slices,
            policy=POLICY,
            metric="roc_auc",
            seed=7,
        )
        assert (evidence.rows, evidence.positives) == (rows, 0)
        assert evidence.challenger == evidence.champion == {}
        assert evidence.comparison is None
        assert evidence.calibration_error == (pytest.approx(0.1) if rows else None)

    def test_guarded_column_must_be_there(self) -> None:
        with pytest.raises(MonitoringError, match="slice state: must be a column"):
            gather_evidence(
                [0, 0, 1, 1],
                [0.1, 0.4, 0.35, 0.8],
                None,
                pd.DataFrame(index=range(4)),
                policy=POLICY,
                metric="x",
                seed=7,
            )
