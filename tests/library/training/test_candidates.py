"""Every candidate takes raw columns and knows what its scores mean."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from include.errors import TrainingError
from include.estimators import ClassFolds, EncodedClassifier, OversampledClassifier, ScarceColumns
from include.registry.model_files import prepare, scores_of
from include.specification.candidate_defaults import PRESETS, Preset
from include.specification.metric_names import Task
from include.specification.problem import Problem
from include.training.candidates import build

CLASSES = ("high", "low", "mid")
# Small, and quick to fit.
SMALL: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 20, "min_samples_leaf": 5, "early_stopping": False},
    "k_nearest_neighbors": {"weights": "uniform"},
    "multilayer_perceptron": {"hidden_layer_sizes": (8,), "learning_rate_init": 0.05},
    "random_forest": {"n_estimators": 10},
    "xgboost": {"n_estimators": 20},
}
CASES = [
    (name, task)
    for name in sorted(PRESETS)
    for task in ("binary", "multiclass", "regression")
    if PRESETS[name].estimator(task)
]


def rows(count: int = 200) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Columns of both kinds with missing values, and a label of each task that follows them."""
    random = np.random.default_rng(5)
    x = random.normal(size=count)
    x[::11] = np.nan
    frame = pd.DataFrame(
        {
            "x": x,
            "large": random.normal(size=count) * 1e4,
            "c": random.choice(["a", "b", None], count),
        }
    )
    latent = np.nan_to_num(x) + (frame["c"] == "a") + frame["large"] / 1e4
    return prepare(frame, ["x", "large"], ["c"]), {
        "binary": (latent > 0.5).to_numpy(np.int8),
        "multiclass": np.select([latent > 1.2, latent < -0.6], ["high", "low"], "mid").astype(
            object
        ),
        "regression": (1000 + 50 * latent).to_numpy(),
    }


FRAME, LABELS = rows()


def make(name: str, task: Any, **options: Any) -> Any:
    preset = PRESETS[name]
    parameters = {**preset.parameters, **SMALL.get(name, {})}
    numeric = options.pop("numeric", ["x", "large"])
    categorical = options.pop("categorical", ["c"])
    return build(preset, task, parameters, numeric, categorical, seed=7, **options)


def scored(model: Any, task: Any, frame: pd.DataFrame = FRAME) -> np.ndarray:
    return scores_of(model, Problem(task, CLASSES if task == "multiclass" else ()), frame)


