"""What a pipeline file may name under ``next``, and how tables of each generation are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import SpecificationError
from include.specification import generations
from include.specification.pipeline import Pipeline
from include.specification.pipeline_file import load
from tests.library.specification.test_wrong_files import QUARTERLY

FEATURES = '{function: "include.pipelines.loan_default:features", suite: f, generation: 2}'
LOANS = '{uri: "s3://landing/loans/{partition}/", suite: loans, generation: 2}'
OUTCOMES = (
    '{uri: "s3://landing/out/{partition}/", suite: out, labels: {column: late, known_at: at}, '
    "generation: 2}"
)


def read(folder: Path, following: str, text: str = QUARTERLY) -> Pipeline:
    (folder / "right.yaml").write_text(f"{text}next:\n{following}")
    return load("right", folder)


def test_both_generations_are_described(tmp_path: Path) -> None:
    pipeline = read(
        tmp_path, f"  features: {FEATURES}\n  sources: {{loans: {LOANS}, outcomes: {OUTCOMES}}}\n"
    )
    now, to_be = pipeline.described()
    assert (now.next, to_be.next) == (None, None)
    assert now.generations == {}
    assert to_be.generations == {"features": 2, "loans": 2, "outcomes": 2}
    assert to_be.labels.column == "late"
    assert list(to_be.sources) == list(now.sources)

    def tables(one: Pipeline) -> list[str]:
        return [
            *(one.features_table, one.labels_table, one.training_sets_table),
            *(one.raw_table("loans"), one.quarantine_table("loans")),
            one.quarantine_table("features"),
        ]

    names = ["features", "labels", "training_sets"]
    names += ["raw_loans", "quarantine_loans", "quarantine_features"]
    assert tables(now) == names
    assert tables(to_be) == [f"{name}_2" for name in names]
    # As it is read from the ledger.
    document = to_be.model_dump(mode="json", exclude_defaults=True)
    assert Pipeline.model_validate(document) == to_be


def test_other_labels_leave_the_features_as_they_are(tmp_path: Path) -> None:
    to_be = read(tmp_path, f"  sources: {{outcomes: {OUTCOMES}}}\n").to_be()
    assert to_be is not None
    assert to_be.generations == {"outcomes": 2}
    assert (to_be.features_table, to_be.labels_table) == ("features", "labels_2")


@pytest.mark.parametrize(
    ("following", "told"),
    [
        (" {}\n", "31: next: must name features or sources that change, got neither. Remove it."),
        (
            f"  features: {FEATURES.replace('generation: 2', 'generation: 1')}\n",
            "32: next.features.generation: must be at least 2, because 1 is in use, got 1. Write "
            "generation: 2.",
        ),
        (
            f"  features: {FEATURES.replace(', generation: 2', '')}\n",
            "32: next.features.generation: must be at least 2, because 1 is in use, got 1. Write "
            "generation: 2.",
        ),
        (
            f"  sources: {{loans: {LOANS}}}\n",
            "31: next: must name features as well, because those are computed from loans. Write "
            "them with generation: 2, also if the function stays.",
        ),
        (
            f"  sources: {{lones: {LOANS}}}\n",
            "32: next.sources.lones: must be a source of the pipeline; did you mean 'loans'?",
        ),
        (
            f"  sources: {{outcomes: {LOANS}}}\n",
            "32: next.sources.outcomes.labels: must stay with outcomes, which brings the labels. A "
            "pipeline of another name may take them from elsewhere.",
        ),
        (
            f"  features: {FEATURES}\n  sources: {{loans: {LOANS.replace('{partition}/', '')}}}\n",
            "33: next.sources.loans: the first source must bring one partition at a time: write "
            "{partition} into its uri, name its time, or use :start and :end in its query.",
        ),
        ("  schedule: {}\n", "32: next.schedule: unknown key; it is written as schedule"),
    ],
)
def test_a_wrong_one_is_told_where_and_why(tmp_path: Path, following: str, told: str) -> None:
    with pytest.raises(SpecificationError) as error:
        read(tmp_path, following)
    assert str(error.value) == f"right.yaml:{told}"


def test_a_name_of_a_later_generation_is_taken(tmp_path: Path) -> None:
    beside = 'loans_2: {uri: "s3://landing/more/{partition}/", suite: more}\n  outcomes:'
    text = QUARTERLY.replace("outcomes:", beside)
    (tmp_path / "right.yaml").write_text(text)
    assert load("right", tmp_path).raw_table("loans_2") == "raw_loans_2"
    following = f"  features: {FEATURES}\n  sources: {{loans: {LOANS}}}\n"
    with pytest.raises(SpecificationError, match=r"sources\.loans_2: must be called otherwise"):
        read(tmp_path, following, text)
    with pytest.raises(SpecificationError, match="generation 2 of features has tables"):
        read(tmp_path, f"  features: {FEATURES}\n", text.replace("loans_2", "features_2"))


def test_generations_are_told_by_name() -> None:
    assert generations.of_generation("labels", 1) == "labels"
    assert generations.of_generation("labels", 12) == "labels_12"
    names = {"labels": 1, "labels_2": 2, "labels_12": 12}
    assert {name: generations.generation_of(name, "labels") for name in names} == names
    for other in ("labels_1", "labels_02", "labels_x", "labels_2_3", "label", "my_labels_2"):
        assert not generations.is_one_of(other, "labels"), other
    for table in ("quarantine_features", "quarantine_loans_2", "repairs_loans_12"):
        assert generations.keeps_rows_as_text(table), table
    for table in ("raw_quarantine_x", "features", "raw_repairs"):
        assert not generations.keeps_rows_as_text(table), table
