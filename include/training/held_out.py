"""The held-out rows on which a challenger and the champion are judged, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from include.errors import TrainingError
from include.features.feature_columns import HELD_OUT, LABEL, SLICE
from include.registry.model_files import ModelVersion, prepare
from include.specification.pipeline import Pipeline
from include.storage.data_frames import to_pandas
from include.storage.lake_tables import PARTITION, Lake
from include.training.training_sets import (
    TrainingSet,
    load_training_set,
    read_training_set,
    sorted_rows,
)


@dataclass(frozen=True)
class HeldOut:
    """Held-out rows.

    Args:
        challenger: Features that the challenger scores, shape (n_rows, n_features).
        champion: Features of the same rows that the champion scores.
        labels: As the pipeline's problem says, shape (n_rows,).
        left_out: Held-out rows of which the champion's generation of the features has none.
    """

    challenger: pd.DataFrame
    champion: pd.DataFrame
    labels: NDArray[Any]
    left_out: int = 0


def read_held_out(
    lake: Lake, pipeline: Pipeline, challenger: ModelVersion, champion: ModelVersion | None
) -> HeldOut:
    """Read the held-out rows of a challenger's training set, for both versions.

    A champion that was trained on another generation of the features scores the rows of that one,
    found by entity, event time and partition.

    Args:
        lake: The pipeline's tables.
        pipeline: The pipeline file, of the challenger's generation.
        challenger: The challenger.
        champion: Whose place it would take; None if there is none.

    Raises:
        TrainingError: If the two generations share no held-out row.
    """
    training_set = TrainingSet.from_dict(dict(challenger.training_set))
    data = load_training_set(lake, pipeline, training_set)
    rows = data.features[data.holdout].reset_index(drop=True)
    labels = data.labels[data.holdout]
    if champion is None or champion.features_table == challenger.features_table:
        return HeldOut(rows, rows, labels)
    read = [*dict.fromkeys([*pipeline.keys, SLICE, HELD_OUT, LABEL, *rows.columns])]
    frame = sorted_rows(pipeline, to_pandas(read_training_set(lake, training_set, read)))
    frame = frame[frame[HELD_OUT]].reset_index(drop=True)
    held = _of_generation(lake, pipeline, champion, sorted(set(frame[SLICE])))
    found = _places(frame[[*pipeline.keys, SLICE]], held[[*pipeline.keys, PARTITION]])
    shared = found >= 0
    if not shared.any():
        raise TrainingError(
            f"pipeline {pipeline.name}: {champion.features_table} and {challenger.features_table} "
            f"must share held-out rows, by which version {challenger.version} is judged beside "
            f"version {champion.version}, got none of {len(frame)}. Keep entity and event time as "
            "they are."
        )
    ours = prepare(frame[shared], challenger.numeric, challenger.categorical)
    return HeldOut(
        ours.reset_index(drop=True),
        held.iloc[found[shared]].reset_index(drop=True),
        data.problem.encode_labels(frame[LABEL])[shared],
        int((~shared).sum()),
    )


def _of_generation(
    lake: Lake, pipeline: Pipeline, version: ModelVersion, partitions: list[str]
) -> pd.DataFrame:
    columns = [*pipeline.keys, PARTITION, *version.numeric, *version.categorical]
    return to_pandas(
        lake.read(version.features_table, partitions=partitions, columns=[*dict.fromkeys(columns)])
    )


def _places(wanted: pd.DataFrame, held: pd.DataFrame) -> NDArray[np.int64]:
    """Find by their keys where rows are, shape (n_rows,); -1 for one that is nowhere."""
    keys = [f"_{at}" for at in range(wanted.shape[1])]
    left, right = (frame.set_axis(keys, axis=1) for frame in (wanted, held))
    right = right.assign(_place=np.arange(len(right))).drop_duplicates(keys, keep="last")
    joined = left.merge(right, how="left", on=keys)
    return joined["_place"].fillna(-1).to_numpy(np.int64)
