"""Wrong pipeline files, each a small edit of a right one, and what a person is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from include.errors import SpecificationError
from include.specification.pipeline_file import load, names

QUARTERLY = """\
description: Chance that a loan is charged off within 24 months.
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
  window: 8
  holdout: 2
  metric: roc_auc
  candidates: {logistic_regression: {}, hist_gradient_boosting: {trials: 8}}
  seed: 7
promotion:
  require: {roc_auc: 0.60}
  beat_champion: {confidence: 0.95, margin: 0.0}
  guard: {slices: [State], max_drop: 0.05, calibration: 0.10}
  approval: none
monitoring:
  drift: {share_of_features: 0.3, prediction: true}
  performance: {metric: roc_auc, max_drop: 0.05}
retraining:
  when: [drift, performance]
  persist: 2 of 3
  cooldown: 2
  budget: 4 in 8
"""
MONTHLY = """\
description: Minutes that a taxi trip takes.
owner: mobility
task: regression
entity: trip_id
event_time: pickup
partition: monthly
sources:
  trips:
    connection: warehouse
    query: select * from trips where pickup >= :start and pickup < :end
    time: pickup
    suite: trips
    labels:
      column: minutes
      known_at: dropoff
  zones:
    uri: s3://landing/zones.csv.gz
    format: csv
    csv:
      delimiter: ";"
      encoding: latin-1
    types:
      zone: integer
    suite: zones
features:
  function: include.pipelines.trips:features
  suite: trips_features
metrics:
  late_minutes: {function: "include.pipelines.trips:late_minutes", takes: values}
training:
  window: 6
  candidates:
    ridge: {}
    forest:
      estimator: sklearn.ensemble.ExtraTreesRegressor
      trials: 5
      parameters: {n_estimators: 100}
      search:
        max_depth: [4, 8, null]
        min_samples_leaf:
          low: 1
          high: 50
          log: true
promotion:
  require:
    mean_absolute_error: 6.0
"""
SNAPSHOTS = """\
description: Species of a captured rodent.
owner: ecology
task: multiclass
partition: none
sources:
  captures:
    uri: s3://landing/captures/{partition}/
    format: json_lines
    suite: captures
    labels: {column: species}
features: {function: "include.pipelines.rodents:features", suite: rodents}
training:
  window: 3
  holdout: 0.2
  candidates: {random_forest: {}}
promotion:
  require: {accuracy: 0.5}
retraining:
  when: [new_class]
