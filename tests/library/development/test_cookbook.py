"""Every recipe of docs/cookbook.md is a valid pipeline file, and its functions run."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from ruamel.yaml import YAML

from include.registry import model_files
from include.specification import pipeline_file
from include.specification.pipeline import Pipeline
from include.training import candidates

PAGE = (Path(__file__).parents[3] / "docs" / "cookbook.md").read_text()
FILE = re.compile(r"# include/pipelines/(\w+)\.yaml\n")


def recipes() -> dict[str, tuple[str, str]]:
    """Find the recipes: by title and number, name and text of a complete pipeline file."""
    yaml = YAML()
    found: dict[str, tuple[str, str]] = {}
    base: tuple[str, str] | None = None
    for section in PAGE.split("\n## "):
        title = section.splitlines()[0].lstrip("# ")
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", section, re.DOTALL), 1):
            named = FILE.match(block)
            if named:
                recipe = (named[1], block)
            else:
                assert base is not None
                merged = StringIO()
                yaml.dump({**yaml.load(base[1]), **yaml.load(block)}, merged)
                recipe = (base[0], merged.getvalue())
            base = base or recipe
            found[f"{title} {number}"] = recipe
    return found


RECIPES = recipes()


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(title: str) -> Pipeline:
        name, text = RECIPES[title]
        (tmp_path / f"{name}.yaml").write_text(text)
        return pipeline_file.load(name, tmp_path)

    return load


def run_python(title: str) -> dict[str, Any]:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, title, "exec"), names)
    return names


@pytest.mark.parametrize("title", RECIPES)
def test_the_recipe_is_a_valid_file(load: Any, title: str) -> None:
    load(title)


def test_what_the_recipes_are_about(load: Any) -> None:
    assert load("Read from a database 1").sources["loans"].connection == "warehouse"
    assert load("The label in the row 1").labels_in_row
    assert load("The label in the row 2").labels.expression is not None
    assert load("Several classes 1").retraining.when[-1] == "new_class"
    assert load("A person must agree 1").promotion.approval == "required"
    assert load("Your own estimator 1").candidate("extra_trees").search
    assert load("Your own metric 1").metric("profit").takes == "scores"
    assert load("Decisions by cost 1").decision.told().startswith("costs: ")
    assert load("A rare class 1").training.imbalance == "class_weight"
    assert load("Calibrated probabilities 1").training.calibration == "isotonic"
    assert load("A CSV file of its own kind 1").sources["loans"].csv.delimiter == ";"
    assert load("Several sources 1").feature_sources == ("loans", "balances")
    assert not load("One file that holds every partition 1").sources["loans"].is_partitioned
    assert not load("Data without a time 1").has_time


def test_the_own_metric_by_hand() -> None:
    profit = run_python("Your own metric")["profit"]
    # Granted: a repaid and a lost loan; refused: one loan.
    assert profit(np.array([0, 1, 1]), np.array([0.1, 0.1, 0.9])) == pytest.approx((3 - 20) / 3)


def test_savings_are_what_the_costs_leave(load: Any) -> None:
    savings = run_python("Decisions by cost")["savings"]
    costs = load("Decisions by cost 1").decision.costs
    labels, decided = np.array([1, 1, 0, 0, 0]), np.array([1, 0, 1, 0, 0])
    assert savings(labels, decided) == pytest.approx((5 - 1) / 5)
    assert costs.mean(1, 1, 5) == pytest.approx(2 * 5 / 5 - savings(labels, decided))


def test_the_own_estimator_is_built_fitted_and_trusted(load: Any) -> None:
    preset = load("Your own estimator 1").candidate("extra_trees")
    parameters = {**preset.parameters, "n_estimators": 5, "max_features": 0.5, "criterion": "gini"}
    estimator = candidates.build(preset, "binary", parameters, ["x"], ["c"], seed=7)
    frame = pd.DataFrame({"x": np.arange(60.0), "c": ["a", "b"] * 30})
    estimator.fit(frame, np.arange(60) // 30)
    trusted = model_files.trusted_for(preset.classifier or "", estimator)
    stored = skops.io.dumps(estimator)
    read = skops.io.loads(stored, trusted=[*model_files.TRUSTED_TYPES, *trusted])
    assert np.array_equal(read.predict_proba(frame), estimator.predict_proba(frame))


def test_the_feature_function_takes_the_sources_of_its_recipe(load: Any) -> None:
    function = run_python("Several sources")["features"]
    sources = load("Several sources 1").feature_sources
    assert tuple(function.__code__.co_varnames[: function.__code__.co_argcount]) == sources