@pytest.mark.parametrize(("name", "task"), CASES)
class TestEveryPreset:
    def test_scores_follow_the_labels(self, name: str, task: Task) -> None:
        scores = scored(make(name, task).fit(FRAME, LABELS[task]), task)
        assert scores.dtype == np.float64
        if task == "regression":
            errors = np.abs(scores - LABELS[task]).mean()
            assert errors < 0.7 * np.abs(LABELS[task] - LABELS[task].mean()).mean()
        elif task == "binary":
            assert scores.shape == (200,)
            assert ((scores > 0.5) == LABELS[task]).mean() > 0.75
        else:
            assert scores.shape == (200, 3)
            np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-12)
            assert (np.array(CLASSES)[scores.argmax(axis=1)] == LABELS[task]).mean() > 0.65

    def test_the_seed_decides_everything(self, name: str, task: Task) -> None:
        first, second = (scored(make(name, task).fit(FRAME, LABELS[task]), task) for _ in range(2))
        assert first.tobytes() == second.tobytes()

    def test_what_was_never_seen_and_what_is_missing(self, name: str, task: Task) -> None:
        model = make(name, task).fit(FRAME, LABELS[task])
        odd = prepare(
            pd.DataFrame({"x": [np.nan, 1e6], "large": [0.0, np.nan], "c": ["new", None]}),
            ["x", "large"],
            ["c"],
        )
        assert np.isfinite(scored(model, task, odd)).all()

    @pytest.mark.parametrize(("numeric", "categorical"), [(["x", "large"], []), ([], ["c"])])
    def test_columns_of_one_kind(
        self, name: str, task: Task, numeric: list[str], categorical: list[str]
    ) -> None:
        model = make(name, task, numeric=numeric, categorical=categorical)
        frame = FRAME[[*numeric, *categorical]]
        assert np.isfinite(scored(model.fit(frame, LABELS[task]), task, frame)).all()

    def test_a_column_without_any_value(self, name: str, task: Task) -> None:
        frame = FRAME.assign(x=np.nan, c=pd.Series([None] * 200, dtype=object))
        model = make(name, task).fit(frame, LABELS[task])
        assert np.isfinite(scored(model, task, FRAME)).all()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep small fits from waiting for threads that a busy machine does not run."""
    with threadpool_limits(1):
        yield


class TestImbalance:
    # One in twenty; the classes overlap.
    rare = (FRAME["large"] > FRAME["large"].quantile(0.9)).to_numpy() & (np.arange(200) % 2 == 0)

    @pytest.mark.parametrize(
        ("name", "imbalance"),
        [
            (name, imbalance)
            for name, task in CASES
            for imbalance in ("class_weight", "smote")
            if task == "binary" and (name, imbalance) != ("k_nearest_neighbors", "class_weight")
        ],
    )
    def test_rare_classes_score_higher(self, name: str, imbalance: str) -> None:
        labels = self.rare.astype(np.int8)
        # A support vector machine is calibrated: what is gained shows before.
        decide = name == "support_vector_machine"
        means = []
        for option in ("none", imbalance):
            model = make(name, "binary", imbalance=option).fit(FRAME, labels)
            if decide:
                model = model.calibrated_classifiers_[0].estimator
                means.append(model.decision_function(FRAME)[self.rare].mean())
            else:
                means.append(scored(model, "binary")[self.rare].mean())
        assert means[1] > means[0]

    def test_weights_are_those_of_scikit_learn(self) -> None:
        features = FRAME[["large"]].to_numpy() / 1e4
        labels = LABELS["multiclass"]
        expected = LogisticRegression(class_weight="balanced").fit(features, labels)
        found = EncodedClassifier(LogisticRegression(), balance=True).fit(features, labels)
        np.testing.assert_allclose(
            found.predict_proba(features), expected.predict_proba(features), rtol=1e-6
        )
        assert found.classes_.tolist() == list(CLASSES)
        assert (found.predict(features) == expected.predict(features)).all()

    def test_an_estimator_that_cannot_weigh(self) -> None:
        with pytest.raises(TrainingError) as caught:
            make("k_nearest_neighbors", "binary", imbalance="class_weight")
        assert str(caught.value) == (
            "estimator sklearn.neighbors.KNeighborsClassifier: must take class_weight or "
            "sample_weight to weigh classes, got neither. Use imbalance: smote, or leave the "
            "candidate out."
        )


class Counter(ClassifierMixin, BaseEstimator):
    """Notes what it is fitted on."""

    def fit(self, features: pd.DataFrame, labels: np.ndarray) -> Counter:
        self.classes_, self.counts_ = np.unique(labels, return_counts=True)
        self.features_ = features
        return self

    def predict(self, features: pd.DataFrame) -> np.ndarray:
        return np.repeat(self.classes_[:1], len(features))


class TestOversampling:
    frame = pd.DataFrame(
        {
            "x": np.arange(20.0),
            "c": pd.Series(["a", "b"] * 10, dtype=object),
        }
    )

    def counts(self, labels: list[Any], columns: list[str]) -> tuple[list[int], pd.DataFrame]:
        categorical = [name for name in columns if name == "c"]
        model = OversampledClassifier(Counter(), categorical, 7)
        model.fit(self.frame[columns], np.array(labels))
        return model.estimator_.counts_.tolist(), model.estimator_.features_

    @pytest.mark.parametrize("columns", [["x", "c"], ["x"], ["c"]])
    def test_every_class_becomes_as_frequent(self, columns: list[str]) -> None:
        counts, seen = self.counts([0] * 12 + [1] * 8, columns)
        assert counts == [12, 12]
        assert seen.columns.tolist() == columns
        pd.testing.assert_frame_equal(seen.iloc[:20], self.frame[columns])
        if "x" in columns:
            assert seen["x"][20:].between(12, 19).all()  # between rows of the rarer class
        if "c" in columns:
            assert set(seen["c"]) == {"a", "b"}

    def test_two_rows_of_a_class_are_enough(self) -> None:
        assert self.counts([0] * 11 + [1] * 7 + [2] * 2, ["x", "c"])[0] == [11, 11, 11]

    def test_one_row_has_no_neighbour_and_stays_alone(self) -> None:
        assert self.counts([0] * 12 + [1] * 7 + [2], ["x"])[0] == [12, 12, 1]
        assert self.counts([0] * 19 + [1], ["x"])[0] == [19, 1]

    def test_classes_that_are_equally_frequent_are_left_alone(self) -> None:
        assert self.counts([0, 1] * 10, ["x"])[0] == [10, 10]

    def test_missing_values_are_filled_in_for_both(self) -> None:
        model = make("logistic_regression", "binary", imbalance="smote")
        model.fit(FRAME, LABELS["binary"])
        assert np.isfinite(scored(model, "binary")).all()

    def test_a_model_needs_no_sampler_to_score(self) -> None:
        program = (
            "import sys; import include.scoring.batch_scoring; "
            "assert 'imblearn' not in sys.modules and 'optuna' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", program], check=True)
        model = make("logistic_regression", "binary", imbalance="smote")
        kept = repr(model.fit(FRAME, LABELS["binary"]).get_params())
        assert "SMOTE" not in kept


class TestCalibration:
    @pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
    def test_scores_add_up_to_the_positives_again(self, method: str) -> None:
        labels = TestImbalance.rare.astype(np.int8)
        plain, calibrated = (
            scored(
                make(
                    "logistic_regression", "binary", imbalance="class_weight", calibration=option
                ).fit(FRAME, labels),
                "binary",
            )
            for option in ("none", method)
        )
        assert plain.sum() > 3 * labels.sum()  # balanced weights promise far too many
        assert calibrated.sum() < 1.3 * labels.sum()

    def test_an_estimator_that_only_decides_is_calibrated_anyway(self) -> None:
        model = make("support_vector_machine", "binary")
        assert (model.method, model.ensemble) == ("sigmoid", False)
        isotonic = make("support_vector_machine", "binary", calibration="isotonic")
        assert isotonic.method == "isotonic"

    def test_folds_shrink_with_the_rarest_class(self) -> None:
        for rarest, folds in ((9, 3), (3, 3), (2, 2)):
            labels = np.array([0] * 12 + [1] * rarest)
            splits = list(ClassFolds(3).split(labels, labels))
            assert len(splits) == folds
            assert all(labels[check].sum() >= 1 for _, check in splits)
            everything = np.concatenate([check for _, check in splits])
            assert sorted(everything) == list(range(len(labels)))

    def test_two_rows_of_a_class(self) -> None:
        labels = LABELS["multiclass"].copy()
        labels[:2] = "new"
        model = make("logistic_regression", "multiclass", calibration="sigmoid")
        assert model.fit(FRAME, labels).classes_.tolist() == ["high", "low", "mid", "new"]


class TestOwnEstimators:
    def own(self, path: str, task: Any = "binary", **changed: Any) -> Any:
        preset = replace(Preset(path, path, "one_hot"), **changed)
        return build(preset, task, preset.parameters, ["x", "large"], ["c"], seed=7)

    @pytest.mark.parametrize("encoding", ["one_hot", "ordinal"])
    @pytest.mark.parametrize(
        "path",
        [
            "sklearn.naive_bayes.GaussianNB",  # takes neither sparse columns nor missing values
            "sklearn.linear_model.RidgeClassifier",  # decides only
            "sklearn.ensemble.GradientBoostingClassifier",
            "xgboost.XGBRFClassifier",
        ],
    )
    @pytest.mark.parametrize("task", ["binary", "multiclass"])
    def test_any_classifier(self, path: str, encoding: str, task: Any) -> None:
        model = self.own(path, task, encoding=encoding).fit(FRAME, LABELS[task])
        assert np.isfinite(scored(model, task)).all()

    def test_seed_and_jobs_are_set_where_they_exist(self) -> None:
        forest = self.own("xgboost.XGBRFClassifier").named_steps["model"]
        assert (forest.random_state, forest.n_jobs) == (7, 1)
        chosen = self.own("xgboost.XGBRFClassifier", parameters={"random_state": 1})
        assert chosen.named_steps["model"].random_state == 1

    def test_columns_of_categories_are_told_to_a_booster(self) -> None:
        booster = make("hist_gradient_boosting", "binary").named_steps["model"]
        assert booster.categorical_features == [2]

    @pytest.mark.parametrize(
        ("path", "task", "parameters", "told"),
        [
            (
                "sklearn.linear_model.LogisticRegresion",
                "binary",
                {},
                "must be importable, got module 'sklearn.linear_model' has no attribute",
            ),
            ("nowhere.Model", "binary", {}, "must be importable, got No module named 'nowhere'"),
            ("json.dumps", "binary", {}, "must be an estimator class as scikit-learn has them"),
            ("json.JSONDecoder", "binary", {}, "must be an estimator class as scikit-learn has"),
            (
                "sklearn.linear_model.LogisticRegression",
                "binary",
                {"max_itre": 5},
                "must take its parameters, got 'max_itre'; did you mean 'max_iter'?",
            ),
            (
                "sklearn.ensemble.VotingClassifier",
                "binary",
                {},
                "must take its parameters, got VotingClassifier.__init__() missing 1 required",
            ),
            (
                "sklearn.linear_model.Ridge",
                "binary",
                {},
                "must be a classifier for task binary, got Ridge. Name a classifier.",
            ),
            (
                "sklearn.linear_model.LogisticRegression",
                "regression",
                {},
                "must be a regressor for task regression, got LogisticRegression.",
            ),
            (
                f"{__name__}.Counter",
                "binary",
                {},
                "must have predict_proba or decision_function, got neither.",
            ),
        ],
    )
    def test_what_cannot_be_used(
        self, path: str, task: Any, parameters: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(TrainingError) as caught:
            self.own(path, task, parameters=parameters)
        assert str(caught.value).startswith(f"estimator {path}: {told}")

    def test_no_features(self) -> None:
        with pytest.raises(TrainingError, match="needs at least one feature column, got none"):
            make("ridge", "regression", numeric=[], categorical=[])

    def test_a_candidate_can_be_cloned(self) -> None:
        model = make("xgboost", "multiclass", imbalance="smote", calibration="sigmoid")
        assert repr(clone(model)) == repr(model)


def test_columns_with_hardly_any_value_are_silenced() -> None:
    values = np.full((2000, 3), np.nan)
    values[:9, 0], values[:10, 1], values[:, 2] = 1, 1, 1
    for count, scarce in ((2000, [True, False, False]), (20, [True, False, False])):
        columns = ScarceColumns().fit(values[:count])
        assert columns.scarce_.tolist() == scarce
        np.testing.assert_array_equal(columns.transform(values[:1]), [[0, 1, 1]])
    # 10 of 20,000 are less than one in a thousand.
    longer = np.vstack([values, np.full((18_000, 3), np.nan)])
    assert ScarceColumns().fit(longer).scarce_.tolist() == [True, True, False]


@pytest.mark.parametrize("name", ["multilayer_perceptron", "support_vector_machine"])
def test_a_target_far_from_zero_is_scaled(name: str) -> None:
    labels = LABELS["regression"] * 1e4
    scores = scored(make(name, "regression").fit(FRAME, labels), "regression")
    assert np.corrcoef(scores, labels)[0, 1] > 0.7
    assert scores.mean() == pytest.approx(labels.mean(), rel=0.02)