"""

# What is replaced, by what, and the messages without the file's name.
WRONG_QUARTERLY = [
    (
        "task: binary",
        "task: binry",
        "3: task: not a valid value, got 'binry'; did you mean 'binary'?",
    ),
    (
        "task: binary",
        "task: [binary]",
        "3: task: not a valid value, got a list; did you mean 'binary'?",
    ),
    (
        "partition: quarterly",
        "partition: quaterly",
        "6: partition: not a valid value, got 'quaterly'; did you mean 'quarterly'?",
    ),
    ("owner: credit-risk", "ownr: credit-risk", "2: ownr: unknown key; did you mean 'owner'?"),
    ("owner: credit-risk\n", "", "1: owner: required. Add it."),
    ("entity: loan_id", "entity:", "4: entity: must be text, got nothing."),
    ("owner: credit-risk", "owner: 5", "2: owner: must be text, got 5. Put it in quotes."),
    (
        "task: binary",
        "task: binary\nname: other",
        (
            "4: name: the file's name is the pipeline's, got 'other'. Remove the key, or "
            "rename the file."
        ),
    ),
    (
        '"0 6 5 1,4,7,10 *"',
        '"0 6 5 13 *"',
        (
            "7: schedule.cron: must be a cron expression of five fields such as 0 6 1 * *, got "
            "'0 6 5 13 *'."
        ),
    ),
    (
        '"0 6 5 1,4,7,10 *"',
        '"@daily"',
        (
            "7: schedule.cron: must be a cron expression of five fields such as 0 6 1 * *, got "
            "'@daily'."
        ),
    ),
    (
        '"0 6 5 1,4,7,10 *"',
        "* * * * *",
        "7: a value must not begin with *. Put the value in quotes.",
    ),
    (
        "end: 2009-01-31",
        "end: 2004-01-31",
        "7: schedule.end: must be later than start 2005-01-01, got 2004-01-31.",
    ),
    (
        "end: 2009-01-31",
        "end: 9999-12-31",
        (
            "7: schedule.end: must be at most 500 years after start 2005-01-01; leave it out for "
            "a live pipeline, got 9999-12-31."
        ),
    ),
    (
        "start: 2005-01-01",
        "start: soon",
        "7: schedule.start: must be a date such as 2005-01-31, got 'soon'.",
    ),
    (
        "start: 2005-01-01",
        "start: 2005-02-30",
        "7: schedule.start: must be a date such as 2005-01-31, got '2005-02-30'.",
    ),
    (
        "s3://landing/loans/{partition}/",
        "s3://landing/loans/",
        (
            "9: sources.loans: the first source must bring one partition at a time: write "
            "{partition} into its uri, name its time, or use :start and :end in its query."
        ),
    ),
    (
        "s3://landing/loans/{partition}/",
        "/data/loans/",
        (
            "9: sources.loans.uri: must be an address on the store such as "
            "s3://landing/loans/{partition}/, got '/data/loans/'."
        ),
    ),
    (
        "s3://landing/loans/{partition}/",
        "s3://landing/{year}/{partition}/",
        (
            "9: sources.loans.uri: must hold {partition} at most once, and no other "
            "placeholder, got 's3://landing/{year}/{partition}/'."
        ),
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts: {team: {webhok: hook}}",
        "31: alerts.team.webhok: unknown key; did you mean 'webhook'?",
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts: {team: {about: [drift]}}",
        "31: alerts.team: needs one of webhook, email, slack and pagerduty.",
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts:\n  team: {email: [a@b], slack: hook}",
        "32: alerts.team.slack: must be left out beside email: a receiver is reached one way.",
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts: {team: {email: []}}",
        "31: alerts.team.email: must hold at least one item.",
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts: {team: {email: [risk]}}",
        "31: alerts.team.email: must be an address, such as risk@bank.example, got 'risk'.",
    ),
    (
        "budget: 4 in 8",
        "budget: 4 in 8\nalerts: {team: {slack: hook, about: [drit]}}",
        "31: alerts.team.about: not a valid value, got 'drit'; did you mean 'drift'?",
    ),
    (
        "budget: 4 in 8",
        'budget: 4 in 8\nalerts: {team: {webhook: "https://x/s3cret"}}',
        (
            "31: alerts.team.webhook: must be the id of an Airflow connection, such as "
            "alerts_webhook, got 'https://x/s3cret'."
        ),
    ),
    (
        "on_failure: quarantine",
        "on_failure: quarantin",
        (
            "9: sources.loans.on_failure: not a valid value, got 'quarantin'; did you mean "
            "'quarantine'?"
        ),
    ),
    (
        "max_quarantined: 0.05",
        "max_quarantined: 1.5",
        "11: features.max_quarantined: must be at most 1, got 1.5.",
    ),
    (
        "max_quarantined: 0.05",
        "max_quarantined: 5%",
        "11: features.max_quarantined: must be a number, got '5%'.",
    ),
    (
        "suite: loans",
        "suite: ../loans",
        (
            "9: sources.loans.suite: must be lower-case letters, digits and underscores after "
            "a first letter, such as loan_default, got '../loans'."
        ),
    ),
    (
        "  loans: {",
        "  Loans: {",
        (
            "9: sources.Loans: must be lower-case letters, digits and underscores after a "
            "first letter, such as loan_default, got 'Loans'."
        ),
    ),
    (
        "known_at: at",
        "know_at: at",
        "10: sources.outcomes.labels.know_at: unknown key; did you mean 'known_at'?",
    ),
    (
        "column: bad",
        "expression: bad > 0, column: bad",
        "10: sources.outcomes.labels: needs either column or expression, and not both.",
    ),
    (
        "suite: loans",
        "suite: loans, labels: {column: a}",
        "8: sources: exactly one source must have labels, got loans, outcomes.",
    ),
    (
        ", labels: {column: bad, known_at: at}",
        "",
        "8: sources: exactly one source must have labels, got none.",
    ),
    (
        "include.pipelines.loan_default:features",
        "os:system",
        (
            "11: features.function: must be module:function below include, such as "
            "include.pipelines.loan_default:features, got 'os:system'."
        ),
    ),
    (
        "include.pipelines.loan_default:features",
        "include.pipelines.loan_default.features",
        (
            "11: features.function: must be module:function below include, such as "
            "include.pipelines.loan_default:features, got "
            "'include.pipelines.loan_default.features'."
        ),
    ),
    ("window: 8", "window: eight", "13: training.window: must be a whole number, got 'eight'."),
    ("window: 8", "window: 0", "13: training.window: must be at least 1, got 0."),
    (
        "window: 8",
        "window: 2",
        (
            "13: training.window: must be at least 3 for data with a time (two partitions to learn "
            "from and one that only judges), got 2. Lengthen it; with a shorter history choose "
            "shorter partitions, or leave the time out (`partition: none`)."
        ),
    ),
    ("window: 8", "window: 8.5", "13: training.window: must be a whole number, got 8.5."),
    (
        "holdout: 2",
        "holdout: 7",
        ("14: training.holdout: must leave at least two of the 8 partitions of the window, got 7."),
    ),
    (
        "holdout: 2",
        "holdout: 0.2",
        "14: training.holdout: must be a whole number of partitions, got 0.2.",
    ),
    (
        "metric: roc_auc",
        "metric: auc",
        ("15: training.metric: 'auc' is not a metric for task binary; did you mean 'roc_auc'?"),
    ),
    (
        "metric: roc_auc",
        "metric: r2",
        (
            "15: training.metric: 'r2' is not a metric for task binary; choose from accuracy, "
            "average_precision, balanced_accuracy, brier_score, cohen_kappa, f1, log_loss, "
            "matthews_corrcoef, precision, recall, roc_auc"
        ),
    ),
    (
        "logistic_regression",
        "logistic_regresion",
        (
            "16: training.candidates.logistic_regresion: is not a named candidate and has no "
            "estimator; did you mean 'logistic_regression'?"
        ),
    ),
    (
        "{logistic_regression: {}, hist_gradient_boosting: {trials: 8}}",
        "{}",
        "16: training.candidates: must hold at least one item, got an empty section.",
    ),
    (
        "{logistic_regression: {}, hist_gradient_boosting: {trials: 8}}",
        "[logistic_regression]",
        (
            "16: training.candidates: must be names with a value each, such as {name: value}, "
            "got a list."
        ),
    ),
    (
        "trials: 8",
        "trial: 8",
        (
            "16: training.candidates.hist_gradient_boosting.trial: unknown key; did you mean "
            "'trials'?"
        ),
    ),
    (
        "logistic_regression: {}",
        "ridge: {}",
        (
            "16: training.candidates.ridge: cannot do task binary; choose from "
            "hist_gradient_boosting, k_nearest_neighbors, logistic_regression, "
            "multilayer_perceptron, random_forest, support_vector_machine, xgboost"
        ),
    ),
    (
        "logistic_regression: {}",
        "logistic_regression: ",
        (
            "16: training.candidates.logistic_regression: must be a section, got nothing. Its "
            "keys are trials, estimator, parameters, search, encoding."
        ),
    ),
    (
        "require: {roc_auc: 0.60}",
        "require: {roc_acu: 0.60}",
        (
            "19: promotion.require.roc_acu: 'roc_acu' is not a metric for task binary; did you "
            "mean 'roc_auc'?"
        ),
    ),
    (
        "require: {roc_auc: 0.60}",
        "require: {roc_auc: 60}",
        "19: promotion.require.roc_auc: must lie between 0 and 1, got 60.",
    ),
    (
        "require: {roc_auc: 0.60}",
        "require: {calibration_error: 10}",
        "19: promotion.require.calibration_error: must lie between 0 and 1, got 10.",
    ),
    (
        "performance: {metric: roc_auc, max_drop: 0.05}",
        "performance: {metric: calibration_error, max_drop: 0.05}",
        (
            "25: monitoring.performance.metric: 'calibration_error' is not a metric for task "
            "binary; choose from accuracy, average_precision, balanced_accuracy, brier_score, "
            "cohen_kappa, f1, log_loss, matthews_corrcoef, precision, recall, roc_auc"
        ),
    ),
    (
        "require: {roc_auc: 0.60}",
        "require: {roc_auc: high}",
        "19: promotion.require.roc_auc: must be a number, got 'high'.",
    ),
    (
        "margin: 0.0",
        "margin: .inf",
        "20: promotion.beat_champion.margin: must be a finite number, got inf.",
    ),
    (
        "confidence: 0.95",
        "confidence: 95",
        "20: promotion.beat_champion.confidence: must be less than 1, got 95.",
    ),
    (
        "approval: none",
        "approval: yes",
        "22: promotion.approval: not a valid value, got 'yes'; choose from none, required",
    ),
    (
        "share_of_features",
        "share_of_feature",
        ("24: monitoring.drift.share_of_feature: unknown key; did you mean 'share_of_features'?"),
    ),
    (
        "prediction: true",
        "prediction: maybe",
        "24: monitoring.drift.prediction: must be true or false, got 'maybe'.",
    ),
    (
        "slices: [State]",
        "slices: State",
        "21: promotion.guard.slices: must be a list such as [a, b], got 'State'.",
    ),
    (
        "when: [drift, performance]",
        "when: [drift, perfomance]",
        ("27: retraining.when: not a valid value, got 'perfomance'; did you mean 'performance'?"),
    ),
    (
        "when: [drift, performance]",
        "when: [drift, new_class]",
        ("27: retraining.when: new_class is for a multiclass task, got task binary. Remove it."),
    ),
    (
        "persist: 2 of 3",
        "persist: 2/3",
        "28: retraining.persist: must read k of n, such as 2 of 3, got '2/3'.",
    ),
    (
        "persist: 2 of 3",
        "persist: 4 of 3",
        ("28: retraining.persist: must not have a first number above the second, got '4 of 3'."),
    ),
    (
        "budget: 4 in 8",
        "budget: 4 of 8",
        "30: retraining.budget: must read k in n, such as 4 in 8, got '4 of 8'.",
    ),
    ("  cooldown: 2", "  cooldown: -1", "29: retraining.cooldown: must be at least 0, got -1."),
    (
        "  seed: 7",
        "  seed: 7\n  window: 9",
        ("18: training.window: must stand once, got it in line 13 as well. Remove one of them."),
    ),
    (
        "  seed: 7",
        "  seed: [7",
        (
            "17: the [ that this line opens must be closed by ], with commas between its "
            "items, got something else in line 18. Add what is missing, or put a value that "
            "begins with { in quotes."
        ),
    ),
    (
        "  cooldown: 2",
        "\tcooldown: 2",
        "29: must be indented by spaces, got a tab. Replace it by spaces.",
    ),
    (
        "{share_of_features: 0.3, prediction: true}",
        "{share_of_features: 0.3, prediction: true",
        (
            "24: the { that this line opens must be closed by }, with commas between its "
            "items, got something else in line 25. Add what is missing, or put a value that "
            "begins with { in quotes."
        ),
    ),
    (
        "task: binary",
        "task: binary\nwindow: 8",
        "4: window: unknown key; it is written as training.window",
    ),
    (
        "task: binary",
        "task: binary\ncooldown: 8",
        "4: cooldown: unknown key; it is written as retraining.cooldown",
    ),
    (
        "owner: credit-risk",
        "owner: @credit-risk",
        "2: a value must not begin with @. Put the value in quotes.",
    ),
    (
        "within 24 months.",
        "within: 24 months.",
        (
            "1: must be one `key: value` a line, indented as the lines around it. Correct the "
            "indentation, or put a value that holds ': ' in quotes."
        ),
    ),
    (
        "  cooldown: 2",
        "   cooldown: 2",
        (
            "29: must be one `key: value` a line, indented as the lines around it. Correct the "
            "indentation, or put a value that holds ': ' in quotes."
        ),
    ),
    (
        "owner: credit-risk",
        "owner: 'credit-risk",
        "2: the quote that this line opens must be closed, and never is. Add a quote.",
    ),
    (
        '"s3://landing/loans/{partition}/"',
        "{partition}/loans",
        (
            "9: the { that this line opens must be closed by }, with commas between its items, "
            "got something else in line 9. Add what is missing, or put a value that begins "
            "with { in quotes."
        ),
    ),
    (
        '"s3://landing/loans/{partition}/"',
        "{partition}",
        "9: sources.loans.uri: must be text, got a section. Put it in quotes.",
    ),
    (
        "task: binary",
        "task: binary\n---",
        "4: must be the only document of the file, got another after ---. Remove it.",
    ),
    (
        "monitoring:\n",
        "monitoring: 5\nmonitorin:\n",
        (
            "23: monitoring: must be a section, got 5. Its keys are drift, performance.\n24: "
            "monitorin: unknown key; did you mean 'monitoring'?"
        ),
    ),
    (
        "require: {roc_auc: 0.60}",
        "require: {}",
        "19: promotion.require: must hold at least one item, got an empty section.",
    ),
    (
        "partition: quarterly",
        "partition: none",
        (
            "5: event_time: must be left out with `partition: none`, got 'ApprovalDate'. "
            "Remove it, or choose a partition such as monthly.\n7: schedule: must be left out "
            "with `partition: none`: a snapshot is scored when somebody, or an event, triggers "
            "it. Remove it.\n10: sources.outcomes.labels.known_at: must be left out with "
            "`partition: none`.\n14: training.holdout: must be a share of the entities in (0, "
            "0.5] with `partition: none`, got 2."
        ),
    ),
    (
        "event_time: ApprovalDate\n",
        "",
        (
            "1: event_time: required, because partition is quarterly. Name the column with the "
            "time of the row, or write `partition: none`."
        ),
    ),
    (
        '"s3://landing/loans/{partition}/"',
        "s3://landing/loans.parquet",
        (
            "9: sources.loans: the first source must bring one partition at a time: write "
            "{partition} into its uri, name its time, or use :start and :end in its query."
        ),
    ),
    (
        "suite: loans,",
        "suite: loans, csv: {delimiter: ;},",
        "9: sources.loans.csv: says how CSV files are written, so it needs format csv.",
    ),
    (
        "suite: loans,",
        "suite: loans, query: select 1,",
        "9: sources.loans: needs either uri or query, and not both.",
    ),
    (
        "training:\n",
        "training: 8\nx:\n",
        (
            "12: training: must be a section, got 8. Its keys are window, holdout, metric, "
            "candidates, imbalance, calibration, seed, coverage.\n13: x: unknown key; choose "
            "from alerts, decision, description, entity, event_time, execution, features, metrics, "
            "monitoring, next, owner, partition, promotion, retraining, schedule, sources, task, "
            "training"
        ),
    ),
]
WRONG_MONTHLY = [
    (
        "    time: pickup\n",
        "",
        "8: sources.trips.time: required, because the query gives one partition at a time: without "
        "it nobody can tell which partitions there are. Name its column with the time of the row.",
    ),
    (
        "    query: select",
        "    query: delete",
        (
            "10: sources.trips.query: must be one select, got 'delete * from trips where "
            "pickup >= :sta'."
        ),
    ),
    ("    connection: warehouse\n", "", "9: sources.trips.query: needs connection beside it."),
    (
        'delimiter: ";"',
        'delimiter: ";;"',
        "20: sources.zones.csv.delimiter: must be one character, got ';;'.",
    ),
    (
        "encoding: latin-1",
        "encoding: latin-99",
        (
            "21: sources.zones.csv.encoding: must be an encoding that Python knows, such as "
            "utf-8 or latin-1, got 'latin-99'."
        ),
    ),
    (
        "zone: integer",
        "zone: int",
        ("23: sources.zones.types.zone: not a valid value, got 'int'; did you mean 'integer'?"),
    ),
    (
        "format: csv",
        "format: parquet",
        "19: sources.zones.csv: says how CSV files are written, so it needs format csv.",
    ),
    (
        "format: csv",
        "format: xlsx",
        (
            "18: sources.zones.format: not a valid value, got 'xlsx'; choose from csv, "
            "json_lines, parquet"
        ),
    ),
    (
        "estimator: sklearn.ensemble.ExtraTreesRegressor",
        "estimator: ExtraTrees()",
        (
            "35: training.candidates.forest.estimator: must be the import path of a class, "
            "such as sklearn.ensemble.ExtraTreesClassifier, got 'ExtraTrees()'."
        ),
    ),
    (
        "      estimator: sklearn.ensemble.ExtraTreesRegressor\n",
        "",
        (
            "34: training.candidates.forest: is not a named candidate and has no estimator; "
            "did you mean 'random_forest'?"
        ),
    ),
    (
        "{n_estimators: 100}",
        "{n_estimators: {low: 1}}",
        (
            "37: training.candidates.forest.parameters.n_estimators: must be text, a number, "
            "true, false, null or a list of them."
        ),
    ),
    (
        "[4, 8, null]",
        "8",
        (
            "39: training.candidates.forest.search.max_depth: must be a list of choices or a "
            "range such as {low: 0.01, high: 1.0}, got 8."
        ),
    ),
    (
        "[4, 8, null]",
        "[]",
        (
            "39: training.candidates.forest.search.max_depth: must hold at least one item, got "
            "an empty list."
        ),
    ),
    (
        "[4, 8, null]",
        "[4, {a: 1}]",
        (
            "39: training.candidates.forest.search.max_depth: must be text, a number, true, "
            "false or null."
        ),
    ),
    (
        "          high: 50",
        "          high: 1",
        (
            "41: training.candidates.forest.search.min_samples_leaf.low: must be less than "
            "high 1, got 1."
        ),
    ),
    (
        "          low: 1",
        "          low: 0",
        (
            "41: training.candidates.forest.search.min_samples_leaf.low: must be positive when "
            "log is true, got 0."
        ),
    ),
    (
        "          low: 1",
        "          lo: 1",
        (
            "41: training.candidates.forest.search.min_samples_leaf.lo: unknown key; did you "
            "mean 'low'?"
        ),
    ),
    (
        "          low: 1",
        "          low: one",
        (
            "41: training.candidates.forest.search.min_samples_leaf.low: must be a number, got "
            "'one'."
        ),
    ),
    (
        "takes: values",
        "takes: scores",
        "29: metrics.late_minutes.takes: must be values for task regression, got 'scores'.",
    ),
    (
        "takes: values",
        "take: values",
        "29: metrics.late_minutes.take: unknown key; did you mean 'takes'?",
    ),
    ("late_minutes: {", "r2: {", "29: metrics.r2: 'r2' is scikit-learn's. Choose another name."),
    (
        "late_minutes: {",
        "calibration_error: {",
        (
            "29: metrics.calibration_error: 'calibration_error' is Relevo's own. Choose another "
            "name."
        ),
    ),
    (
        "mean_absolute_error: 6.0",
        "calibration_error: 0.1",
        (
            "46: promotion.require.calibration_error: 'calibration_error' is not a metric for "
            "task regression; choose from explained_variance, late_minutes, max_error, "
            "mean_absolute_error, mean_absolute_percentage_error, mean_squared_error, "
            "median_absolute_error, r2, root_mean_squared_error"
        ),
    ),
    (
        "  window: 6",
        "  window: 6\n  imbalance: smote",
        "32: training.imbalance: is for classification, got 'smote'. Remove it.",
    ),
    (
        "mean_absolute_error: 6.0",
        "mean_absolute_error: -6.0",
        "46: promotion.require.mean_absolute_error: must be at least 0, got -6.",
    ),
    (
        "      known_at: dropoff",
        "      known_at: dropoff\n      positive: 1",
        (
            "16: sources.trips.labels.positive: is for a binary task, got task regression. "
            "Remove it."
        ),
    ),
    (
        "entity: trip_id\n",
        "",
        (
            "1: entity: required, because rows of the query of trips come in no order. Name "
            "the column that identifies a row."
        ),
    ),
    (
        " and pickup < :end",
        "",
        (
            "8: sources.trips: the first source must bring one partition at a time: write "
            "{partition} into its uri, name its time, or use :start and :end in its query."
        ),
    ),
    (
        "    suite: zones",
        "    suite: zones\n    history: 2",
        (
            "25: sources.zones.history: needs a source with partitions: {partition} in its "
            "uri, its time, or :start and :end in its query."
        ),
    ),
    (
        "      column: minutes\n",
        "      expression: minutes\n      positive: 1\n",
        (
            "15: sources.trips.labels.positive: needs column; an expression says itself what 1 "
            "means."
        ),
    ),
    (
        "        max_depth: [4, 8, null]",
        "        max_depth: 2005-01-01",
        (
            "39: training.candidates.forest.search.max_depth: must be a list of choices or a "
            "range such as {low: 0.01, high: 1.0}, got 2005-01-01."
        ),
    ),
    (
        "ridge: {}",
        "logistic_regression: {}",
        (
            "33: training.candidates.logistic_regression: cannot do task regression; choose "
            "from hist_gradient_boosting, k_nearest_neighbors, multilayer_perceptron, "
            "random_forest, ridge, support_vector_machine, xgboost"
        ),
    ),
    (
        "  require:\n    mean_absolute_error: 6.0",
        "  require: 6.0",
        ("45: promotion.require: must be names with a value each, such as {name: value}, got 6.0."),
    ),
    (
        "      trials: 5",
        "      trials: 5000",
        "36: training.candidates.forest.trials: must be at most 1000, got 5000.",
    ),
]
WRONG_SNAPSHOTS = [
    (
        "holdout: 0.2",
        "holdout: 2",
        (
            "14: training.holdout: must be a share of the entities in (0, 0.5] with "
            "`partition: none`, got 2."
        ),
    ),
    (
        "partition: none\n",
        "partition: none\nschedule: {cron: 0 0 * * *, start: 2024-01-01}\n",
        (
            "5: schedule: must be left out with `partition: none`: a snapshot is scored when "
            "somebody, or an event, triggers it. Remove it."
        ),
    ),
    (
        "{column: species}",
        "{column: species, known_at: at}",
        "10: sources.captures.labels.known_at: must be left out with `partition: none`.",
    ),
    (
        "{column: species}",
        "{column: species, positive: 1}",
        (
            "10: sources.captures.labels.positive: is for a binary task, got task multiclass. "
            "Remove it."
        ),
    ),
    (
        "suite: captures",
        "suite: captures\n    time: at",
        "10: sources.captures.time: must be left out with `partition: none`.",
    ),
    (
        "suite: captures",
        "suite: captures\n    history: 1",
        (
            "10: sources.captures.history: must be left out with `partition: none`: snapshots "
            "stand alone."
        ),
    ),
    (
        "{random_forest: {}}",
        "{ridge: {}}",
        (
            "15: training.candidates.ridge: cannot do task multiclass; choose from "
            "hist_gradient_boosting, k_nearest_neighbors, logistic_regression, "
            "multilayer_perceptron, random_forest, support_vector_machine, xgboost"
        ),
    ),
    (
        "{accuracy: 0.5}",
        "{f1: 0.5}",
        (
            "17: promotion.require.f1: 'f1' is not a metric for task multiclass; choose from "
            "accuracy, balanced_accuracy, calibration_error, cohen_kappa, f1_macro, f1_micro, "
            "f1_weighted, log_loss, matthews_corrcoef, precision_macro, precision_micro, "
            "precision_weighted, recall_macro, recall_micro, recall_weighted, roc_auc_ovr, "
            "roc_auc_ovr_weighted"
        ),
    ),
    (
        "partition: none",
        "partition: null",
        "4: partition: not a valid value, got nothing; did you mean 'none'?",
    ),
    (
        "{column: species}",
        "{}",
        "10: sources.captures.labels: needs either column or expression, and not both.",
    ),
    (
        "{column: species}",
        "species",
        (
            "10: sources.captures.labels: must be a section, got 'species'. Its keys are "
            "column, expression, known_at, positive, event_time."
        ),
    ),
]
DECISION = "promotion:\n"  # stands before it, on line 18
WRONG_QUARTERLY += [
    (DECISION, f"decision: {section}\n{DECISION}", message)
    for section, message in (
        ("{}", "18: decision: must have one of threshold, maximize and costs."),
        (
            "0.35",
            "18: decision: must be a section, got 0.35. Its keys are threshold, maximize, costs.",
        ),
        ("{treshold: 0.4}", "18: decision.treshold: unknown key; did you mean 'threshold'?"),
        ("{threshold: 0}", "18: decision.threshold: must be more than 0, got 0."),
        ("{threshold: 1.0}", "18: decision.threshold: must be less than 1, got 1.0."),
        ("{threshold: .nan}", "18: decision.threshold: must be a finite number, got nan."),
        (
            "{threshold: 0.3, maximize: f1}",
            "18: decision.maximize: must be left out beside threshold: write one of them.",
        ),
        (
            "\n  maximize: f1\n  costs: {false_negative: 5, false_positive: 1}",
            "20: decision.costs: must be left out beside maximize: write one of them.",
        ),
        (
            "{maximize: f2}",
            "18: decision.maximize: 'f2' is not a metric for task binary; choose from accuracy, "
            "balanced_accuracy, cohen_kappa, f1, matthews_corrcoef, precision, recall",
        ),
        (
            "{maximize: roc_auc}",
            "18: decision.maximize: must be a metric of classes, got 'roc_auc', which no threshold "
            "changes; choose from accuracy, balanced_accuracy, cohen_kappa, f1, "
            "matthews_corrcoef, precision, recall",
        ),
        (
            "{maximize: loss}\nmetrics: {loss: {function: 'include.pipelines.p:loss', "
            "takes: classes, higher_is_better: false}}",
            "18: decision.maximize: must be a metric of which more is better, got 'loss'. Name "
            "another one, or write `costs`.",
        ),
        (
            "{maximize: gain}\nmetrics: {gain: {function: 'include.pipelines.p:gain', "
            "takes: scores}}",
            "18: decision.maximize: must be a metric of classes, got 'gain', which no threshold "
            "changes; choose from accuracy, balanced_accuracy, cohen_kappa, f1, "
            "matthews_corrcoef, precision, recall",
        ),
        (
            "{costs: {false_negative: 5}}",
            "18: decision.costs.false_positive: required. Add it.",
        ),
        (
            "{costs: {false_negative: -1, false_positive: 1}}",
            "18: decision.costs.false_negative: must be at least 0, got -1.",
        ),
        (
            "{costs: {false_negative: 0, false_positive: 0}}",
            "18: decision.costs.false_negative: must be above 0 where false_positive is 0.",
        ),
    )
]
WRONG_MONTHLY += [
    (
        DECISION,
        f"decision: {{threshold: 0.5}}\n{DECISION}",
        "44: decision: is for a binary task, got task regression: a number is its own prediction. "
        "Remove it.",
    )
]
WRONG_SNAPSHOTS += [
    (
        DECISION,
        f"decision: {{maximize: accuracy}}\n{DECISION}",
        "16: decision: is for a binary task, got task multiclass: several classes are decided by "
        "the likeliest one. Remove it.",
    )
]
WRONG = [
    (right, *case)
    for right, cases in (
        (QUARTERLY, WRONG_QUARTERLY),
        (MONTHLY, WRONG_MONTHLY),
        (SNAPSHOTS, WRONG_SNAPSHOTS),
    )
    for case in cases
]

NO_MAPPING = {
    b"": "1: must be a section of keys such as `task: binary`, got an empty file.",
    b"# a comment\n": "1: must be a section of keys such as `task: binary`, got an empty file.",
    b"- a\n- b\n": "1: must be a section of keys such as `task: binary`, got a list.",
    b"loans": "1: must be a section of keys such as `task: binary`, got 'loans'.",
    b"a: 1\nb: caf\xe9\n": "2: must be UTF-8 text, got the byte 0xe9. Save the file as UTF-8.",
    b"a: \x00\n": "1: must be YAML, got the unprintable character 0x00. Remove it.",
    b"a: &x [*x]\n": "1: must be YAML, got: found an alias for what it stands in. "
    "Correct the line.",
    b"a: *x\n": "1: a value must not begin with *. Put the value in quotes.",
    b"a: !!python/object:os.system x\n": "1: must be YAML, got: could not determine a constructor "
    "for the tag 'tag:yaml.org,2002:python/object:os.system'. Correct the line.",
}


def told(folder: Path, content: bytes) -> list[str]:
    """Load a wrong file and return the lines that a person is told, without the file's name."""
    (folder / "wrong.yaml").write_bytes(content)
    with pytest.raises(SpecificationError) as caught:
        load("wrong", folder)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("wrong.yaml:") for line in lines)
    return [line.removeprefix("wrong.yaml:") for line in lines]


