"""The reference and the schema of the pipeline file: in step with the models, and right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter
from ruamel.yaml import YAML

from include.specification import (
    json_schema,
    located_yaml,
    metric_names,
    pipeline_file,
    reference_page,
)
from include.specification.candidate_defaults import PRESETS
from include.specification.pipeline import Pipeline
from include.specification.reference_page import EXAMPLES
from tests.library.specification.test_wrong_files import MONTHLY, QUARTERLY, SNAPSHOTS


@pytest.mark.parametrize("page", [reference_page, json_schema], ids=["reference", "schema"])
def test_the_file_is_in_step(page: Any) -> None:
    told = f"{page.PATH.name}: is behind the models. Run `python -m {page.__name__}`."
    assert page.PATH.read_text(encoding="utf-8") == page.text(), told


@pytest.mark.parametrize("section", [Pipeline, *json_schema.sections()])
def test_every_key_is_explained(section: type[BaseModel]) -> None:
    about, meanings = json_schema.documentation(section)
    assert about.endswith(".")
    assert set(meanings) == set(section.model_fields), f"{section.__name__}: complete its Args."
    assert [key for key, text in meanings.items() if not text.endswith(".")] == []


@pytest.mark.parametrize("place", EXAMPLES, ids=lambda place: f"{place[0].__name__}.{place[1]}")
def test_every_example_is_valid(place: tuple[type[BaseModel], str]) -> None:
    section, key = place
    field = section.model_fields[key]
    value = YAML(typ="safe", pure=True).load(EXAMPLES[place])
    TypeAdapter(Annotated[field.annotation, field]).validate_python(value)


def test_the_reference_names_every_key_metric_and_preset() -> None:
    text = reference_page.text()
    names = [*metric_names.METRICS, *PRESETS]
    for section in (Pipeline, *json_schema.sections()):
        names += [key for key in section.model_fields if (section, key) != (Pipeline, "name")]
    assert [name for name in names if f"| `{name}` |" not in text] == []


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    """The schema, as an editor applies it."""
    made = json_schema.schema()
    Draft202012Validator.check_schema(made)
    return Draft202012Validator(made)


class TestSchema:
    @staticmethod
    def problems(validator: Draft202012Validator, path: Path) -> list[str]:
        # JSON has no dates: an editor sees their text.
        content = json.loads(json.dumps(located_yaml.read(path).content, default=str))
        return [error.json_path for error in validator.iter_errors(content)]

    @pytest.mark.parametrize("name", pipeline_file.names())
    def test_shipped_pipelines_are_right(self, validator: Draft202012Validator, name: str) -> None:
        assert self.problems(validator, pipeline_file.PIPELINES / f"{name}.yaml") == []

    @pytest.mark.parametrize("text", [QUARTERLY, MONTHLY, SNAPSHOTS])
    def test_right_files_are_right(
        self, validator: Draft202012Validator, tmp_path: Path, text: str
    ) -> None:
        (tmp_path / "p.yaml").write_text(text)
        assert self.problems(validator, tmp_path / "p.yaml") == []

    @pytest.mark.parametrize(
        ("text", "old", "new", "path"),
        [
            (QUARTERLY, "task: binary", "task: binry", "$.task"),
            (QUARTERLY, "owner: credit-risk\n", "", "$"),
            (QUARTERLY, "owner: credit-risk", "ownr: credit-risk", "$"),
            (QUARTERLY, "  loans: {", "  Loans: {", "$.sources"),
            (QUARTERLY, "metric: roc_auc", "metric: r2", "$.training.metric"),
            (QUARTERLY, "{roc_auc: 0.60}", "{r2: 0.60}", "$.promotion.require"),
            (QUARTERLY, "logistic_regression: {}", "ridge: {}", "$.training.candidates.ridge"),
            (QUARTERLY, "logistic_regression: {}", "mine: {}", "$.training.candidates.mine"),
            (QUARTERLY, "window: 8", "window: 0", "$.training.window"),
            (QUARTERLY, "persist: 2 of 3", "persist: twice", "$.retraining.persist"),
            (QUARTERLY, "seed: 7\n", "seed: 7\ndecision: {}\n", "$.decision"),
            (QUARTERLY, "seed: 7\n", "seed: 7\ndecision: {threshold: 1}\n", "$.decision"),
            (MONTHLY, "promotion:\n", "decision: {threshold: 0.5}\npromotion:\n", "$"),
        ],
    )
    def test_wrong_files_are_wrong(
        self,
        validator: Draft202012Validator,
        tmp_path: Path,
        text: str,
        old: str,
        new: str,
        path: str,
    ) -> None:
        wrong = text.replace(old, new, 1)
        (tmp_path / "p.yaml").write_text(wrong)
        found = self.problems(validator, tmp_path / "p.yaml")
        assert path in found

    def test_a_metric_of_ones_own_may_be_named(
        self, validator: Draft202012Validator, tmp_path: Path
    ) -> None:
        (tmp_path / "p.yaml").write_text(
            MONTHLY.replace("mean_absolute_error: 6.0", "late_minutes: 6.0")
        )
        assert self.problems(validator, tmp_path / "p.yaml") == []

    def test_editors_show_help_and_names(self) -> None:
        made = json_schema.schema()
        assert made["properties"]["owner"]["description"] == "Airflow owner of every task."
        training = made["$defs"]["Training"]["properties"]
        assert set(training["candidates"]["properties"]) == set(PRESETS)
        assert training["metric"]["anyOf"][0]["enum"] == sorted(metric_names.METRICS)
