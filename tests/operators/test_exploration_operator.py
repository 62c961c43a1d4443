"""Exploring a training set: what the operator calls, links and hands on."""

from __future__ import annotations

from typing import Any

from include.storage.lineage import TableReference
from include.training.training_sets import TrainingSet
from relevo.links import ExplorationLink
from relevo.operators.exploration import ExploreTrainingSetOperator
from tests.operators.running import small_json

TRAINING_SET = TrainingSet(
    TableReference("loan_default", "training_sets", 2, "2005-Q1", 1000),
    ("2004-Q1", "2004-Q2"),
    ("2004-Q3",),
    (800, 200),
    {"0": 760, "1": 40},
)
PAGE = "s3://reports/loan_default/exploration/2005-Q1/index.html"


def test_it_publishes_the_page_and_links_to_it(
    context: Any, ti: Any, replace_by_autospec: Any
) -> None:
    publish = replace_by_autospec(
        "include.reports.exploration_report.publish_exploration", return_value=PAGE
    )
    task = ExploreTrainingSetOperator(
        task_id="explore",
        pipeline="loan_default",
        partition="2005-Q1",
        training_set=small_json(TRAINING_SET.to_dict()),
    )
    assert small_json(task.execute(context)) == {"page": PAGE}
    lake, pipeline, training_set = publish.call_args.args
    assert (lake.pipeline, pipeline.name) == ("loan_default", "loan_default")
    assert training_set == TRAINING_SET
    assert ti.pushed == {
        "relevo_exploration": "/relevo/reports/loan_default/exploration/2005-Q1/index.html"
    }


def test_what_may_be_templated_and_linked() -> None:
    assert ExploreTrainingSetOperator.template_fields == ("partition", "training_set")
    assert ExploreTrainingSetOperator.operator_extra_links == (ExplorationLink(),)