@pytest.mark.parametrize(
    "section",
    [
        "{threshold: 0.35}",
        "{maximize: f1}",
        "{maximize: gain}\nmetrics: {gain: {function: 'include.pipelines.p:gain', takes: classes}}",
        "{costs: {false_negative: 5, false_positive: 0}}",
    ],
)
def test_each_rule_of_a_decision_alone_is_right(tmp_path: Path, section: str) -> None:
    text = QUARTERLY.replace(DECISION, f"decision: {section}\n{DECISION}")
    (tmp_path / "right.yaml").write_text(text)
    decision = load("right", tmp_path).decision
    assert decision is not None
    assert section.startswith(f"{{{decision.told()}}}")


@pytest.mark.parametrize("right", [QUARTERLY, MONTHLY, SNAPSHOTS])
def test_the_edited_files_are_right(tmp_path: Path, right: str) -> None:
    (tmp_path / "right.yaml").write_text(right)
    assert load("right", tmp_path).name == "right"


@pytest.mark.parametrize(
    ("right", "old", "new", "messages"), WRONG, ids=[case[2][:40] or "removed" for case in WRONG]
)
def test_a_wrong_file_is_told_line_rule_value_and_remedy(
    tmp_path: Path, right: str, old: str, new: str, messages: str
) -> None:
    assert right.count(old) >= 1
    assert told(tmp_path, right.replace(old, new, 1).encode()) == messages.splitlines()


