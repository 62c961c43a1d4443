"""Model versions and their files: prepared inputs, verified loading, the reference.

Imported by Spark workers, so it stays light: no MLflow and no Optuna here.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline as Estimator

from include.drift import Thresholds
from include.errors import RegistryError
from include.profiles import Profile
from include.settings import LAKE, StoreSettings
from include.store import ObjectStore

MODEL = "model.skops"
REFERENCE = "reference.json"

# Types that skops may build when it loads one of our models, beyond its own safe defaults. The
# list is ours: the one stored inside a model file is never believed.
TRUSTED_TYPES = (
    # The booster checks categories with partial(check_array); skops audits what a partial calls.
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
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
        training_set: The training set (see ``include.training.TrainingSet``).
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

    def to_dict(self) -> dict[str, Any]:
        """Render as a JSON-serialisable mapping."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelVersion:
        """Read what :meth:`to_dict` gave."""
        return cls(
            **{
                **values,
                "numeric": tuple(values["numeric"]),
                "categorical": tuple(values["categorical"]),
                "files": {name: (item[0], item[1]) for name, item in values["files"].items()},
            }
        )


@dataclass(frozen=True)
class Reference:
    """What a version's batches are compared with.

    Args:
        profile: Profile of the training set, with the model's scores.
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
        RegistryError: If the file was changed since.
    """
    uri, expected = file
    with settings.filesystem().open_input_file(uri.removeprefix("s3://")) as source:
        data: bytes = source.read()
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise RegistryError(
            f"model file {uri}: SHA-256 must be {expected}, got {found}. It was changed after "
            "registration: restore the object, or roll back to another version."
        )
    return data


@functools.lru_cache(maxsize=4)
def load_model(settings: StoreSettings, file: tuple[str, str]) -> Estimator:
    """Verify and load a model once per process; runs no code from the file.

    Raises:
        RegistryError: If the file was changed, or holds types that we do not trust.
    """
    data = get_file(settings, file)
    try:
        return skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        raise RegistryError(
            f"model file {file[0]}: must hold trusted types only, got others: {error}"
        ) from error


def load_reference(settings: StoreSettings, version: ModelVersion) -> Reference:
    """Verify and load the reference of a version."""
    return Reference.from_bytes(get_file(settings, version.files[REFERENCE]))


def predict(
    settings: StoreSettings, version: ModelVersion, frame: pd.DataFrame
) -> np.ndarray[Any, Any]:
    """Score a frame in this process; returns float64 in [0, 1], shape (n_rows,)."""
    model = load_model(settings, version.files[MODEL])
    prepared = prepare(frame, version.numeric, version.categorical)
    scores: np.ndarray[Any, Any] = model.predict_proba(prepared)[:, 1]
    return scores


def prepare(
    frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]
) -> pd.DataFrame:
    """Bring feature columns to the dtypes that every candidate is fitted on.

    Args:
        frame: Feature columns in any order, shape (n_rows, n_columns).
        numeric: Numeric columns.
        categorical: Categorical columns.

    Returns:
        The columns in order numeric, categorical: float64 with NaN, object with None for missing.
    """
    values = {name: frame[name].astype("float64").to_numpy() for name in numeric}
    for name in categorical:
        column = frame[name].to_numpy(object, copy=True)
        column[frame[name].isna()] = None
        values[name] = column
    return pd.DataFrame(values)
