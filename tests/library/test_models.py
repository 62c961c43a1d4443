"""Model files: verified before they are loaded, and inputs of the right kinds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from include import candidates
from include.binning import fit_binning
from include.drift import calibrate
from include.errors import RegistryError
from include.models import (
    MODEL,
    REFERENCE,
    ModelVersion,
    Reference,
    get_file,
    load_model,
    load_reference,
    predict,
    prepare,
    put_file,
)
from include.profiles import profile
from include.store import ObjectStore
from include.tables import Lake

FRAME = pd.DataFrame(
    {"x": np.linspace(-2, 2, 120), "c": pd.Series(["a", "b", None] * 40, dtype=object)}
)
LABELS = (FRAME["x"] + (FRAME["c"] == "a") > 0.3).to_numpy(np.int8)


def fitted(name: str) -> Any:
    builder = candidates.builder(name)
    estimator = builder.build(builder.defaults, ["x"], ["c"], 7)
    return estimator.fit(prepare(FRAME, ["x"], ["c"]), LABELS)


def version(lake: Lake, **files: tuple[str, str]) -> ModelVersion:
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
    )


def put(lake: Lake, data: bytes) -> tuple[str, str]:
    return put_file(ObjectStore(lake.settings), lake.pipeline, MODEL, data)


@pytest.mark.parametrize("name", sorted(candidates.BUILDERS))
def test_a_model_is_the_same_after_the_store(lake: Lake, name: str) -> None:
    model = fitted(name)
    file = put(lake, skops.io.dumps(model))
    scores = predict(lake.settings, version(lake, **{MODEL: file}), FRAME)
    expected = model.predict_proba(prepare(FRAME, ["x"], ["c"]))[:, 1]
    assert scores.tobytes() == expected.tobytes()
    assert scores.shape == (120,)
    assert load_model(lake.settings, file) is load_model(lake.settings, file)


def test_a_file_lies_under_its_own_digest(lake: Lake) -> None:
    # sha256 of b"abc", as NIST gives it (FIPS 180-2, appendix B.1).
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    file = put(lake, b"abc")
    assert file == (f"s3://lake/{lake.pipeline}/models/{digest}/{MODEL}", digest)
    assert put(lake, b"abc") == file
    assert get_file(lake.settings, file) == b"abc"


def test_a_changed_file_is_refused(lake: Lake) -> None:
    model = skops.io.dumps(fitted("logistic_regression"))
    uri, digest = put(lake, model)
    ObjectStore(lake.settings).write(uri, model + b" ")
    with pytest.raises(RegistryError) as caught:
        load_model(lake.settings, (uri, digest))
    message = str(caught.value)
    assert message.startswith(f"model file {uri}: SHA-256 must be {digest}, got ")
    assert message.endswith("restore the object, or roll back to another version.")


def test_a_type_that_we_do_not_trust_is_refused_whatever_the_file_says(lake: Lake) -> None:
    # A callable inside a fitted transformer: what a pickle would run when it is loaded.
    file = put(lake, skops.io.dumps(FunctionTransformer(json.loads)))
    with pytest.raises(RegistryError) as caught:
        load_model(lake.settings, file)
    assert f"model file {file[0]}: must hold trusted types only, got others" in str(caught.value)
    assert "json.loads" in str(caught.value)


def test_a_version_survives_json(lake: Lake) -> None:
    model = version(lake, **{MODEL: ("s3://lake/m", "00"), REFERENCE: ("s3://lake/r", "11")})
    assert ModelVersion.from_dict(json.loads(json.dumps(model.to_dict()))) == model


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

    def test_a_number_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="could not convert string to float: 'many'"):
            prepare(pd.DataFrame({"x": ["many"]}), ["x"], [])