@pytest.mark.parametrize("content", NO_MAPPING)
def test_a_file_that_is_no_mapping_of_keys(tmp_path: Path, content: bytes) -> None:
    assert told(tmp_path, content) == [NO_MAPPING[content]]


def test_there_are_enough_of_them_and_none_speaks_of_the_code() -> None:
    messages = [line for case in WRONG for line in case[3].splitlines()] + list(NO_MAPPING.values())
    messages = [re.sub(r"'[^']*'", "", line) for line in messages]  # what the file itself says
    assert len(WRONG) >= 40
    # No regular expression, no class of ours or of a library, no word of pydantic.
    spoken = re.compile(r"\^|\\|\$|\b(NoneType|Commented\w+|pydantic|Input|Error|dict|str|int)\b")
    classes = re.compile(r"\b(SearchRange|OwnMetric|Pipeline|Source|Labels|CsvDialect)\b")
    assert [line for line in messages if spoken.search(line) or classes.search(line)] == []


def test_all_mistakes_of_a_file_are_told_at_once_by_line(tmp_path: Path) -> None:
    wrong = QUARTERLY
    for old, new in (
        ("task: binary", "task: binry"),
        ("suite: loans", "suit: loans"),
        ("window: 8", "window: 0"),
        ("trials: 8", "trials: many"),
        ("cooldown: 2", "cooldown: 2\n  cooldown: 3"),
        ("budget: 4 in 8", "budgt: 4 in 8"),
    ):
        wrong = wrong.replace(old, new, 1)
    assert [line.split(": ")[:2] for line in told(tmp_path, wrong.encode())] == [
        ["3", "task"],
        ["9", "sources.loans.suit"],
        ["13", "training.window"],
        ["16", "training.candidates.hist_gradient_boosting.trials"],
        ["30", "retraining.cooldown"],
        ["31", "retraining.budgt"],
    ]


