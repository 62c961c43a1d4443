"""What every section of the pipeline file shares: its base, and the kinds of values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

_NAME = r"^[a-z][a-z0-9_]{0,62}$"
_FUNCTION_PATH = r"^include(\.[A-Za-z_][A-Za-z0-9_]*)+:[A-Za-z_][A-Za-z0-9_]*$"
_CLASS_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$"


class SectionError(ValueError):
    """Rules that keys of a section break together with their neighbours.

    Args:
        rules: By key at fault, what must hold.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key} {rule}" for key, rule in rules.items()))
        self.rules = rules


def matches(pattern: str, rule: str) -> AfterValidator:
    """Check a text by a pattern and tell people the rule instead of it."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _is_scalar(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Tell the rule once, not once for each member of the union."""
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("must be text, a number, true, false or null") from error


Name = Annotated[
    str,
    matches(
        _NAME,
        "must be lower-case letters, digits and underscores after a first letter, such as "
        "loan_default",
    ),
    WithJsonSchema({"type": "string", "pattern": _NAME}),
]
FunctionPath = Annotated[
    str,
    matches(
        _FUNCTION_PATH,
        "must be module:function below include, such as include.pipelines.loan_default:features",
    ),
    WithJsonSchema({"type": "string", "pattern": _FUNCTION_PATH}),
]
ClassPath = Annotated[
    str,
    matches(
        _CLASS_PATH,
        "must be the import path of a class, such as sklearn.ensemble.ExtraTreesClassifier",
    ),
    WithJsonSchema({"type": "string", "pattern": _CLASS_PATH}),
]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Scalar = Annotated[str | bool | int | float | None, WrapValidator(_is_scalar)]
ColumnType = Literal["integer", "number", "string", "boolean", "date", "timestamp"]


class Section(BaseModel):
    """Base of every section: frozen, and no key is ignored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )
