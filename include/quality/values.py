"""Values of data as JSON and people can take them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

TEXT_LENGTH = 200


def finite(value: Any) -> Any:
    """Copy with plain Python numbers; JSON has no word for NaN and infinities: spell them."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def text_of(value: Any) -> str:
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def short(value: Any) -> str:
    value = finite(value)
    text = repr(value) if isinstance(value, str | list) else text_of(value)
    return text if len(text) <= TEXT_LENGTH else f"{text[:TEXT_LENGTH]}..."
