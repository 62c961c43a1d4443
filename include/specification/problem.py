"""What a model is asked: the task, the classes it knows, and the metrics that may judge it.

How scores look, everywhere:

* binary: probability of 1, float64, shape (n_rows,), in [0, 1]; labels are 0 or 1.
* multiclass: one column a class in the order of ``classes``, float64, shape (n_rows, n_classes),
  rows add up to 1; labels are strings, and may name a class that the model does not know.
* regression: the predicted number, float64, shape (n_rows,); labels are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from include.specification.metric_names import METRICS, Metric, Task
from include.specification.pipeline import Pipeline

Scores = NDArray[np.float64]
# A class with fewer rows cannot be learned or validated: its rows are left out of fitting.
MINIMUM_CLASS_ROWS = 10


@dataclass(frozen=True)
class Problem:
    """What labels and scores mean.

    Args:
        task: Kind of target.
        classes: Multiclass: the classes in the order of the score columns; else empty.
        own_metrics: Metrics of the pipeline file, by name.
        threshold: Binary: the least score that is decided as 1; None if nobody said, and metrics
            of classes take 0.5.
    """

    task: Task
    classes: tuple[str, ...] = ()
    own_metrics: Mapping[str, Metric] = field(default_factory=dict)
    threshold: float | None = None

    @classmethod
    def of(
        cls, pipeline: Pipeline, classes: Sequence[str] = (), threshold: float | None = None
    ) -> Self:
        """Take task and metrics from a pipeline, classes and threshold from a version of it."""
        own = {name: pipeline.metric(name) for name in pipeline.metrics}
        return cls(pipeline.task, tuple(classes), own, threshold)

    def metric(self, name: str) -> Metric:
        """Look a metric up by name; ``consistency`` has checked that it exists."""
        return self.own_metrics.get(name) or METRICS[name]

    def encode_labels(self, labels: Any) -> NDArray[Any]:
        """Bring labels to the task's dtype: int8, object (strings) or float64, shape (n_rows,)."""
        values = np.asarray(labels)
        if self.task == "multiclass":
            return values.astype(str).astype(object)
        return values.astype(np.int8 if self.task == "binary" else np.float64)

    def align(self, scores: Scores, classes: Sequence[str]) -> Scores:
        """Bring the score columns of a model with other classes into this problem's order.

        A class that the model does not know gets probability 0.
        """
        if self.task != "multiclass" or tuple(classes) == self.classes:
            return scores
        aligned = np.zeros((len(scores), len(self.classes)))
        for column, name in enumerate(classes):
            if name in self.classes:
                aligned[:, self.classes.index(name)] = scores[:, column]
        return aligned
