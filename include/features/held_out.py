"""Which entities of snapshots only judge, whoever asks and in whichever snapshot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def is_held_out(entities: pd.Series[Any], share: float) -> NDArray[np.bool_]:
    """Draw a share of the entities by a hash of their name, so that one always judges or never.

    Args:
        entities: Keys of the rows, shape (n_rows,).
        share: Of all entities, in (0, 1).

    Returns:
        Whether each row only judges, shape (n_rows,).
    """
    texts = entities.astype(str).to_numpy(object)
    return pd.util.hash_array(texts, categorize=False) < np.uint64(share * 2**64)
