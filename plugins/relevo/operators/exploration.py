"""The operator that explores a training set, beside the training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relevo.links import ExplorationLink, report_path
from relevo.operators.base import PipelineOperator
from relevo.operators.training import TrainingOperator


class ExploreTrainingSetOperator(TrainingOperator):
    """Publish the exploratory report on a training set.

    Args:
        training_set: What the build_training_set task returned.
    """

    template_fields: Sequence[str] = (*PipelineOperator.template_fields, "training_set")
    operator_extra_links = (ExplorationLink(),)
    ui_color = "#e3f2e6"
    begins_training = False

    def __init__(self, *, training_set: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training_set = training_set

    def run(self, context: Any) -> dict[str, Any]:
        """Return the address of the page."""
        from include.reports.exploration_report import publish_exploration
        from include.training.training_sets import TrainingSet

        uri = publish_exploration(
            self.lake(), self.specification(), TrainingSet.from_dict(self.training_set)
        )
        ExplorationLink.persist(context, report_path(uri))
        self.log.info("Explored the training set as of %s: %s", self.partition, uri)
        return {"page": uri}
