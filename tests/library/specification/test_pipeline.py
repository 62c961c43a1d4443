"""The pipeline file: what a right one says; wrong ones are in ``test_wrong_files``."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest

from include.calendar.partitions import Frequency
from include.errors import SpecificationError
from include.specification import pipeline_file
from include.specification.metric_names import METRICS
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import PIPELINES, load, names
from include.specification.sections.retraining import Retraining
from include.wording import nearest

# A file of its own, so that tuning the shipped one changes no line number here.
RIGHT = """\
description: Chance that a guaranteed small-business loan is charged off within 24 months.
owner: credit-risk
task: binary
entity: loan_id
event_time: ApprovalDate
partition: quarterly
schedule: {cron: "0 6 5 1,4,7,10 *", start: 2005-01-01, end: 2009-01-31}
sources:
  loans: {uri: "s3://landing/loans/{partition}/", suite: loans, on_failure: quarantine}
  outcomes: {uri: "s3://landing/out/{partition}/", suite: out, labels: {column: bad, known_at: at}}
features: {function: "include.pipelines.loan_default:features", suite: f, max_quarantined: 0.05}
training:
  window: 8                      # partitions with mature labels, as of the run
  holdout: 2                     # the latest of them, never seen by the search
  metric: roc_auc
  candidates: {logistic_regression: {}, hist_gradient_boosting: {trials: 8}}
  seed: 7
promotion:
  require: {roc_auc: 0.60}
  beat_champion: {confidence: 0.95, margin: 0.0}
  guard: {slices: [State], max_drop: 0.05, calibration: 0.10}
  approval: none                 # none | required
monitoring:
  drift: {share_of_features: 0.3, prediction: true}
  performance: {metric: roc_auc, max_drop: 0.05}
retraining:
  when: [drift, performance]
  persist: 2 of 3
  cooldown: 2                    # partitions
  budget: 4 in 8
