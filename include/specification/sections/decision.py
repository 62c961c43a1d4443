"""From which score on a binary model says yes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from include.specification.sections.section import Section, SectionError


class Costs(Section):
    """What a wrong decision costs, in any unit; right ones cost nothing.

    Args:
        false_negative: Of a 1 that was decided as 0.
        false_positive: Of a 0 that was decided as 1.
    """

    false_negative: Annotated[float, Field(ge=0)]
    false_positive: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _cost_something(self) -> Self:
        if not self.false_negative and not self.false_positive:
            raise SectionError({"false_negative": "must be above 0 where false_positive is 0"})
        return self

    def mean(self, false_negatives: int, false_positives: int, rows: int) -> float:
        """Mean cost of a row, >= 0."""
        missed, alarms = false_negatives / rows, false_positives / rows
        return self.false_negative * missed + self.false_positive * alarms

    @property
    def larger(self) -> float:
        """The larger one, > 0."""
        return max(self.false_negative, self.false_positive)

    def by_the_larger(self) -> Self:
        """Tell them as shares of the larger one."""
        return type(self)(
            false_negative=self.false_negative / self.larger,
            false_positive=self.false_positive / self.larger,
        )

    def told(self) -> str:
        """Spell them as the file does, for people."""
        # Fifteen digits: all that were written, and no more.
        missed, alarm = (f"{cost:.15g}" for cost in (self.false_negative, self.false_positive))
        return f"{{false_negative: {missed}, false_positive: {alarm}}}"


class Decision(Section):
    """From which score on a row is decided as 1: one of the three; for a binary task only.

    What is chosen is chosen by each training, on validation rows, and belongs to the version.

    Args:
        threshold: The least score that is decided as 1, as given.
        maximize: The metric of classes, one of your own too, that the threshold makes largest.
        costs: What wrong decisions cost; the threshold makes their sum smallest.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    maximize: str | None = None
    costs: Costs | None = None

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        given = [key for key in type(self).model_fields if getattr(self, key) is not None]
        if not given:
            raise ValueError("must have one of threshold, maximize and costs")
        first, *others = given
        if others:
            raise SectionError(
                {key: f"must be left out beside {first}: write one of them" for key in others}
            )
        return self

    def told(self) -> str:
        """Spell the rule as the file does, for people."""
        if self.costs is not None:
            return f"costs: {self.costs.told()}"
        return f"threshold: {self.threshold}" if self.threshold else f"maximize: {self.maximize}"
