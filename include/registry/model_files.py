"""Model versions and their files: prepared inputs, verified loading, the reference.

Imported by Spark workers, so it stays light: no MLflow and no Optuna here.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray

from include.errors import FeatureError, RegistryError, TrainingError
from include.evaluation.decision_threshold import DecisionThreshold
from include.monitoring.drift import Thresholds
from include.monitoring.profiles import Profile
from include.specification.candidate_defaults import PRESETS
from include.specification.generations import FEATURES, of_generation
from include.specification.metric_names import Task
from include.specification.problem import Problem, Scores
from include.storage.object_store import ObjectStore
from include.storage.settings import LAKE, StoreSettings

MODEL = "model.skops"
REFERENCE = "reference.json"

# Types that skops may build when it loads one of our models, beyond its own safe defaults. The
# list is ours: the one stored inside a model file is never believed.
TRUSTED_TYPES = (
    # The booster checks categories with partial(check_array); skops audits what a partial calls.
    "functools.partial",
    "include.estimators.ClassFolds",
    "include.estimators.EncodedClassifier",
    "include.estimators.OversampledClassifier",
    "include.estimators.ScarceColumns",
    "numpy.dtype",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils.validation.check_array",
    "xgboost.core.Booster",
    "xgboost.sklearn.XGBClassifier",
    "xgboost.sklearn.XGBRegressor",
)
_PRESET_PATHS = frozenset(
    path for preset in PRESETS.values() for path in (preset.classifier, preset.regressor) if path
)


@dataclass(frozen=True)
class ModelVersion:
    """A registered model version and what belongs to it.

    Args:
        pipeline: Pipeline, also the name of the registered model.
        version: Version number in MLflow, >= 1.
        partition: Partition as of which it was trained.
        run_id: MLflow run of the candidate.
        candidate: Builder that made it.
        numeric: Numeric feature columns.
        categorical: Categorical feature columns.
        files: By file name, (address on the store, SHA-256).
        training_set: The training set (see ``include.training.training_sets.TrainingSet``).
        task: Kind of target.
        classes: Multiclass: the classes in the order of the score columns; else empty.
        trusted: Types of a candidate's own estimator that its file may hold
            (see :func:`trusted_for`).
        decision: Binary: from which score on a row is decided as 1; None if its training's
            pipeline file did not say.
        generations: Of the data sets that it was trained on, as ``Pipeline.generations`` tells
            them.
    """

    pipeline: str
    version: int
    partition: str
    run_id: str
    candidate: str
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    files: Mapping[str, tuple[str, str]]
    training_set: Mapping[str, Any]
    task: Task = "binary"
    classes: tuple[str, ...] = ()
    trusted: tuple[str, ...] = ()
    decision: DecisionThreshold | None = None
    generations: Mapping[str, int] = field(default_factory=dict)

    @property
    def features_table(self) -> str:
        """Name the table of the features that it scores."""
        return of_generation(FEATURES, self.generations.get(FEATURES, 1))

    @property
    def threshold(self) -> float | None:
        """The least score that is decided as 1; None if nobody said."""
        return None if self.decision is None else self.decision.threshold

    @property
    def problem(self) -> Problem:
        """What its scores mean, without the pipeline file's own metrics."""
        return Problem(self.task, self.classes, threshold=self.threshold)

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping, which digests of versions are made of.

        Without a decision, or of first generations, it is what it was before there were others.
        """
        values = asdict(self)
        for name in ("decision", "generations"):
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelVersion:
        """Read what :meth:`to_dict` gave, now or before there were other tasks than binary."""
        listed = ("numeric", "categorical", "classes", "trusted")
        return cls(
            **{
                **values,
                **{name: tuple(values[name]) for name in listed if name in values},
                "decision": DecisionThreshold.from_dict(values.get("decision")),
                "files": {name: (item[0], item[1]) for name, item in values["files"].items()},
            }
        )


@dataclass(frozen=True)
class Reference:
    """What a version's batches are compared with.

    Args:
        profile: Profile of the training set, with the model's scores of the held-out rows.
        thresholds: Drift thresholds calibrated between its partitions.
    """

    profile: Profile
    thresholds: Thresholds

    def to_bytes(self) -> bytes:
        """Render for the store."""
        values = {"profile": self.profile.to_dict(), "thresholds": self.thresholds.to_dict()}
        return json.dumps(values, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Reference:
        """Read what :meth:`to_bytes` gave."""
        values = json.loads(data)
        return cls(Profile.from_dict(values["profile"]), Thresholds.from_dict(values["thresholds"]))


def put_file(store: ObjectStore, pipeline: str, name: str, data: bytes) -> tuple[str, str]:
    """Store a model file under its own SHA-256; returns (address, SHA-256)."""
    digest = hashlib.sha256(data).hexdigest()
    uri = f"s3://{LAKE}/{pipeline}/models/{digest}/{name}"
    if not store.exists(uri):
        store.write(uri, data, "application/octet-stream")
    return uri, digest


def get_file(settings: StoreSettings, file: tuple[str, str]) -> bytes:
    """Read a model file and check it against the SHA-256 recorded at registration.

    Raises:
        RegistryError: If the file was changed since, or is gone.
    """
    uri, expected = file
    try:
        with settings.filesystem().open_input_file(settings.path(uri)) as source:
            data: bytes = source.read()
    except FileNotFoundError as error:
        raise RegistryError(
            f"model file {uri}: must be there, got none. It was deleted after registration: "
            "restore the object, or roll back to another version."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise RegistryError(
            f"model file {uri}: SHA-256 must be {expected}, got {found}. It was changed after "
            "registration: restore the object, or roll back to another version."
        )
    return data


@functools.lru_cache(maxsize=4)
def load_model(
    settings: StoreSettings, file: tuple[str, str], trusted: tuple[str, ...] = ()
) -> Any:
    """Verify and load a model once per process; runs no code from the file.

    Args:
        settings: Where the store is.
        file: (address on the store, SHA-256).
        trusted: Types that it may hold besides ``TRUSTED_TYPES``, as recorded at registration.

    Raises:
        RegistryError: If the file was changed, is gone, is none that skops wrote, or holds types
            that we do not trust.
    """
    data = get_file(settings, file)
    try:
        return skops.io.loads(data, trusted=[*TRUSTED_TYPES, *trusted])
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise RegistryError(
            f"model file {file[0]}: must hold trusted types only, got others: {error}"
        ) from error
    except (BadZipFile, KeyError) as error:
        raise RegistryError(
            f"model file {file[0]}: must be a model as skops writes it, got {error}. Roll back to "
            "another version, or train again."
        ) from error


def trusted_for(path: str, estimator: Any) -> tuple[str, ...]:
    """List the types that a model just fitted needs beyond ``TRUSTED_TYPES``.

    Whoever names an estimator by its import path trusts its package; those are the only types
    added. Asked when a model is made, so that no model file vouches for itself.

    Args:
        path: Import path of the estimator in the pipeline file.
        estimator: The fitted candidate.

    Returns:
        Names of types, sorted; none for the estimators of the presets.

    Raises:
        TrainingError: If it holds types of other packages.
    """
    if path in _PRESET_PATHS:
        return ()
    found = set(skops.io.get_untrusted_types(data=skops.io.dumps(estimator))) - set(TRUSTED_TYPES)
    own = {path.partition(".")[0], "include"}
    foreign = sorted(name for name in found if name.partition(".")[0] not in own)
    if foreign:
        raise TrainingError(
            f"estimator {path}: its model must hold types of its own package only, got "
            f"{', '.join(foreign[:10])}. Choose other parameters or another estimator."
        )
    return tuple(sorted(found))


def load_reference(settings: StoreSettings, version: ModelVersion) -> Reference:
    """Verify and load the reference of a version."""
    return Reference.from_bytes(get_file(settings, version.files[REFERENCE]))


def predict(settings: StoreSettings, version: ModelVersion, frame: pd.DataFrame) -> Scores:
    """Score a frame in this process; the scores look as ``include.specification.problem`` says."""
    model = load_model(settings, version.files[MODEL], version.trusted)
    prepared = prepare(frame, version.numeric, version.categorical)
    return scores_of(model, version.problem, prepared)


def scores_of(estimator: Any, problem: Problem, prepared: pd.DataFrame) -> Scores:
    """Turn a fitted estimator into scores, as ``include.specification.problem`` says.

    Args:
        estimator: Fitted on the columns of :func:`prepare`, infinities missing.
        problem: Task and, for multiclass, the classes in the order of the score columns.
        prepared: Rows to score, shape (n_rows, n_columns).
    """
    prepared = without_infinities(prepared)
    if problem.task == "regression":
        return np.asarray(estimator.predict(prepared), np.float64).reshape(len(prepared))
    probabilities = np.asarray(estimator.predict_proba(prepared), np.float64)
    if problem.task == "binary":
        return probabilities[:, 1]
    # Some estimators compute in float32, in which rows add up to 1 in seven digits only.
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return problem.align(probabilities, [str(name) for name in estimator.classes_])


def prepare(
    frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """Bring feature columns to the dtypes that every candidate is fitted on.

    Args:
        frame: Feature columns in any order, shape (n_rows, n_columns).
        numeric: Numeric columns; booleans and decimals become numbers.
        categorical: Categorical columns; whatever is no text becomes its text.

    Returns:
        The columns in order numeric, categorical: float64 with NaN, object with None for missing.

    Raises:
        FeatureError: If a column is missing, or holds neither numbers, texts nor booleans.
    """
    missing = [name for name in (*numeric, *categorical) if name not in frame.columns]
    if missing:
        raise FeatureError(
            f"features: must hold every column that the model was trained on, got none named "
            f"{', '.join(missing[:10])}. Return it from the feature function, or train again."
        )
    values = {name: _numbers(frame[name]) for name in numeric}
    values.update({name: _texts(frame[name]) for name in categorical})
    return pd.DataFrame(values)


def without_infinities(prepared: pd.DataFrame) -> pd.DataFrame:
    """Make infinities missing: some estimators refuse them, and the others differ in what they do.

    Profiles count them on their own, so this is for what an estimator is given only.

    Args:
        prepared: Columns of :func:`prepare`, shape (n_rows, n_columns).
    """
    numbers = prepared.select_dtypes("float64")
    infinite = np.isinf(numbers.to_numpy())
    if not infinite.any():
        return prepared
    finite = prepared.copy()
    finite[numbers.columns] = numbers.mask(infinite)
    return finite


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    try:
        return np.asarray(column.astype("float64"), np.float64)
    except (TypeError, ValueError) as error:
        raise FeatureError(
            f"feature {column.name}: must hold numbers, as in training, got {error}. Turn it into "
            "a number in the feature function."
        ) from error


def _texts(column: pd.Series[Any]) -> NDArray[Any]:
    values = column.to_numpy(object, copy=True)
    present = column.notna().to_numpy()
    values[~present] = None
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("string", "empty"):
        return values
    if kind not in ("boolean", "integer", "floating", "decimal", "mixed-integer-float"):
        raise FeatureError(
            f"feature {column.name}: must hold numbers, texts or booleans, got {kind} such as "
            f"{values[present][0]!r}. Turn it into a number in the feature function."
        )
    values[present] = [str(value) for value in values[present]]
    return values