"""


def test_the_shipped_pipeline() -> None:
    pipeline = load("loan_default")
    assert pipeline.name == "loan_default"
    assert (pipeline.entity, pipeline.event_time) == ("loan_id", "ApprovalDate")
    assert pipeline.partition is Frequency.QUARTERLY
    assert pipeline.schedule.start == date(2005, 1, 1)
    assert pipeline.schedule.end == date(2009, 1, 31)
    assert pipeline.label_source == "outcomes"
    assert pipeline.feature_sources == ("loans",)
    assert (pipeline.labels.column, pipeline.labels.known_at) == ("bad24", "label_time_24")
    loans = pipeline.sources["loans"]
    assert loans.location("2005-Q3") == "s3://landing/loan_default/loans/2005-Q3/"
    assert (loans.on_failure, loans.max_quarantined) == ("quarantine", 0.05)
    assert (pipeline.training.window, pipeline.training.holdout) == (8, 2)
    assert set(pipeline.training.candidates) == {"hist_gradient_boosting", "logistic_regression"}
    assert pipeline.promotion.require == {"roc_auc": 0.60}
    assert pipeline.retraining.when == ("drift", "performance")


def test_a_right_file(tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT)
    pipeline = load("right", tmp_path)
    assert names(tmp_path) == (pipeline.name,) == ("right",)
    assert pipeline.sources["loans"].max_quarantined == 0.05
    assert pipeline.training.coverage == 0.99
    assert pipeline.training.candidates["logistic_regression"].trials == 0
    assert pipeline.training.candidates["hist_gradient_boosting"].trials == 8
    assert pipeline.promotion.beat_champion.confidence == 0.95
    assert pipeline.retraining.persistence == (2, 3)
    assert pipeline.retraining.spending == (4, 8)
    assert pipeline.retraining.cooldown == 2


def test_the_shipped_file_is_short_and_listed() -> None:
    assert len((PIPELINES / "loan_default.yaml").read_text().splitlines()) < 40
    assert "loan_default" in names()


def test_a_pipeline_cannot_be_changed() -> None:
    pipeline = load("loan_default")
    with pytest.raises(ValueError, match="frozen"):
        pipeline.owner = "somebody else"


def test_a_missing_file_suggests_a_near_one() -> None:
    with pytest.raises(SpecificationError) as caught:
        load("loan_defaults")
    assert str(caught.value) == (
        f"pipeline loan_defaults: its file must be loan_defaults.yaml in {PIPELINES}, got none; "
        "did you mean 'loan_default'?"
    )


def test_a_file_name_that_cannot_name_tables(tmp_path: Path) -> None:
    (tmp_path / "Bad-Name.yaml").write_text(RIGHT)
    with pytest.raises(SpecificationError, match=r"Bad-Name\.yaml:1: name: .*got 'Bad-Name'"):
        load("Bad-Name", tmp_path)


def test_a_file_name_under_which_another_pipeline_is_tried(tmp_path: Path) -> None:
    (tmp_path / "loans_dev.yaml").write_text(RIGHT)
    told = "must not be called loans_dev: `./relevo run loans` writes its trials there"
    with pytest.raises(SpecificationError, match=re.escape(told)):
        load("loans_dev", tmp_path)


def test_defaults_are_the_cautious_ones() -> None:
    rules = Retraining()
    assert (rules.when, rules.every, rules.cooldown) == ((), None, 0)
    assert (rules.persistence, rules.spending) == ((1, 1), (1, 1))


def test_persistence_and_budget_are_read_as_two_numbers() -> None:
    rules = Retraining(persist="10 of 12", budget="3 in 40")
    assert rules.persistence == (10, 12)
    assert rules.spending == (3, 40)


def test_nearest_or_all_choices() -> None:
    assert nearest("brier", METRICS) == "; did you mean 'brier_score'?"
    assert nearest("xyz", ("b", "a")) == "; choose from a, b"


def test_every_shipped_pipeline_names_suites_that_exist() -> None:
    root = Path(pipeline_file.__file__).parents[2]
    for name in names():
        pipeline = load(name)
        wanted = [source.suite for source in pipeline.sources.values()]
        for suite in [*wanted, pipeline.features.suite]:
            path = root / "expectations" / f"{suite}.json"
            assert json.loads(path.read_text())["name"] == suite


def right(folder: Path, *edits: tuple[str, str]) -> Pipeline:
    text = RIGHT
    for old, new in edits:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    (folder / "right.yaml").write_text(text)
    return load("right", folder)


def test_the_tasks_usual_metric_is_trained_for_and_watched(tmp_path: Path) -> None:
    pipeline = right(
        tmp_path,
        ("  metric: roc_auc\n", ""),
        ("  performance: {metric: roc_auc, max_drop: 0.05}\n", ""),
    )
    assert pipeline.training.metric == "roc_auc"
    assert pipeline.monitoring.performance.metric == "roc_auc"


def test_what_is_trained_for_is_watched(tmp_path: Path) -> None:
    pipeline = right(
        tmp_path,
        ("  metric: roc_auc\n", "  metric: log_loss\n"),
        ("{metric: roc_auc, max_drop: 0.05}", "{max_drop: 0.1}"),
    )
    assert pipeline.monitoring.performance.metric == "log_loss"
    assert pipeline.monitoring.performance.max_drop == 0.1


def test_a_candidate_keeps_what_its_preset_says_unless_told(tmp_path: Path) -> None:
    pipeline = right(
        tmp_path,
        (
            "logistic_regression: {}",
            "logistic_regression: {parameters: {C: 2.0}, search: {C: [1.0, 2.0]}}",
        ),
    )
    changed = pipeline.candidate("logistic_regression")
    assert changed.classifier == "sklearn.linear_model.LogisticRegression"
    assert changed.parameters == {"C": 2.0, "max_iter": 1000}
    assert changed.search == {"C": [1.0, 2.0]}
    assert pipeline.candidate("hist_gradient_boosting").search["max_leaf_nodes"] == {
        "low": 7,
        "high": 31,
    }


def test_an_estimator_of_ones_own_takes_nothing_from_a_preset(tmp_path: Path) -> None:
    estimator = "sklearn.ensemble.ExtraTreesClassifier"
    pipeline = right(
        tmp_path,
        (
            "logistic_regression: {}",
            f"random_forest: {{estimator: {estimator}, trials: 3, "
            "search: {max_depth: {low: 2, high: 8}}}",
        ),
    )
    candidate = pipeline.candidate("random_forest")
    assert candidate.estimator("binary") == estimator
    assert candidate.parameters == {}
    assert candidate.search == {"max_depth": {"low": 2, "high": 8, "log": False}}


def test_a_label_in_the_row_feeds_the_features(tmp_path: Path) -> None:
    pipeline = right(
        tmp_path,
        ("suite: loans,", "suite: loans, labels: {column: bad},"),
        (", labels: {column: bad, known_at: at}", ""),
    )
    assert pipeline.labels_in_row
    assert pipeline.label_source == "loans"
    assert pipeline.feature_sources == ("loans", "outcomes")


def test_columns_named_by_a_number_are_text(tmp_path: Path) -> None:
    pipeline = right(
        tmp_path, ("suite: loans,", "suite: loans, format: csv, types: {2005: integer},")
    )
    assert pipeline.sources["loans"].types == {"2005": "integer"}


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_bytes(b"\xef\xbb\xbf" + RIGHT.encode())
    assert load("right", tmp_path).owner == "credit-risk"
