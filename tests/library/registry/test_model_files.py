"""Model files: verified before they are loaded, and inputs of the right kinds."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from include.errors import FeatureError, RegistryError, TrainingError
from include.evaluation.decision_threshold import DecisionThreshold
from include.monitoring.binning import fit_binning
from include.monitoring.drift import calibrate
from include.monitoring.profiles import profile
from include.registry.model_files import (
    MODEL,
    REFERENCE,
    TRUSTED_TYPES,
    ModelVersion,
    Reference,
    get_file,
    load_model,
    load_reference,
    predict,
    prepare,
    put_file,
    scores_of,
    trusted_for,
    without_infinities,
)
from include.specification.candidate_defaults import PRESETS, Preset
from include.specification.problem import Problem
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import Lake
from include.storage.object_store import ObjectStore
from include.training.candidates import build

FRAME = pd.DataFrame(
    {"x": np.linspace(-2, 2, 120), "c": pd.Series(["a", "b", None] * 40, dtype=object)}
)
PREPARED = pd.DataFrame({"x": FRAME["x"], "c": FRAME["c"]})
LATENT = FRAME["x"] + (FRAME["c"] == "a")
LABELS: dict[str, Any] = {
    "binary": (LATENT > 0.3).to_numpy(np.int8),
    "multiclass": np.select([LATENT > 1.2, LATENT < -1], ["high", "low"], "mid").astype(object),
    "regression": LATENT.to_numpy(),
}
CLASSES = ("high", "low", "mid")
# Small, and quick to fit.
SMALL: dict[str, dict[str, Any]] = {
    "hist_gradient_boosting": {"max_iter": 3, "early_stopping": False},
    "multilayer_perceptron": {"hidden_layer_sizes": (2,), "learning_rate_init": 0.1},
    "random_forest": {"n_estimators": 2},
    "xgboost": {"n_estimators": 2},
}
TASKS: dict[Any, list[tuple[str, str]]] = {
    "regression": [("none", "none")],
    **{
        task: [
            (imbalance, calibration)
            for imbalance in ("none", "class_weight", "smote")
            for calibration in ("none", "sigmoid", "isotonic")
        ]
        for task in ("binary", "multiclass")
    },
}
# Every kind of model that a pipeline file can ask for by name.
KINDS = [
    (name, task, imbalance, calibration)
    for name, preset in sorted(PRESETS.items())
    for task, options in TASKS.items()
    for imbalance, calibration in options
    if preset.estimator(task) and (name, imbalance) != ("k_nearest_neighbors", "class_weight")
]


def fitted(
    preset: Preset,
    task: Any = "binary",
    imbalance: Any = "none",
    calibration: Any = "none",
    **parameters: Any,
) -> Any:
    given = {**preset.parameters, **parameters}
    model = build(
        preset, task, given, ["x"], ["c"], imbalance=imbalance, calibration=calibration, seed=7
    )
    with threadpool_limits(1):
        return model.fit(PREPARED, LABELS[task])


def version(lake: Lake, task: Any = "binary", **files: tuple[str, str]) -> ModelVersion:
    return ModelVersion(
        pipeline=lake.pipeline,
        version=3,
        partition="2005-Q1",
        run_id="run",
        candidate="logistic_regression",
        numeric=("x",),
        categorical=("c",),
        files=files,
        training_set={"train": ["2004-Q4"]},
        task=task,
        classes=CLASSES if task == "multiclass" else (),
    )


def put(lake: Lake, data: bytes) -> tuple[str, str]:
    return put_file(ObjectStore(lake.settings), lake.pipeline, MODEL, data)


@pytest.mark.parametrize(("name", "task", "imbalance", "calibration"), KINDS)
def test_every_kind_of_model_is_the_same_after_the_file(
    name: str, task: Any, imbalance: str, calibration: str
) -> None:
    model = fitted(PRESETS[name], task, imbalance, calibration, **SMALL.get(name, {}))
    data = skops.io.dumps(model)
    loaded = skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    problem = Problem(task, CLASSES if task == "multiclass" else ())
    before, after = (scores_of(item, problem, PREPARED) for item in (model, loaded))
    assert before.tobytes() == after.tobytes()
    assert "imblearn" not in str(skops.io.get_untrusted_types(data=data))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("k_nearest_neighbors", {"algorithm": "ball_tree"}),
        ("k_nearest_neighbors", {"metric": "manhattan"}),
        ("multilayer_perceptron", {"solver": "sgd", "learning_rate_init": 0.1}),
        ("support_vector_machine", {"kernel": "linear"}),
    ],
)
def test_other_parameters_are_trusted_too(name: str, parameters: dict[str, Any]) -> None:
    model = fitted(PRESETS[name], **parameters)
    assert skops.io.loads(skops.io.dumps(model), trusted=list(TRUSTED_TYPES)) is not None


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_model_is_the_same_after_the_store(lake: Lake, task: str) -> None:
    model = fitted(PRESETS["hist_gradient_boosting"], task)
    file = put(lake, skops.io.dumps(model))
    held = version(lake, task, **{MODEL: file})
    scores = predict(lake.settings, held, FRAME)
    assert scores.tobytes() == scores_of(model, held.problem, PREPARED).tobytes()
    assert scores.shape == ((120, 3) if task == "multiclass" else (120,))
    assert load_model(lake.settings, file) is load_model(lake.settings, file)


def test_a_file_lies_under_its_own_digest(lake: Lake) -> None:
    # sha256 of b"abc", as NIST gives it (FIPS 180-2, appendix B.1).
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file = put(lake, b"abc")
    assert file == (f"s3://lake/{lake.pipeline}/models/{digest}/{MODEL}", digest)
    assert put(lake, b"abc") == file
    assert get_file(lake.settings, file) == b"abc"


def test_a_changed_file_is_refused(lake: Lake) -> None:
    model = skops.io.dumps(fitted(PRESETS["logistic_regression"]))
    uri, digest = put(lake, model)
    ObjectStore(lake.settings).write(uri, model + b" ")
    with pytest.raises(RegistryError) as caught:
        load_model(lake.settings, (uri, digest))
    message = str(caught.value)
    assert message.startswith(f"model file {uri}: SHA-256 must be {digest}, got ")
    assert message.endswith("restore the object, or roll back to another version.")


def test_a_file_that_is_gone_or_no_model_is_told(lake: Lake) -> None:
    uri, digest = put(lake, b"no model")
    with pytest.raises(RegistryError, match=rf"model file {uri}: must be a model as skops writes"):
        load_model(lake.settings, (uri, digest))
    ObjectStore(lake.settings).delete(uri)
    with pytest.raises(RegistryError, match=rf"model file {uri}: must be there, got none\."):
        get_file(lake.settings, (uri, digest))


def test_a_type_that_we_do_not_trust_is_refused_whatever_the_file_says(lake: Lake) -> None:
    # A callable inside a fitted transformer: what a pickle would run when it is loaded.
    file = put(lake, skops.io.dumps(FunctionTransformer(json.loads)))
    with pytest.raises(RegistryError) as caught:
        load_model(lake.settings, file)
    assert f"model file {file[0]}: must hold trusted types only, got others" in str(caught.value)
    assert "json.loads" in str(caught.value)


class TestTrust:
    def test_the_estimators_of_the_presets_need_no_more(self) -> None:
        for name, preset in PRESETS.items():
            path = preset.classifier or preset.regressor
            assert path is not None, name
            assert trusted_for(path, FunctionTransformer(json.loads)) == ()

    def test_ones_own_estimator_brings_the_types_of_its_package(self, lake: Lake) -> None:
        path = "xgboost.XGBRFClassifier"
        model = fitted(Preset(path, None, "ordinal"), n_estimators=2)
        trusted = trusted_for(path, model)
        assert trusted == ("xgboost.sklearn.XGBRFClassifier",)
        file = put(lake, skops.io.dumps(model))
        with pytest.raises(RegistryError, match=r"got others: .*XGBRFClassifier"):
            load_model(lake.settings, file)
        held = replace(version(lake, **{MODEL: file}), trusted=trusted)
        scores = predict(lake.settings, held, FRAME)
        assert scores.tobytes() == scores_of(model, held.problem, PREPARED).tobytes()

    def test_types_of_other_packages_are_refused_when_the_model_is_made(self) -> None:
        with pytest.raises(TrainingError) as caught:
            trusted_for("include.own.Model", FunctionTransformer(json.loads))
        assert str(caught.value) == (
            "estimator include.own.Model: its model must hold types of its own package only, got "
            "json.loads. Choose other parameters or another estimator."
        )

    def test_an_estimator_of_scikit_learn_outside_the_presets(self) -> None:
        path = "sklearn.ensemble.GradientBoostingClassifier"
        model = fitted(Preset(path, None, "one_hot"), n_estimators=2)
        trusted = trusted_for(path, model)
        assert all(name.startswith("sklearn.") for name in trusted)
        assert skops.io.loads(skops.io.dumps(model), trusted=[*TRUSTED_TYPES, *trusted])


class TestScores:
    class Model:
        """Answers what it was told."""

        def __init__(self, answer: Any, classes: list[Any]) -> None:
            self.answer, self.classes_ = np.asarray(answer), np.array(classes)

        def predict(self, prepared: pd.DataFrame) -> np.ndarray:
            return self.answer

        predict_proba = predict

    def scores(self, problem: Problem, answer: Any, *classes: Any) -> np.ndarray:
        return scores_of(self.Model(answer, list(classes)), problem, PREPARED.head(2))

    def test_binary_is_the_probability_of_one(self) -> None:
        scores = self.scores(Problem("binary"), np.array([[0.75, 0.25], [0, 1]], np.float32), 0, 1)
        assert scores.dtype == np.float64
        assert scores.tolist() == [0.25, 1.0]

    def test_multiclass_columns_follow_the_problem(self) -> None:
        problem = Problem("multiclass", ("a", "b", "c"))
        scores = self.scores(problem, [[0.25, 0.75], [0.5, 0.5]], "c", "a")
        assert scores.tolist() == [[0.75, 0, 0.25], [0.5, 0, 0.5]]

    def test_multiclass_rows_add_up_to_one(self) -> None:
        thirds = np.full((2, 3), 1 / 3, np.float32)
        assert float(thirds.astype(np.float64).sum(axis=1)[0]) != 1
        scores = self.scores(Problem("multiclass", ("a", "b", "c")), thirds, "a", "b", "c")
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-15)

    def test_regression_is_one_number_a_row(self) -> None:
        scores = self.scores(Problem("regression"), np.array([[1], [2]], np.float32))
        assert scores.dtype == np.float64
        assert scores.tolist() == [1.0, 2.0]


def test_a_version_survives_json(lake: Lake) -> None:
    files = {MODEL: ("s3://lake/m", "00"), REFERENCE: ("s3://lake/r", "11")}
    model = replace(version(lake, "multiclass", **files), trusted=("include.own.Model",))
    assert ModelVersion.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    assert model.problem == Problem("multiclass", CLASSES)


def test_a_version_written_before_there_were_tasks_is_binary(lake: Lake) -> None:
    model = version(lake, **{MODEL: ("s3://lake/m", "00")})
    document = json.loads(json.dumps(model.to_dict()))
    for key in ("task", "classes", "trusted"):
        del document[key]
    assert ModelVersion.from_dict(document) == model
    assert model.problem == Problem("binary")


def test_a_version_without_a_decision_is_written_as_before_there_were_any(lake: Lake) -> None:
    model = version(lake, **{MODEL: ("s3://lake/m", "00")})
    assert "decision" not in model.to_dict()
    assert (model.threshold, model.problem.threshold) == (None, None)
    decision = DecisionThreshold(0.35, {"maximize": "f1"}, 200, 80, 0.7)
    deciding = replace(model, decision=decision)
    assert ModelVersion.from_dict(json.loads(json.dumps(deciding.to_dict()))) == deciding
    assert deciding.problem == Problem("binary", threshold=0.35)


def test_a_reference_survives_the_store(lake: Lake) -> None:
    prepared = prepare(FRAME, ["x"], ["c"])
    scores = np.linspace(0, 1, 120)
    binning = fit_binning(prepared, ["x"], ["c"], predictions=scores)
    halves = [profile(prepared[s], binning, scores[s]) for s in (slice(0, 60), slice(60, 120))]
    reference = Reference(halves[0].merge(halves[1]), calibrate(halves))
    file = put_file(ObjectStore(lake.settings), lake.pipeline, REFERENCE, reference.to_bytes())
    loaded = load_reference(lake.settings, version(lake, **{REFERENCE: file}))
    assert loaded.to_bytes() == reference.to_bytes()
    assert loaded.thresholds == reference.thresholds


class TestPrepare:
    def test_order_and_dtypes(self) -> None:
        frame = pd.DataFrame(
            {
                "state": pd.array(["NY", None], "string"),
                "count": pd.array([1, None], "Int64"),
                "code": pd.Categorical(["x", None]),
                "flag": [True, False],
                "amount": np.array([1.5, np.nan], np.float32),
                "key": [1, 2],
            }
        )
        prepared = prepare(frame, ["amount", "count", "flag"], ["code", "state"])
        assert prepared.columns.tolist() == ["amount", "count", "flag", "code", "state"]
        assert prepared.dtypes.astype(str).tolist() == ["float64"] * 3 + ["object"] * 2
        np.testing.assert_array_equal(prepared["count"], [1.0, np.nan])
        np.testing.assert_array_equal(prepared["amount"], [1.5, np.nan])
        assert prepared["flag"].tolist() == [1.0, 0.0]
        assert prepared["code"].tolist() == ["x", None]
        assert prepared["state"].tolist() == ["NY", None]

    def test_every_kind_of_missing_text_becomes_none(self) -> None:
        values = [None, np.nan, pd.NA, "a"]
        frame = pd.DataFrame({"c": pd.Series(values, dtype=object)})
        prepared = prepare(frame, [], ["c"])["c"].tolist()
        assert all(value is None for value in prepared[:3])
        assert prepared[3] == "a"
        assert frame["c"][1] is not None  # the caller's frame is left alone

    def test_no_rows(self) -> None:
        prepared = prepare(FRAME.iloc[:0], ["x"], ["c"])
        assert prepared.shape == (0, 2)
        assert prepared.dtypes.astype(str).tolist() == ["float64", "object"]

    @pytest.mark.parametrize("whole", [[2, None, 7], [2, 3, 7]])
    def test_whole_numbers_with_a_missing_one(self, whole: list[int | None]) -> None:
        frame = to_pandas(pa.table({"x": pa.array(whole), "c": pa.array(whole)}))
        prepared = prepare(frame, ["x"], ["c"])
        expected = [np.nan if value is None else float(value) for value in whole]
        np.testing.assert_array_equal(prepared["x"], expected)
        assert prepared["c"].tolist() == [None if v is None else str(v) for v in whole]

    def test_infinities_are_missing_to_an_estimator_and_stay_in_the_frame(self) -> None:
        frame = pd.DataFrame({"x": [1.0, np.inf, np.nan], "y": [-np.inf, 2.0, 3.0], "c": "a"})
        prepared = prepare(frame, ["x", "y"], ["c"])
        finite = without_infinities(prepared)
        np.testing.assert_array_equal(finite["x"], [1.0, np.nan, np.nan])
        np.testing.assert_array_equal(finite["y"], [np.nan, 2.0, 3.0])
        assert np.isinf(prepared["x"][1])
        assert without_infinities(finite) is finite

    def test_a_column_that_is_not_there(self) -> None:
        with pytest.raises(FeatureError) as caught:
            prepare(FRAME[["x"]], ["x", "y"], ["c"])
        assert str(caught.value) == (
            "features: must hold every column that the model was trained on, got none named y, c. "
            "Return it from the feature function, or train again."
        )

    def test_booleans_and_decimals(self) -> None:
        frame = pd.DataFrame(
            {
                "amount": pd.Series([Decimal("1.50"), None], dtype=object),
                "flag": pd.Series([True, None], dtype=object),
            }
        )
        prepared = prepare(frame, ["amount", "flag"], [])
        np.testing.assert_array_equal(prepared.to_numpy(), [[1.5, 1.0], [np.nan, np.nan]])
        # Read as categories: the text is the same whatever dtype the batch came in.
        whole = frame.iloc[:1].astype({"flag": bool})
        for given, texts in ((frame, ["True", None]), (whole, ["True"])):
            prepared = prepare(given, [], ["amount", "flag"])
            assert prepared["flag"].tolist() == texts
        assert prepared["amount"].tolist() == ["1.50"]

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (datetime(2005, 1, 1), "got datetime such as"),
            (date(2005, 1, 1), "got date such as datetime.date(2005, 1, 1)."),
            (["a"], "got mixed such as ['a']."),
        ],
    )
    def test_a_category_that_is_none(self, value: Any, told: str) -> None:
        frame = pd.DataFrame({"c": pd.Series([None, value], dtype=object)})
        with pytest.raises(FeatureError) as caught:
            prepare(frame, [], ["c"])
        assert str(caught.value).startswith(
            f"feature c: must hold numbers, texts or booleans, {told}"
        )
        assert str(caught.value).endswith("Turn it into a number in the feature function.")

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            (["many"], "could not convert string to float: 'many'"),
            (pd.to_datetime(["2005-01-01"]), "Cannot cast DatetimeArray to dtype float64"),
        ],
    )
    def test_a_number_that_is_none(self, values: Any, told: str) -> None:
        with pytest.raises(FeatureError) as caught:
            prepare(pd.DataFrame({"x": values}), ["x"], [])
        assert str(caught.value) == (
            f"feature x: must hold numbers, as in training, got {told}. Turn it into a number in "
            "the feature function."
        )