def test_sections_that_do_not_fit_each_other_are_told_at_once(tmp_path: Path) -> None:
    wrong = QUARTERLY.replace("task: binary", "task: regression").replace(
        "holdout: 2", "holdout: 7"
    )
    assert [line.split(": ")[:2] for line in told(tmp_path, wrong.encode())] == [
        ["14", "training.holdout"],
        ["15", "training.metric"],
        ["16", "training.candidates.logistic_regression"],
        ["19", "promotion.require.roc_auc"],
        ["21", "promotion.guard.calibration"],
        ["25", "monitoring.performance.metric"],
    ]


def test_a_mistake_inside_braces_that_go_over_lines(tmp_path: Path) -> None:
    wrong = QUARTERLY.replace(
        "candidates: {logistic_regression: {}, hist_gradient_boosting: {trials: 8}}",
        "candidates: {\n    logistic_regression: {},\n    hist_gradient_boosting: {\n"
        "      trials: 8,\n      encodng: ordinal}}",
    )
    assert told(tmp_path, wrong.encode()) == [
        "20: training.candidates.hist_gradient_boosting.encodng: unknown key; "
        "did you mean 'encoding'?"
    ]


def test_a_section_that_is_shared_by_an_anchor(tmp_path: Path) -> None:
    right = QUARTERLY.replace(
        "  outcomes: {",
        "  other: &rules {uri: 's3://landing/other/{partition}/', suite: other}\n"
        "  third: {<<: *rules, suite: third}\n  outcomes: {",
    )
    (tmp_path / "right.yaml").write_text(right)
    assert load("right", tmp_path).sources["third"].location("P") == "s3://landing/other/P/"
    assert told(tmp_path, right.replace("suite: other", "suite: other, hstory: 1").encode()) == [
        f"{line}: sources.{name}.hstory: unknown key; did you mean 'history'?"
        for line, name in ((10, "other"), (10, "third"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a0: &a0 [x, x, x]\n"
            + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]\n" for n in range(9)),
            "more than 100,000 values by aliases",
        ),
        ("a: " + "{a: " * 600 + "1" + "}" * 600, "must hold sections in sections a few deep"),
        ("task: !!bool abc", "1: must be YAML, got: a value that cannot be read ('abc')"),
        (f"a: 1\nb: {'9' * 5000}", "2: must be YAML, got: a value that cannot be read"),
        (QUARTERLY.replace("2005-01-01", "9" * 400), "7: must be YAML, got: a value that cannot"),
        ('owner: "\\ud800"', "1: must be YAML, got: half a character such as \\ud800"),
        ("? [a, b]\n: 1", "1: must be YAML, got: a list or section as key"),
    ],
    ids=["bomb", "deep", "tag", "digits", "overflow", "surrogate", "key"],
)
def test_yaml_that_no_parser_copes_with_is_told_as_well(
    tmp_path: Path, text: str, message: str
) -> None:
    (problem,) = told(tmp_path, text.encode())
    assert message in problem


def test_keys_are_the_texts_that_are_written(tmp_path: Path) -> None:
    right = QUARTERLY.replace(
        "suite: loans,", "suite: loans, types: {007: string, true: string, 2005-01-01: number},"
    )
    (tmp_path / "right.yaml").write_text(right)
    types = load("right", tmp_path).sources["loans"].types
    assert list(types) == ["007", "true", "2005-01-01"]
    assert told(tmp_path, f"true: 1\n{QUARTERLY}".encode())[0].startswith("1: true: unknown key")


def test_what_is_no_file_is_wrong_by_itself_and_leftovers_of_editors_are_none(
    tmp_path: Path,
) -> None:
    (tmp_path / "right.yaml").write_text(QUARTERLY)
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / ".#right.yaml").symlink_to("somebody@host.1234")
    assert names(tmp_path) == ("dangling", "folder", "right")
    for name in ("dangling", "folder"):
        with pytest.raises(SpecificationError, match=rf"^{name}\.yaml:1: must be a file that can"):
            load(name, tmp_path)
    with pytest.raises(SpecificationError, match="its file must be"):
        load("x" * 400, tmp_path)
