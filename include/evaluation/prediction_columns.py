"""How predictions stand in the ``predictions`` table, by task.

=========== ======================================================================================
binary      ``score``: probability of 1; of versions with a threshold also ``prediction``: 1 from it
            on, else 0
multiclass  ``prediction``: the likeliest class; ``score``: its probability; ``probabilities``: of
            every class, in the order of the model version's ``classes``
regression  ``prediction``: the predicted number
=========== ======================================================================================
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from include.specification.problem import Problem, Scores

DECIDED = "prediction"
# Where metrics of classes cut the scores of a model that nobody said a threshold for.
HALF = 0.5


def fields(problem: Problem) -> list[pa.Field]:
    """Name the columns that hold a task's predictions."""
    match problem.task:
        case "binary":
            score = pa.field("score", pa.float64())
            # Of the type of the labels, which people compare it with.
            return [score] if problem.threshold is None else [score, pa.field(DECIDED, pa.int64())]
        case "multiclass":
            return [
                pa.field("prediction", pa.string()),
                pa.field("score", pa.float64()),
                pa.field("probabilities", pa.list_(pa.float64())),
            ]
        case "regression":
            return [pa.field("prediction", pa.float64())]


def to_columns(problem: Problem, scores: Scores) -> list[pa.Array]:
    """Render scores as the columns that :func:`fields` names."""
    if problem.task == "binary" and problem.threshold is not None:
        return [pa.array(scores, pa.float64()), pa.array(decided(problem, scores), pa.int64())]
    if problem.task != "multiclass":
        return [pa.array(scores, pa.float64())]
    return [
        pa.array(likeliest(problem, scores), pa.string()),
        pa.array(scores.max(axis=1), pa.float64()),
        pa.ListArray.from_arrays(
            np.arange(0, scores.size + 1, scores.shape[1], dtype=np.int32), scores.ravel()
        ),
    ]


def from_frame(problem: Problem, frame: pd.DataFrame) -> Scores:
    """Read scores back from rows of the table; all must be of one model version."""
    match problem.task:
        case "binary":
            return frame["score"].to_numpy(np.float64)
        case "multiclass":
            width = len(problem.classes)
            return np.array(frame["probabilities"].tolist(), np.float64).reshape(-1, width)
        case "regression":
            return frame["prediction"].to_numpy(np.float64)


def decided(problem: Problem, scores: Scores) -> NDArray[np.int8]:
    """Decide binary scores: 1 from the threshold on, else 0."""
    threshold = HALF if problem.threshold is None else problem.threshold
    return (scores >= threshold).astype(np.int8)


def likeliest(problem: Problem, scores: Scores) -> list[str]:
    """Name the class with the highest probability in each row; the first of equal ones."""
    return [problem.classes[column] for column in scores.argmax(axis=1)]


def watched(problem: Problem, scores: Scores) -> np.ndarray:
    """Give what drift of predictions is watched on: numbers, or the likeliest classes (object)."""
    if problem.task == "multiclass":
        return np.array(likeliest(problem, scores), dtype=object)
    return scores
