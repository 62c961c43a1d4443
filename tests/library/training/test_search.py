"""Candidates are the same every time, and validation never sees what it must not."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV

from include.errors import TrainingError
from include.evaluation.decision_threshold import choose_threshold
from include.evaluation.metric_values import measure
from include.registry.model_files import scores_of
from include.specification.candidate_defaults import PRESETS, Preset, names_for
from include.specification.problem import Problem
from include.specification.sections.decision import Decision
from include.specification.sections.training import Training
from include.training import search
from include.training.candidates import build
from include.training.search import TrainedCandidate, train_candidate
from include.training.training_sets import TrainingData


def rules(**changed: Any) -> Training:
    document = {
        "window": 3,
        "metric": "roc_auc",
        "candidates": {"logistic_regression": {}},
        **changed,
    }
    return Training.model_validate(document)


def synthetic(task: str = "binary", rows: int = 150, partitions: int = 4) -> TrainingData:
    """Partitions of rows whose label depends on ``x`` and ``c``; the latest is held out."""
    random = np.random.default_rng(3)
    total = rows * partitions
    x = random.normal(size=total)
    c = random.choice(["a", "b", None], size=total)
    latent = 1.5 * x + (c == "a") - 0.5 + random.logistic(size=total)
    labels = {
        "binary": (latent > 0).astype(np.int8),
        "multiclass": np.select([latent > 1.5, latent < -1.5], ["high", "low"], "mid").astype(
            object
        ),
        "regression": 100 + 10 * latent,
    }[task]
    names = np.repeat([f"2004-Q{i + 1}" for i in range(partitions)], rows).astype(object)
    return TrainingData(
        problem=Problem(task, ("high", "low", "mid") if task == "multiclass" else ()),  # type: ignore[arg-type]
        features=pd.DataFrame({"x": x, "c": c}),
        labels=labels,
        partitions=names,
        numeric=("x",),
        categorical=("c",),
        holdout=names == f"2004-Q{partitions}",
        ordered=True,
    )


def fit(
    name: str,
    data: TrainingData,
    trials: int = 0,
    preset: Preset | None = None,
    decision: dict[str, Any] | None = None,
    **changed: Any,
) -> TrainedCandidate:
    return train_candidate(
        name,
        preset or PRESETS[name],
        data,
        rules(**changed),
        trials=trials,
        decision=Decision.model_validate(decision) if decision else None,
    )


# Quick to fit.
FEW = {
    "hist_gradient_boosting": {"max_iter": 3},
    "k_nearest_neighbors": {"n_neighbors": 5},
    "multilayer_perceptron": {"hidden_layer_sizes": (2,), "max_iter": 300},
    "random_forest": {"n_estimators": 3},
    "xgboost": {"n_estimators": 3},
}
METRIC = {
    "binary": "roc_auc",
    "multiclass": "balanced_accuracy",
    "regression": "mean_absolute_error",
}


@pytest.mark.parametrize(
    ("name", "task", "trials"),
    [
        ("logistic_regression", "binary", 0),
        ("logistic_regression", "multiclass", 2),
        ("hist_gradient_boosting", "binary", 2),
        ("hist_gradient_boosting", "regression", 0),
        ("ridge", "regression", 2),
    ],
)
class TestEveryTask:
    def test_the_same_to_the_last_digit(self, name: str, task: str, trials: int) -> None:
        first, second = (fit(name, synthetic(task), trials, metric=METRIC[task]) for _ in range(2))
        assert first.parameters == second.parameters
        assert first.validation == second.validation
        data = synthetic(task)
        scores, again = (
            scores_of(item.estimator, data.problem, data.features) for item in (first, second)
        )
        assert scores.tobytes() == again.tobytes()
        # The label does depend on the features: chance is 0.5, 1/3 and about 17.
        low, high = {"binary": (0.7, 1), "multiclass": (0.45, 1), "regression": (10, 16)}[task]
        assert low < first.validation < high
        assert first.classes == data.problem.classes

    def test_held_out_rows_are_not_touched(self, name: str, task: str, trials: int) -> None:
        data = synthetic(task)
        spoilt = data.features.copy()
        spoilt.loc[data.holdout, "x"] = 1e9
        spoilt.loc[data.holdout, "c"] = "unseen"
        labels = data.labels.copy()
        labels[data.holdout] = labels[data.holdout][::-1]
        first = fit(name, data, trials, metric=METRIC[task])
        second = fit(
            name, replace(data, features=spoilt, labels=labels), trials, metric=METRIC[task]
        )
        assert (first.parameters, first.validation) == (second.parameters, second.validation)
        left, right = (
            scores_of(item.estimator, data.problem, data.features) for item in (first, second)
        )
        assert left.tobytes() == right.tobytes()


class TestSearch:
    def test_the_presets_own_values_come_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[Any] = []
        made = search.build

        def record(preset: Preset, task: Any, parameters: Any, *rest: Any, **more: Any) -> Any:
            tried.append(dict(parameters))
            return made(preset, task, parameters, *rest, **more)

        monkeypatch.setattr(search, "build", record)
        fitted = fit("logistic_regression", synthetic(), trials=3)
        assert tried[0] == PRESETS["logistic_regression"].parameters
        assert len({item["C"] for item in tried}) == 3
        assert all(item["max_iter"] == 1000 for item in tried)
        assert tried[-1] == fitted.parameters

    @pytest.mark.parametrize("name", sorted(PRESETS))
    def test_every_preset_starts_inside_its_own_space(self, name: str) -> None:
        preset = PRESETS[name]
        assert search._starting_point(preset) == {
            argument: preset.parameters[argument] for argument in preset.search
        }

    def test_kinds_of_spaces(self) -> None:
        space: dict[str, Any] = {
            "whole": {"low": 1, "high": 9},
            "real": {"low": 1, "high": 9.5, "log": True},
            "choice": ["scale", 0.1, None],
        }
        trial = optuna.trial.FixedTrial({"whole": 3, "real": 2.5, "choice": "scale"})
        assert search._suggest(Preset("a.B", None, "one_hot", {}, space), trial) == {
            "whole": 3,
            "real": 2.5,
            "choice": "scale",
        }
        kinds = {name: repr(kind) for name, kind in trial.distributions.items()}
        assert kinds == {
            "whole": "IntDistribution(high=9, log=False, low=1, step=1)",
            "real": "FloatDistribution(high=9.5, log=True, low=1.0, step=None)",
            "choice": "CategoricalDistribution(choices=('scale', 0.1, None))",
        }

    def test_a_value_that_the_search_may_not_draw_is_no_start(self) -> None:
        preset = Preset(
            "a.B", None, "one_hot", {"C": 99, "k": "x"}, {"C": {"low": 1, "high": 9}, "k": ["y"]}
        )
        assert search._starting_point(preset) == {}

    def test_a_metric_where_less_is_better_takes_the_smallest(self) -> None:
        data = synthetic(rows=100)
        searched = fit("logistic_regression", data, trials=4, metric="log_loss")
        plain = fit("logistic_regression", data, metric="log_loss")
        # The preset's own values are the first trial, so a search can only do as well or better.
        assert 0 < searched.validation <= plain.validation


class Recorder:
    """An estimator that notes which rows it saw, by their ``x``."""

    def __init__(self, seen: list[tuple[str, list[float]]]) -> None:
        self.seen = seen

    def fit(self, features: pd.DataFrame, labels: np.ndarray) -> Recorder:
        self.seen.append(("fit", features["x"].tolist()))
        self.classes_ = np.unique(labels)
        return self

    def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
        self.seen.append(("check", features["x"].tolist()))
        return np.full((len(features), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        self.seen.append(("check", features["x"].tolist()))
        return np.zeros(len(features))


def rows_of(*partitions: str, labels: list[int] | None = None) -> TrainingData:
    """Two rows a partition, numbered from 0; the last partition is held out."""
    names = np.repeat(np.array(partitions, dtype=object), 2)
    numbers = np.arange(len(names), dtype=float)
    return TrainingData(
        problem=Problem("binary"),
        features=pd.DataFrame({"x": numbers}),
        labels=np.array(labels or [0, 1] * len(partitions), np.int8),
        partitions=names,
        numeric=("x",),
        categorical=(),
        holdout=names == partitions[-1],
        ordered=True,
    )


def snapshot(task: Any, labels: list[Any], classes: tuple[str, ...] = ()) -> TrainingData:
    """Rows without a time, numbered from 0, with one more of the first label held out."""
    problem = Problem(task, classes)
    return TrainingData(
        problem=problem,
        features=pd.DataFrame({"x": np.arange(len(labels) + 1, dtype=float)}),
        labels=problem.encode_labels([*labels, labels[0]]),
        partitions=np.array(["snapshot-0001"] * (len(labels) + 1), object),
        numeric=("x",),
        categorical=(),
        holdout=np.array([False] * len(labels) + [True]),
        ordered=False,
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[float]]]:
    seen: list[tuple[str, list[float]]] = []
    monkeypatch.setattr(search, "build", lambda *_, **__: Recorder(seen))
    return seen


class TestFoldsInTime:
    def train(self, data: TrainingData) -> None:
        fit("logistic_regression", data)

    def test_each_of_the_two_latest_is_checked_with_all_before_it(self, seen: Any) -> None:
        self.train(rows_of("2004-Q3", "2004-Q4", "2005-Q1", "2005-Q2"))
        assert seen == [
            ("fit", [0, 1]),
            ("check", [2, 3]),
            ("fit", [0, 1, 2, 3]),
            ("check", [4, 5]),
            ("fit", [0, 1, 2, 3, 4, 5]),
        ]

    def test_two_partitions_make_one_fold(self, seen: Any) -> None:
        self.train(rows_of("2004-Q4", "2005-Q1", "2005-Q2"))
        assert seen == [("fit", [0, 1]), ("check", [2, 3]), ("fit", [0, 1, 2, 3])]

    def test_older_partitions_only_train(self, seen: Any) -> None:
        self.train(rows_of("2004-Q1", "2004-Q2", "2004-Q3", "2004-Q4", "2005-Q1"))
        assert [rows for step, rows in seen if step == "check"] == [[4, 5], [6, 7]]

    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            ([0, 0, 0, 1, 0, 1], "got 0 positives in 2 rows of 2004-Q4."),
            ([0, 1, 1, 1, 0, 1], "got 2 positives in 2 rows of 2005-Q1."),
        ],
    )
    def test_a_fold_of_one_class_is_explained(
        self, seen: Any, labels: list[int], told: str
    ) -> None:
        with pytest.raises(TrainingError) as caught:
            self.train(rows_of("2004-Q4", "2005-Q1", "2005-Q2", labels=labels))
        assert str(caught.value) == (
            "candidate logistic_regression: both sides of each validation fold must hold both "
            f"classes, {told} Lengthen training.window or check the labels."
        )
        assert seen == []


class TestFoldsWithoutTime:
    def checked(self, seen: list[tuple[str, list[float]]]) -> list[list[float]]:
        return [rows for step, rows in seen if step == "check"]

    def test_each_row_is_checked_once_by_a_model_that_did_not_see_it(self, seen: Any) -> None:
        fit("logistic_regression", snapshot("binary", [0, 0, 0, 1] * 10))
        *folds, last = [seen[i : i + 2] for i in range(0, len(seen), 2)]
        assert len(folds) == 5
        for (_, fitted), (_, checked) in folds:
            assert sorted(fitted + checked) == list(range(40))
            assert sum(row % 4 == 3 for row in checked) == 2  # stratified: 10 positives in 5 folds
        assert sorted(itertools.chain(*self.checked(seen))) == list(range(40))
        assert last == [("fit", list(range(40)))]

    def test_the_seed_shuffles(self, seen: Any) -> None:
        data = snapshot("regression", list(range(20)))
        for seed in (7, 7, 8):
            fit("ridge", data, metric="mean_absolute_error", seed=seed)
        first, second, other = (self.checked(seen)[i : i + 5] for i in (0, 5, 10))
        assert first == second != other
        assert [len(rows) for rows in first] == [4] * 5
        assert sorted(itertools.chain(*first)) == list(range(20))
        assert first[0] != [0, 1, 2, 3]

    def test_few_rows_of_a_class_make_fewer_folds(self, seen: Any) -> None:
        fit("logistic_regression", snapshot("binary", [0] * 20 + [1] * 3))
        assert [sum(row >= 20 for row in rows) for rows in self.checked(seen)] == [1, 1, 1]

    def test_a_class_that_the_problem_leaves_out_is_checked_but_not_fitted(self, seen: Any) -> None:
        data = snapshot("multiclass", ["a", "b"] * 10 + ["rare"], ("a", "b"))
        found = fit("logistic_regression", data, metric="accuracy")
        assert all(20 not in rows for step, rows in seen if step == "fit")
        assert sum(20 in rows for rows in self.checked(seen)) == 1
        # Ties go to "a": of each fold's rows two are "a", and the rare one is wrong in one fold.
        assert found.validation == pytest.approx((4 * 2 / 4 + 2 / 5) / 5)

    def test_one_row_of_a_class_is_not_fitted_on(self, seen: Any) -> None:
        data = snapshot("multiclass", ["a", "b"] * 10 + ["c"], ("a", "b", "c"))
        fit("logistic_regression", data, metric="accuracy")
        assert all(20 not in rows for step, rows in seen if step == "fit")

    def test_one_class_to_fit_on(self, seen: Any) -> None:
        data = snapshot("multiclass", ["a"] * 10 + ["b"], ("a", "b"))
        with pytest.raises(TrainingError) as caught:
            fit("logistic_regression", data, metric="accuracy")
        assert str(caught.value).startswith(
            "candidate logistic_regression: what a validation fold is fitted on must hold two "
            "classes, got 1 class in "
        )
        assert seen == []


@pytest.mark.parametrize("imbalance", ["none", "class_weight", "smote"])
@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
def test_rare_classes_and_unknown_ones_do_not_stop_a_training(
    imbalance: str, calibration: str
) -> None:
    data = synthetic("multiclass", rows=60)
    labels = data.labels.copy()
    labels[::30] = "rare"  # two a partition
    labels[17] = "unknown"
    data = replace(
        data, labels=labels, problem=Problem("multiclass", ("high", "low", "mid", "rare"))
    )
    found = fit(
        "logistic_regression",
        data,
        metric="f1_macro",
        imbalance=imbalance,
        calibration=calibration,
    )
    scores = scores_of(found.estimator, data.problem, data.features)
    assert scores.shape == (240, 4)
    np.testing.assert_allclose(scores.sum(axis=1), 1)
    assert found.classes == ("high", "low", "mid", "rare")


@pytest.mark.parametrize(
    ("metric", "calibration", "is_left_out"),
    [
        ("roc_auc", "sigmoid", True),
        ("average_precision", "sigmoid", True),
        ("roc_auc", "isotonic", False),  # it makes ties
        ("log_loss", "sigmoid", False),
    ],
)
def test_folds_leave_a_calibration_out_that_their_metric_does_not_see(
    monkeypatch: pytest.MonkeyPatch, metric: str, calibration: Any, is_left_out: bool
) -> None:
    """The value is the same, and the model that is left in the end is calibrated."""
    asked: list[str] = []

    def spy(*arguments: Any, **how: Any) -> Any:
        asked.append(how["calibration"])
        return build(*arguments, **how)

    monkeypatch.setattr(search, "build", spy)
    found = fit("logistic_regression", synthetic(), metric=metric, calibration=calibration)
    assert isinstance(found.estimator, CalibratedClassifierCV)
    assert asked[-1] == calibration
    assert set(asked[:-1]) == {"none" if is_left_out else calibration}
    monkeypatch.setattr(search, "_calibration_of_folds", lambda problem, rules: calibration)
    again = fit("logistic_regression", synthetic(), metric=metric, calibration=calibration)
    assert found.validation == pytest.approx(again.validation, rel=1e-12)


def test_parameters_that_the_estimator_refuses() -> None:
    preset = replace(PRESETS["logistic_regression"], parameters={"C": -1.0})
    with pytest.raises(TrainingError) as caught:
        fit("mine", synthetic(), preset=preset)
    assert str(caught.value).startswith(
        "candidate mine: its estimator must fit and score with C=-1.0, got "
        "InvalidParameterError: The 'C' parameter of LogisticRegression must be a float"
    )
    assert str(caught.value).endswith("Correct its parameters, or leave it out.")


def test_a_search_in_the_file_of_an_estimator_of_ones_own() -> None:
    preset = Preset(
        "sklearn.ensemble.ExtraTreesClassifier",
        None,
        "ordinal",
        {"n_estimators": 5},
        {"max_depth": {"low": 1, "high": 6}, "criterion": ["gini", "entropy"]},
    )
    found = fit("extra_trees", synthetic(rows=60), trials=3, preset=preset)
    assert found.parameters["n_estimators"] == 5
    assert 1 <= found.parameters["max_depth"] <= 6
    assert found.parameters["criterion"] in ("gini", "entropy")
    assert found.estimator.named_steps["model"].max_depth == found.parameters["max_depth"]


@pytest.mark.parametrize("name", names_for("binary"))
def test_an_infinity_is_a_missing_value_to_every_candidate(name: str) -> None:
    data = synthetic(rows=60)
    odd = np.arange(len(data.labels)) % 7 == 0
    preset = replace(PRESETS[name], parameters={**PRESETS[name].parameters, **FEW.get(name, {})})
    scores = []
    for value in (np.nan, np.inf, -np.inf):
        features = data.features.assign(x=data.features["x"].mask(odd, value))
        fitted = fit(name, replace(data, features=features), preset=preset)
        scores.append(scores_of(fitted.estimator, data.problem, features))
    assert np.isfinite(scores[0]).all()
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


COSTS = {"costs": {"false_negative": 5, "false_positive": 1}}
RULES = [{"maximize": "f1"}, COSTS]


class TestDecision:
    """The threshold is chosen on rows that neither fitted the model that scored them nor judge."""

    def test_nobody_asks_for_one(self) -> None:
        assert fit("logistic_regression", synthetic()).decision is None

    def test_the_model_and_its_validation_stay_as_they_are(self) -> None:
        data = synthetic()
        plain = fit("logistic_regression", data, trials=2)
        for decision in ({"threshold": 0.2}, *RULES):
            found = fit("logistic_regression", data, trials=2, decision=decision)
            assert (found.parameters, found.validation) == (plain.parameters, plain.validation)
            scores = [
                scores_of(item.estimator, data.problem, data.features) for item in (found, plain)
            ]
            assert scores[0].tobytes() == scores[1].tobytes()

    @pytest.mark.parametrize("calibration", ["none", "sigmoid"])
    @pytest.mark.parametrize("decision", RULES, ids=["metric", "costs"])
    def test_in_time_order_it_is_of_the_latest_partitions_by_models_of_what_was_before(
        self, decision: dict[str, Any], calibration: Any
    ) -> None:
        data = synthetic(rows=100)
        preset = PRESETS["logistic_regression"]
        labels, scores = [], []
        for name in ("2004-Q2", "2004-Q3"):  # Q4 is held out
            before, check = data.partitions < name, data.partitions == name
            model = build(
                preset,
                "binary",
                preset.parameters,
                data.numeric,
                data.categorical,
                calibration=calibration,
                seed=7,
            )
            model.fit(data.features[before], data.labels[before])
            labels.append(data.labels[check])
            scores.append(scores_of(model, data.problem, data.features[check]))
        expected = choose_threshold(
            Decision.model_validate(decision),
            data.problem,
            np.concatenate(labels),
            np.concatenate(scores),
        )
        # By roc_auc the folds of the search leave a sigmoid out, which moves every score.
        found = fit("logistic_regression", data, decision=decision, calibration=calibration)
        assert found.decision == expected
        assert (expected.rows, expected.positives) == (200, int(np.concatenate(labels).sum()))

    def test_without_a_time_every_row_that_is_not_held_out_counts_once(
        self, seen: list[tuple[str, list[float]]]
    ) -> None:
        data = snapshot("binary", [0, 1] * 10)
        found = fit("logistic_regression", data, decision=COSTS)
        # Five folds of the search, the same five for the threshold, and the model.
        *_, model = fits = [rows for kind, rows in seen if kind == "fit"]
        checks = [rows for kind, rows in seen if kind == "check"]
        assert len(fits) == 11
        assert sorted(itertools.chain(*checks[5:])) == model == list(range(20))
        assert not any(set(a) & set(b) for a, b in zip(fits[:-1], checks, strict=True))
        assert found.decision is not None
        assert (found.decision.rows, found.decision.positives) == (20, 10)

    @pytest.mark.parametrize("decision", [{"threshold": 0.2}, *RULES])
    def test_held_out_rows_choose_nothing(self, decision: dict[str, Any]) -> None:
        data = synthetic()
        spoilt = data.features.copy()
        spoilt.loc[data.holdout, "x"] = 1e9
        labels = data.labels.copy()
        labels[data.holdout] = 1 - labels[data.holdout]
        other = replace(data, features=spoilt, labels=labels)
        first, second = (
            fit("logistic_regression", item, decision=decision) for item in (data, other)
        )
        assert first.decision == second.decision is not None

    def test_one_that_is_given_costs_no_fit(self, seen: list[tuple[str, list[float]]]) -> None:
        found = fit(
            "logistic_regression", snapshot("binary", [0, 1] * 10), decision={"threshold": 0.2}
        )
        assert sum(kind == "fit" for kind, _ in seen) == 6
        assert found.decision is not None
        assert (found.decision.threshold, found.decision.rows) == (0.2, 0)

    def test_a_search_by_a_metric_of_classes_decides_as_the_model_will(self) -> None:
        data = synthetic(rows=100)
        given = fit("logistic_regression", data, metric="f1", decision={"threshold": 0.2})
        chosen = fit("logistic_regression", data, metric="f1", decision={"maximize": "f1"})
        plain = fit("logistic_regression", data, metric="f1")
        assert chosen.decision is not None
        assert chosen.validation > max(plain.validation, given.validation)
        at = replace(data.problem, threshold=0.2)
        values = []
        for name in ("2004-Q2", "2004-Q3"):
            before, check = data.partitions < name, data.partitions == name
            preset = PRESETS["logistic_regression"]
            model = build(
                preset, "binary", preset.parameters, data.numeric, data.categorical, seed=7
            )
            model.fit(data.features[before], data.labels[before])
            scores = scores_of(model, data.problem, data.features[check])
            values.append(measure("f1", at, data.labels[check], scores))
        assert given.validation == np.mean(values)
