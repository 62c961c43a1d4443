"""What a training run sees and tries, and metrics of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from include.specification.candidate_defaults import PRESETS, Encoding
from include.specification.metric_names import Takes
from include.specification.sections.section import (
    ClassPath,
    Count,
    FunctionPath,
    Name,
    Scalar,
    Section,
    SectionError,
)
from include.wording import nearest

Calibration = Literal["none", "sigmoid", "isotonic"]


def _kind_of_search(value: Any) -> str | None:
    if isinstance(value, Mapping | SearchRange):
        return "range"
    return "choices" if isinstance(value, list | tuple) else None


class SearchRange(Section):
    """Numbers between ``low`` and ``high``, whole ones if both are.

    Args:
        low: Least value.
        high: Largest value.
        log: Whether to draw on a logarithmic scale.
    """

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise SectionError({"low": f"must be less than high {self.high:g}, got {self.low:g}"})
        if self.log and self.low <= 0:
            raise SectionError({"low": f"must be positive when log is true, got {self.low:g}"})
        return self


def _is_parameter(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError as error:
        raise ValueError("must be text, a number, true, false, null or a list of them") from error


Parameter = Annotated[Scalar | tuple[Scalar, ...], WrapValidator(_is_parameter)]
Search = Annotated[
    Annotated[SearchRange, Tag("range")]
    | Annotated[tuple[Scalar, ...], Field(min_length=1), Tag("choices")],
    Discriminator(
        _kind_of_search,
        custom_error_type="search",
        custom_error_message="must be a list of choices or a range such as {low: 0.01, high: 1.0}",
    ),
]


class Candidate(Section):
    """What to fit and how hard to search; every part of a named candidate can be changed.

    Args:
        trials: Number of Optuna trials; 0 takes the parameters as they are.
        estimator: Import path of any scikit-learn-compatible estimator.
        parameters: Arguments of the estimator.
        search: By argument: a list of choices, or ``low``, ``high`` and perhaps ``log``.
        encoding: ``one_hot`` imputes, scales and encodes; ``ordinal`` keeps missing values and
            numbers the categories.
    """

    trials: Annotated[int, Field(ge=0, le=1000)] = 0
    estimator: ClassPath | None = None
    parameters: Mapping[str, Parameter] = {}
    search: Mapping[str, Search] = {}
    encoding: Encoding | None = None


class OwnMetric(Section):
    """A metric of your own: a function of labels and predictions.

    Args:
        function: ``module:function`` below ``include``; takes labels and predictions, returns a
            number.
        takes: What it is given beside the labels: ``scores`` (probability of 1, or one column a
            class), ``classes`` (the predicted class) or ``values`` (the predicted number).
        higher_is_better: Direction of improvement.
    """

    function: FunctionPath
    takes: Takes
    higher_is_better: bool = True


class Training(Section):
    """What a training run sees and tries.

    Args:
        window: Number of latest mature partitions. With a time at least 3 and at least 2 more
            than ``holdout``; so the smallest history is 4 partitions, of which the last is
            scored. Without a time 1 is enough.
        holdout: How many of them, the latest, only judge; the search never sees them. Without a
            time (``partition: none``): the share of entities that only judge, in (0, 0.5].
        metric: Metric that the search and the gate go by.
        candidates: Named candidates, or names of your own with an ``estimator``.
        imbalance: How rare classes are helped: not, by class weights, or by SMOTE.
        calibration: How scores are calibrated: not, by a sigmoid, or isotonic.
        seed: Seed of everything random.
        coverage: Share of a partition's rows whose label must be known for it to be mature.
    """

    window: Count
    holdout: Annotated[int | float, Field(gt=0)] = 1
    metric: str = ""
    candidates: Annotated[Mapping[Name, Candidate], Field(min_length=1)]
    imbalance: Literal["none", "class_weight", "smote"] = "none"
    calibration: Calibration = "none"
    seed: int = 7
    coverage: Annotated[float, Field(gt=0, le=1)] = 0.99

    @field_validator("candidates")
    @classmethod
    def _are_known(cls, candidates: Mapping[str, Candidate]) -> Mapping[str, Candidate]:
        known = tuple(PRESETS)
        unknown = [
            name
            for name, candidate in candidates.items()
            if name not in known and candidate.estimator is None
        ]
        if unknown:
            rule = "is not a named candidate and has no estimator"
            raise SectionError({name: f"{rule}{nearest(name, known)}" for name in unknown})
        return candidates
