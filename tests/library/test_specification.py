"""The pipeline file: what the shipped one says, and what a wrong one is told."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from include import pipeline_file
from include.candidates import BUILDERS
from include.errors import SpecificationError
from include.metrics import METRICS
from include.partitions import Frequency
from include.pipeline_file import PIPELINES, load, names
from include.specification import Retraining, nearest

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
LOANS = 's3://landing/loans/{partition}/"'
CRON = '"0 6 5 1,4,7,10 *"'
CANDIDATE_LIST = "{logistic_regression: {}, hist_gradient_boosting: {trials: 8}}"
LABELS = ", labels: {column: bad, known_at: at}"


def message(folder: Path, text: str) -> str:
    """Load a wrong file and return what a person is told."""
    (folder / "wrong.yaml").write_text(text)
    with pytest.raises(SpecificationError) as caught:
        load("wrong", folder)
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert RIGHT.count(old) >= 1, old
    return RIGHT.replace(old, new, 1)


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
    assert names() == ("loan_default",)


def test_a_pipeline_cannot_be_changed() -> None:
    pipeline = load("loan_default")
    with pytest.raises(ValueError, match="frozen"):
        pipeline.owner = "somebody else"


def test_the_known_candidates_are_the_builders() -> None:
    assert sorted(BUILDERS) == ["hist_gradient_boosting", "logistic_regression"]


WRONG = {
    "task": (
        ("task: binary", "task: binry"),
        "wrong.yaml:3: task: not a valid value, got 'binry'; did you mean 'binary'?",
    ),
    "frequency": (
        ("partition: quarterly", "partition: quaterly"),
        "wrong.yaml:6: partition: not a valid value, got 'quaterly'; did you mean 'quarterly'?",
    ),
    "misspelt key": (
        ("owner: credit-risk", "ownr: credit-risk"),
        "wrong.yaml:1: owner: required. Add it.\n"
        "wrong.yaml:2: ownr: unknown key; did you mean 'owner'?",
    ),
    "missing key": (("owner: credit-risk\n", ""), "wrong.yaml:1: owner: required. Add it."),
    "empty value": (
        ("entity: loan_id", "entity:"),
        "wrong.yaml:4: entity: input should be a valid string",
    ),
    "name": (
        ("task: binary", "task: binary\nname: other"),
        "wrong.yaml:4: name: the file's name is the pipeline's, got 'other'. "
        "Remove the key, or rename the file.",
    ),
    "cron": (
        (CRON, '"0 6 5 13 *"'),
        "wrong.yaml:7: schedule.cron: must be a cron expression of five fields, got '0 6 5 13 *'",
    ),
    "cron with seconds": (
        (CRON, '"0 0 6 5 1 *"'),
        "wrong.yaml:7: schedule.cron: must be a cron expression of five fields, got '0 0 6 5 1 *'",
    ),
    "cron by name": (
        (CRON, '"@daily"'),
        "wrong.yaml:7: schedule.cron: must be a cron expression of five fields, got '@daily'",
    ),
    "end before start": (
        ("end: 2009-01-31", "end: 2004-01-31"),
        "wrong.yaml:7: schedule: end must be later than start 2005-01-01",
    ),
    "date": (
        ("start: 2005-01-01", "start: soon"),
        "wrong.yaml:7: schedule.start: input should be a valid date or datetime, "
        "input is too short, got 'soon'",
    ),
    "uri without the partition": (
        (LOANS, 's3://landing/loans/"'),
        r"wrong.yaml:9: sources.loans.uri: string should match pattern "
        r"'^s3://[a-z0-9][a-z0-9.-]+/.*\{partition\}.*$', got 's3://landing/loans/'",
    ),
    "on_failure": (
        ("on_failure: quarantine", "on_failure: quarantin"),
        "wrong.yaml:9: sources.loans.on_failure: not a valid value, got 'quarantin'; "
        "did you mean 'quarantine'?",
    ),
    "share above one": (
        ("max_quarantined: 0.05", "max_quarantined: 1.5"),
        "wrong.yaml:11: features.max_quarantined: input should be less than or equal to 1, got 1.5",
    ),
    "suite outside its folder": (
        ("suite: loans", "suite: ../loans"),
        "wrong.yaml:9: sources.loans.suite: string should match pattern "
        "'^[a-z][a-z0-9_]{0,62}$', got '../loans'",
    ),
    "source name": (
        ("  loans: {", "  Loans: {"),
        "wrong.yaml:9: sources.Loans: string should match pattern '^[a-z][a-z0-9_]{0,62}$', "
        "got 'Loans'",
    ),
    "label key": (
        ("known_at: at", "know_at: at"),
        "wrong.yaml:10: sources.outcomes.labels.known_at: required. Add it.\n"
        "wrong.yaml:10: sources.outcomes.labels.know_at: unknown key; did you mean 'known_at'?",
    ),
    "two label sources": (
        ("suite: loans", "suite: loans, labels: {column: a, known_at: b}"),
        "wrong.yaml:8: sources: exactly one source must have labels, got ['loans', 'outcomes']",
    ),
    "no label source": (
        (LABELS, ""),
        "wrong.yaml:8: sources: exactly one source must have labels, got none",
    ),
    "function outside include": (
        ("include.pipelines.loan_default:features", "os:system"),
        r"wrong.yaml:11: features.function: string should match pattern "
        r"'^include\.[A-Za-z0-9_.]+:[A-Za-z_][A-Za-z0-9_]*$', got 'os:system'",
    ),
    "window": (
        ("window: 8", "window: eight"),
        "wrong.yaml:13: training.window: input should be a valid integer, "
        "unable to parse string as an integer, got 'eight'",
    ),
    "holdout": (
        ("holdout: 2", "holdout: 7"),
        "wrong.yaml:12: training: holdout must leave at least two of the 8 partitions "
        "of the window",
    ),
    "metric": (
        ("metric: roc_auc", "metric: auc"),
        "wrong.yaml:15: training.metric: not a valid value, got 'auc'; did you mean 'roc_auc'?",
    ),
    "candidate": (
        ("logistic_regression", "logistic_regresion"),
        "wrong.yaml:16: training.candidates: 'logistic_regresion' is not a candidate; "
        "did you mean 'logistic_regression'?",
    ),
    "no candidate": (
        (CANDIDATE_LIST, "{}"),
        "wrong.yaml:16: training.candidates: dictionary should have at least 1 item "
        "after validation, not 0",
    ),
    "candidate option": (
        ("trials: 8", "trial: 8"),
        "wrong.yaml:16: training.candidates.hist_gradient_boosting.trial: unknown key; "
        "did you mean 'trials'?",
    ),
    "required metric": (
        ("require: {roc_auc: 0.60}", "require: {roc_acu: 0.60}"),
        "wrong.yaml:19: promotion.require: 'roc_acu' is not a metric; did you mean 'roc_auc'?",
    ),
    "required value": (
        ("require: {roc_auc: 0.60}", "require: {roc_auc: high}"),
        "wrong.yaml:19: promotion.require.roc_auc: input should be a valid number, "
        "unable to parse string as a number, got 'high'",
    ),
    "required value is not a number": (
        ("require: {roc_auc: 0.60}", "require: {roc_auc: .nan}"),
        "wrong.yaml:19: promotion.require.roc_auc: input should be a finite number, got nan",
    ),
    "infinite margin": (
        ("margin: 0.0", "margin: .inf"),
        "wrong.yaml:20: promotion.beat_champion.margin: input should be a finite number, got inf",
    ),
    "confidence in percent": (
        ("confidence: 0.95", "confidence: 95"),
        "wrong.yaml:20: promotion.beat_champion.confidence: input should be less than 1, got 95",
    ),
    "approval": (
        ("approval: none", "approval: maybe"),
        "wrong.yaml:22: promotion.approval: not a valid value, got 'maybe'; "
        "choose from none, required",
    ),
    "nested key": (
        ("share_of_features", "share_of_feature"),
        "wrong.yaml:24: monitoring.drift.share_of_feature: unknown key; "
        "did you mean 'share_of_features'?",
    ),
    "trigger": (
        ("when: [drift, performance]", "when: [drif, performance]"),
        "wrong.yaml:27: retraining.when.0: not a valid value, got 'drif'; did you mean 'drift'?",
    ),
    "impossible persistence": (
        ("persist: 2 of 3", "persist: 4 of 3"),
        "wrong.yaml:28: retraining.persist: the first number must not exceed the second, "
        "got '4 of 3'",
    ),
    "budget in other words": (
        ("budget: 4 in 8", "budget: 4 of 8"),
        r"wrong.yaml:30: retraining.budget: string should match pattern "
        r"'^[1-9]\d* in [1-9]\d*$', got '4 of 8'",
    ),
    "duplicate key": (
        ("  seed: 7", "  seed: 7\n  seed: 8"),
        'wrong.yaml:18: must be YAML, got found duplicate key "seed" with value "8" '
        '(original value: "7"). Correct the line.',
    ),
    "no YAML": (
        ("  seed: 7", "  seed: [7"),
        "wrong.yaml:18: must be YAML, got expected ',' or ']', but got ':'. Correct the line.",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_names_line_rule_value_and_the_nearest_spelling(
    tmp_path: Path, case: str
) -> None:
    (old, new), told = WRONG[case]
    assert message(tmp_path, changed(old, new)) == told


def test_every_problem_of_a_file_is_listed(tmp_path: Path) -> None:
    text = changed("task: binary", "task: binry").replace("window: 8", "window: 0")
    assert [line.split(": ")[0:2] for line in message(tmp_path, text).splitlines()] == [
        ["wrong.yaml:3", "task"],
        ["wrong.yaml:13", "training.window"],
    ]


@pytest.mark.parametrize(
    ("text", "found"), [("", "NoneType"), ("- a\n- b\n", "CommentedSeq"), ("loans", "str")]
)
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str, found: str) -> None:
    assert message(tmp_path, text) == f"wrong.yaml:1: must be a mapping, got {found}"


def test_a_source_of_labels_alone_feeds_nothing(tmp_path: Path) -> None:
    lines = RIGHT.splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("  loans:"))
    assert message(tmp_path, text) == (
        "wrong.yaml:8: sources: at least one source without labels must feed the features"
    )


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
    root = Path(pipeline_file.__file__).parent.parent
    for name in names():
        pipeline = load(name)
        wanted = [source.suite for source in pipeline.sources.values()]
        for suite in [*wanted, pipeline.features.suite]:
            path = root / "expectations" / f"{suite}.json"
            assert json.loads(path.read_text())["name"] == suite
